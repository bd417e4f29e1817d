#!/usr/bin/env bash
# clang-tidy over the program and the library, with the compile commands in BUILD_FOLDER. Fails on any warning.
#   tools/check_tidy.sh BUILD_FOLDER [FILE...]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
shift
[ "$#" -gt 0 ] || mapfile -t files < <(git ls-files 'src/*.cpp' 'apps/*.cpp')
[ "$#" -eq 0 ] || files=("$@")
printf '%s\0' "${files[@]}" |
  xargs -0 -n 4 -P "$(nproc)" .venv-dev/bin/clang-tidy --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option
echo "tidy: ${#files[@]} files without a warning"
