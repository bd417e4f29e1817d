#!/usr/bin/env bash
# Builds the wheel of the running Python into dist/: the libraries of Debian that it needs are put into it with their
# licences, those of OpenVINO stay in the package openvino. Says its size and the oldest glibc it runs with, which is
# that of the libraries of the machine that builds it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv-wheel/bin
raw=build-wheel-raw
rm -rf "$raw" dist/*.whl
mkdir -p "$raw" dist
echo "wheel: compiles the program and the extension"
log=$raw/pip.log
PATH=$bin:$PATH "$bin/python" -m pip --disable-pip-version-check wheel . --no-deps --no-build-isolation \
  -w "$raw" --config-settings build-dir=build-wheel >"$log" 2>&1 || { tail -n 40 "$log" >&2; exit 1; }
PATH=$bin:$PATH "$bin/auditwheel" repair --plat auto --strip --exclude 'libopenvino*' --exclude 'libtbb*' \
  -w dist "$raw"/*.whl \
  >$raw/auditwheel.log 2>&1 || { tail -n 40 $raw/auditwheel.log >&2; exit 1; }
for wheel in dist/*.whl; do
  "$bin/python" tools/licences.py --wheel "$raw"/*.whl "$wheel"
  echo "wheel: $wheel, $(du -k "$wheel" | cut -f1) kB"
done
