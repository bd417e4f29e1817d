#!/usr/bin/env bash
# Installs what is missing and does nothing when all is there. Debian packages come by apt-get (with sudo
# where the caller is not root), Python packages go into virtual environments below this folder.
#   tools/setup.sh            what the build, the demo and the tests need: .venv
#   tools/setup.sh --parity   the peers of the comparisons: .venv-parity
#   tools/setup.sh --gpu      OpenVINO's GPU plugin without a GPU: .venv-gpu
#   tools/setup.sh --dev      what the gates of CI need: clang, .venv-dev
#   tools/setup.sh --fuzz     what `make fuzz` needs: clang and its runtime
#   tools/setup.sh --wheel    what `make wheel` needs: .venv-wheel
#   tools/setup.sh --docs     what `make docs` needs: .venv-docs
#   tools/setup.sh --fresh    what `make fresh` needs: debootstrap
#   tools/setup.sh --texts    what bench/train_small.py and bench/quality.py read: an English dictionary, Perl's
#                             manual, the King James Bible
set -euo pipefail
cd "$(dirname "$0")/.."
root=$(pwd -P)

build_packages="g++ make libfmt-dev nlohmann-json3-dev libcli11-dev libeigen3-dev libgtest-dev libgmock-dev libpng-dev
  libjpeg-dev libutf8proc-dev libcurl4-openssl-dev libssl-dev openssl"

stop() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

is_installed() {
  dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'
}

# as_root COMMAND...: fails at once where it would have to ask for a password and nobody is there to answer.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  elif [ -t 0 ]; then
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

may_become_root() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
}

# packages NAME...: installs those that are missing, or says how.
packages() {
  local missing=()
  if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not Debian or Ubuntu; the counterparts of these packages are needed: $*"
    return
  fi
  local package
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  local by_hand="sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
  may_become_root || stop "Debian packages are missing: ${missing[*]}" \
    "they need root, which cannot be had here (not root, no sudo without a password)" \
    "let somebody run this, then start again:" "  $by_hand"
  echo "setup: apt-get installs ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { as_root apt-get update -qq &&
    as_root apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    stop "apt-get failed, see above; after that is mended, start again, or run" "  $by_hand"
  fi
  rm -f "$log"
}

# Names packages of Python only where the interpreter is Debian's or there is none.
python_packages() {
  command -v python3 >/dev/null || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

# The headers for a Python extension, where the interpreter has none.
python_headers() {
  python3 -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null || echo python3-dev
}

# A virtual environment knows the folder that it was made in and the Python that made it.
is_stale() {
  local dir=$1
  ! { "$dir/bin/python" -c 'import pip' 2>/dev/null &&
    head -n 2 "$dir/bin/pip" 2>/dev/null | grep -qF "$(realpath "$dir")/bin/python"; }
}

# What pip does, as one line a step; all that it says goes to the file $1.
pip_progress() {
  tee "$1" | awk '
    /^ *Downloading / { print "setup:   downloads " $2 " " $3 " " $4; fflush() }
    /^Processing /    { count = split($2, part, "/"); print "setup:   takes " part[count]; fflush() }
    /^Building wheel/ { print "setup:   builds " $4; fflush() }
    /^Installing collected/ { print "setup:   unpacks " NF - 3 " packages"; fflush() }'
}

# environment DIR REQUIREMENTS: a virtual environment that has exactly seen this requirements file.
environment() {
  local dir=$1 requirements=$2
  if [ -e "$dir" ] && is_stale "$dir"; then
    echo "setup: $dir was made in another folder or by another Python; making it anew"
    rm -rf "$dir"
  fi
  if ! cmp -s "$requirements" "$dir/installed.txt"; then
    echo "setup: pip installs $requirements into $dir"
    rm -f "$dir/installed.txt"
    [ -x "$dir/bin/pip" ] || python3 -m venv "$dir"
    if ! PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 "$dir/bin/python" -m pip install --progress-bar off \
      --no-input -r "$requirements" 2>&1 | pip_progress "$dir/pip.log"; then
      tail -n 20 "$dir/pip.log" >&2
      stop "pip failed; all that it said is in $root/$dir/pip.log"
    fi
    cp "$requirements" "$dir/installed.txt"
    echo "setup: $dir is ready, $(du -shL "$dir" | cut -f1)"
  fi
}

# shellcheck disable=SC2046,SC2086
case "${1:-}" in
  --fresh) packages debootstrap ;;
  --parity) packages $(python_packages) && environment .venv-parity requirements-parity.txt ;;
  --gpu)
    packages opencl-headers ocl-icd-libopencl1 $(python_packages) && environment .venv-gpu requirements-gpu.txt
    ;;
  --wheel)
    packages zsh fish groff-base $(python_packages) $(python_headers) && environment .venv-wheel requirements-wheel.txt
    ;;
  --docs) packages $(python_packages) && environment .venv-docs requirements-docs.txt ;;
  --dev) packages clang-19 $(python_packages) && environment .venv-dev requirements-dev.txt ;;
  --texts) packages dict-gcide perl-doc bible-kjv ;;
  --fuzz) packages clang-19 libclang-rt-19-dev ;;
  "")
    packages $build_packages $(python_packages)
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
      stop "Python 3.10 or newer is needed, this is $(python3 -V)"
    environment .venv requirements.txt
    ;;
  *) stop "unknown option $1; see the head of tools/setup.sh" ;;
esac
