#!/usr/bin/env bash
# Configures one preset of CMakePresets.json with the tools of .venv.
#   tools/configure.sh PRESET [OPTION_OF_CMAKE...]
# A build folder remembers absolute paths; where the clone was moved or .venv was made anew, it is
# configured from nothing, because CMake would stop with an error about another folder.
set -euo pipefail
cd "$(dirname "$0")/.."
cd "$(pwd -P)"
preset=$1
shift
build=build
[ "$preset" = release ] || build=build-$preset
openvino=$(.venv/bin/python tools/openvino_dir.py)
options=("-DOpenVINO_DIR=$openvino" "-DCMAKE_MAKE_PROGRAM=$PWD/.venv/bin/ninja")

cached() {
  sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt" 2>/dev/null
}
if [ -f "$build/CMakeCache.txt" ] &&
  { [ "$(cached CMAKE_HOME_DIRECTORY)" != "$PWD" ] || [ "$(cached OpenVINO_DIR)" != "$openvino" ]; }; then
  echo "build: $build was configured in another folder or with another environment; configuring it anew"
  options+=(--fresh)
fi
mkdir -p "$build"
log=$build/configure.log
.venv/bin/cmake --preset "$preset" "${options[@]}" "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
