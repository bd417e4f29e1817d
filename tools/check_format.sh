#!/usr/bin/env bash
# Fails when a C++ file is not as .clang-format wants it, or a line of a script is longer than 120.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(git ls-files '*.cpp' '*.hpp')
[ "${#files[@]}" -gt 0 ] || { echo "format: no C++ file is known to git" >&2; exit 1; }
.venv-dev/bin/clang-format --dry-run --Werror "${files[@]}"
if git ls-files -z '*.sh' .ci/run Makefile | xargs -0 grep -nHE '^.{121,}$'; then
  echo "format: lines of more than 120 characters, see above" >&2
  exit 1
fi
echo "format: ${#files[@]} C++ files are as .clang-format wants them"
