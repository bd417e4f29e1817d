#!/usr/bin/env bash
# Installs what the build and the tests need: Debian packages, and a virtual environment .venv.
# With --parity: the environment .venv-parity with the peers. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages="g++ make libfmt-dev nlohmann-json3-dev libcli11-dev libgtest-dev libeigen3-dev libpng-dev libjpeg-dev
  libcurl4-openssl-dev libssl-dev openssl"

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  local missing=""
  for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
  done
  python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
  if [ -n "$missing" ]; then
    echo "setup: installing$missing"
    as_root apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
  fi
}

# environment DIR REQUIREMENTS: a virtual environment that has exactly seen this requirements file.
environment() {
  local dir=$1 requirements=$2
  if ! cmp -s "$requirements" "$dir/installed.txt"; then
    echo "setup: installing $requirements into $dir"
    python3 -m venv "$dir"
    "$dir/bin/python" -m pip install --quiet --upgrade pip
    "$dir/bin/python" -m pip install --quiet -r "$requirements"
    cp "$requirements" "$dir/installed.txt"
  fi
}

python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "setup: Python 3.10 or newer is needed" >&2; exit 1; }
if [ "${1:-}" = --parity ]; then
  environment .venv-parity requirements-parity.txt
else
  install_packages
  environment .venv requirements.txt
fi
