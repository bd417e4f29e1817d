#!/usr/bin/env bash
# Runs tests/gpu: OpenVINO's GPU plugin on Intel's OpenCL runtime for CPUs, see docs/gpu.md.
#   FULL=1      every row of the compile matrix
#   DEVICE=GPU  no runtime for CPUs and no layer: the GPU of this machine
# Exit code 75: not run, because the packages cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
export DELTAVINO_GPU_DEVICE=${DEVICE:-} DELTAVINO_GPU_FULL=${FULL:-} DELTAVINO=$PWD/build/deltavino

not_run() {
  echo "NOT RUN: $*"
  exit 75
}

[ "$HOSTTYPE" = x86_64 ] || not_run "Intel's OpenCL runtime is for x86-64"
if ! tools/setup.sh --gpu; then
  not_run "the packages of tests/gpu cannot be had here, see above"
fi
tools/configure.sh release -DDELTAVINO_TESTS=ON -DDELTAVINO_GPU_TESTS=ON
.venv/bin/cmake --build --preset release --target deltavino deltavino_gpu_layer --parallel "${JOBS:-2}"
.venv-gpu/bin/python -m pytest -q tests/gpu
