#!/usr/bin/env bash
# Tries README.md's commands in a new, minimal system: nothing that was installed by hand can help them.
#   tools/fresh.sh [bookworm | trixie | noble]    default: bookworm; needs root and debootstrap
# noble is Ubuntu's: it needs an apt source of Ubuntu among those of the running system.
# The committed HEAD is cloned into the system. Package sources, proxies, certificates and pip's settings
# are those of the running system, copied when this runs. Nothing is left behind, except with KEEP=1.
# Exit code: 0 passed, 1 failed, 75 not run (the mirror has no such suite or cannot be reached).
set -euo pipefail
cd "$(dirname "$0")/.."
repository=$(pwd -P)
suite=${1:-bookworm}
tries=3
pause=${FRESH_PAUSE:-20}

# What a network says when it is away; anything else is a fault of ours.
unreachable='Could not resolve|Temporary failure|Connection (timed out|refused|reset)|connection broken|Failed to fetch'
unreachable+='|Max retries exceeded|[Rr]ead timed out|No route to host|Unable to connect|Network is unreachable'
unreachable+='|NewConnectionError'

say() { echo "fresh: $*"; }
not_run() {
  say "NOT RUN: $*"
  exit 75
}
failed() {
  say "FAILED: $*"
  exit 1
}

[ "$(id -u)" = 0 ] || not_run "making a new system needs root"
command -v debootstrap >/dev/null || not_run "debootstrap is missing; tools/setup.sh --fresh installs it"

# --- the new system, and its end

work=$(mktemp -d "${TMPDIR:-/tmp}/deltavino-fresh-XXXXXX")
root=$work/root
mounts=()

clean_up() {
  local status=$? mount
  trap - EXIT
  for ((i = ${#mounts[@]} - 1; i >= 0; --i)); do
    mount=${mounts[i]}
    umount "$mount" 2>/dev/null || umount -l "$mount" || {
      echo "fresh: cannot unmount $mount, so $work is left in place" >&2
      exit 1
    }
  done
  if [ "${KEEP:-}" = 1 ]; then
    say "kept: $work"
  else
    rm -rf --one-file-system "$work"
  fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

mount_at() {  # SOURCE TARGET OPTION...
  local source=$1 target=$2
  shift 2
  if [ -d "$source" ] || [[ " proc sysfs devpts " == *" $source "* ]]; then
    mkdir -p "$target"
  else
    mkdir -p "$(dirname "$target")" && touch "$target"
  fi
  mount "$@" "$source" "$target" && mounts+=("$target")
}

inside() {  # USER COMMAND: a login of that user in the new system
  local user=$1
  shift
  chroot "$root" /usr/bin/env -i "${environment[@]}" HOME="/home/$user" USER="$user" LOGNAME="$user" LANG=C.UTF-8 \
    PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin setpriv --reuid="$user" --regid="$user" --init-groups \
    /bin/bash -c "cd /home/$user && $*" </dev/null
}

# --- settings of the running system

# "SITE RELEASE" of every package source.
sources() {
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | sed 's#/ # #' | sort -u
}
host_suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
mirror=$(sources | awk -v suite="$suite" -v host="$host_suite" '
  $2 == suite || $2 == host { print ($2 == suite ? 0 : 1), $1 }' | sort | awk 'NR == 1 { print $2 }')
security=$(sources | awk -v suite="$host_suite-security" '$2 == suite { print $1; exit }')
[ -n "$mirror" ] || not_run "apt has no source here that could hold $suite"

# Proxies, certificates and indexes, from the environment. The certificates get a name of their own:
# the package ca-certificates, which may be installed later, writes its own file over Debian's name.
certificates=/etc/host-certificates.pem
host_certificates=${PIP_CERT:-${SSL_CERT_FILE:-${REQUESTS_CA_BUNDLE:-${CURL_CA_BUNDLE:-}}}}
environment=()
while IFS= read -r line; do
  environment+=("$line")
done < <(env |
  grep -E '^(PIP_[A-Z_]+|SSL_CERT_FILE|(REQUESTS|CURL)_CA_BUNDLE|(https?|no|all)_proxy|(HTTPS?|NO|ALL)_PROXY)=' |
  sed -E "s#^(PIP_CERT|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE)=.*#\\1=$certificates#" || true)
eval "$(apt-config shell proxy Acquire::http::Proxy)"
[ -z "${proxy:-}" ] || export http_proxy=$proxy

copy_settings() {
  local file path
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
  apt-config dump | grep -E '^Acquire::(https?|ftp|Check-|Retries|Allow)[^"]* "[^"]+";$' \
    >"$root/etc/apt/apt.conf.d/90host" || true
  [ ! -d /etc/apt/auth.conf.d ] || cp -r /etc/apt/auth.conf.d "$root/etc/apt/"
  {
    echo "deb $mirror $suite main"
    case $suite in
      noble) echo "deb $mirror $suite universe" ;;
      *) [ -z "$security" ] || echo "deb $security $suite-security main" ;;
    esac
  } >"$root/etc/apt/sources.list"
  # pip's settings as one file, and the files and folders that they and the environment name.
  { (cd / && python3 -m pip config list 2>/dev/null) || true; } >"$work/pip"
  { echo '[global]'; sed -n "s/^\(global\|install\)\.\([^=]*\)='\(.*\)'\$/\2 = \3/p" "$work/pip" |
    sed "s#^cert = .*#cert = $certificates#"; } >"$root/etc/pip.conf"
  [ -n "$host_certificates" ] ||
    host_certificates=$(sed -n "s/^[a-z]*\\.cert='\\(.*\\)'\$/\\1/p" "$work/pip" | head -n 1)
  [ ! -f "$host_certificates" ] || cp -L "$host_certificates" "$root$certificates"
  # The pages of a local index point to files beside its folder 'simple'.
  { cat "$work/pip"; printf '%s\n' "${environment[@]:-}"; } | grep -oE "(file://|[=' ])/[^' ]+" |
    sed -E "s#^(file://|[=' ])##; s#/simple/*\$##" | sort -u | while IFS= read -r path; do
    [ ! -e "$path" ] || echo "$path"
  done >"$work/paths"
  while IFS= read -r path; do
    if [ -d "$path" ]; then
      mount_at "$path" "$root$path" --bind -o ro
    else
      mkdir -p "$root$(dirname "$path")" && cp -L "$path" "$root$path"
    fi
  done <"$work/paths"
}

# --- what README.md says

section() { git show HEAD:README.md | sed -n '/^## Try it/,/^## [^T]/p'; }
needed=$(section | sed -n 's/^sudo apt-get install //p' | head -n 1)
[ -n "$needed" ] || failed "README.md does not name the packages that are needed (sudo apt-get install ...)"
mapfile -t commands < <(section | sed -n 's/^\(make [a-z]*\)\( .*\)\?$/\1/p')
[ "${#commands[@]}" -gt 0 ] || failed "README.md names no command"

# --- run

reachable() { /usr/lib/apt/apt-helper download-file "$mirror/dists/$suite/Release" "$work/Release" >/dev/null 2>&1; }
for ((try = 1; ; ++try)); do
  reachable && break
  [ "$try" -lt "$tries" ] || not_run "the mirror has no $suite, or cannot be reached (asked $tries times)"
  sleep "$pause"
done

# The recipe of a suite that is younger than debootstrap: those of one distribution are all alike.
recipe=/usr/share/debootstrap/scripts/$suite
[ -e "$recipe" ] || case $suite in
  noble) recipe=/usr/share/debootstrap/scripts/jammy ;;
  *) recipe=/usr/share/debootstrap/scripts/sid ;;
esac

started=$SECONDS
say "$suite: making a minimal system"
for ((try = 1; ; ++try)); do
  if debootstrap --variant=minbase "$suite" "$root" "$mirror" "$recipe" >"$work/debootstrap.log" 2>&1; then break; fi
  [ "$try" -lt "$tries" ] || {
    tail -n 20 "$work/debootstrap.log"
    not_run "debootstrap failed $tries times, see above"
  }
  rm -rf --one-file-system "$root"
  sleep "$pause"
done
mount_at proc "$root/proc" -t proc
mount_at sysfs "$root/sys" -t sysfs -o ro  # without it the thread library tells on standard error that it is missing
mountpoint -q "$root/dev" || [ -c "$root/dev/urandom" ] || for device in null zero urandom random tty; do
  mount_at "/dev/$device" "$root/dev/$device" --bind
done
mount_at devpts "$root/dev/pts" -t devpts -o newinstance,ptmxmode=0666,mode=0620
ln -sfn pts/ptmx "$root/dev/ptmx"  # terminals, for the tests of chats and progress bars
copy_settings
rm -f "$root"/var/cache/apt/archives/*.deb
chroot "$root" useradd -m -s /bin/bash plain
chroot "$root" useradd -m -s /bin/bash someone

# --- the packages of dist/, in a system that has no compiler yet

checkpoint=/srv/checkpoint
# PROGRAM: exports, asks and checks as a user without rights.
try_program() {
  inside plain "set -o pipefail; rm -rf out && $1 export -q -m $checkpoint out --weight-format int4 >export.log &&
    $1 generate -q out --no-think --prompt 'What is in the picture?' --image $checkpoint/pictures/red-*.png &&
    $1 check -q out --against $checkpoint --tokens 40 | tail -n 1" >"$work/package.log" 2>&1 &&
    grep -q 'red circle' "$work/package.log" && return
  cat "$work/package.log"
  failed "$1 does not export, answer and check on $suite"
}
for archive in dist/deltavino-*-linux-x86_64.tar.gz; do
  [ -e "$archive" ] || { say "no archive in dist/ (make dist), so none is tried" && break; }
  begin=$SECONDS
  cp -r examples/kjv-tiny "$root$checkpoint"
  tar -C "$root/srv" -xzf "$archive"
  try_program "/srv/$(basename "$archive" .tar.gz)/bin/deltavino"
  say "$archive works without Python: $((SECONDS - begin)) s"
done

as_root() {
  chroot "$root" /usr/bin/env -i "${environment[@]}" DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
install() {
  as_root apt-get install -y -qq --no-install-recommends "$@" >"$work/apt.log" 2>&1
}
for ((try = 1; ; ++try)); do
  # shellcheck disable=SC2086
  if as_root apt-get update -qq >"$work/apt.log" 2>&1 && install $needed; then break; fi
  [ "$try" -lt "$tries" ] || {
    tail -n 20 "$work/apt.log"
    not_run "apt-get failed $tries times in the new system, see above"
  }
  sleep "$pause"
done
packages() { chroot "$root" dpkg-query -W -f='${Package}\n' | sort; }
packages >"$work/packages.before"
disk() { du -sxm "$root" "${mounts[@]/#/--exclude=}" | cut -f1; }
disk_before=$(disk)
system_seconds=$((SECONDS - started))

# Without python3-venv, which the system does not have: pip runs from its own wheel.
try_wheel() {
  local wheel=$1 tag begin=$SECONDS
  tag=$(chroot "$root" python3 -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
  case $wheel in
    *-"$tag"-* | *-cp312-abi3-*) ;;
    *) say "$wheel is not for this system's Python ($tag), so it is not tried" && return ;;
  esac
  .venv-wheel/bin/python -m pip download -q --no-deps -d "$work" pip || not_run "pip cannot be had"
  cp "$work"/pip-*.whl "$wheel" "$root/srv/"
  [ -e "$root$checkpoint" ] || cp -r examples/kjv-tiny "$root$checkpoint"
  inside plain "python3 -m venv --without-pip venv &&
    python3 /srv/$(basename "$work"/pip-*.whl)/pip --python venv install -q /srv/$(basename "$wheel")" \
    >"$work/pip.log" 2>&1 || { tail -n 20 "$work/pip.log" && failed "pip cannot install $wheel"; }
  try_program venv/bin/deltavino
  inside plain "venv/bin/python -c 'import deltavino; print(deltavino.inspect(\"out\")[\"kind\"])'" >/dev/null ||
    failed "the functions of $wheel do not work"
  say "$wheel works without a compiler: $((SECONDS - begin)) s"
}
for wheel in dist/deltavino-*.whl; do
  if [ -e "$wheel" ]; then try_wheel "$wheel"; else say "no wheel in dist/ (make wheel), so none is tried"; fi
done
inside plain 'rm -rf venv out export.log .cache'
rm -rf "$root"/srv/*

git clone -q --bare --no-local "$repository" "$root/srv/deltavino.git"
clone_for() {  # git takes no repository of somebody else
  chroot "$root" chown -R "$1:$1" /srv/deltavino.git
  inside "$1" "git clone -q /srv/deltavino.git deltavino"
}
commit=$(git rev-parse --short HEAD)

say "$suite: a user without sudo"
clone_for plain
if inside plain "cd deltavino && ${commands[0]}" >"$work/plain.log" 2>&1; then
  cat "$work/plain.log"
  failed "'${commands[0]}' passed without the packages that it needs"
fi
cat "$work/plain.log"
grep -q 'packages are missing: .*g++' "$work/plain.log" && grep -q 'sudo apt-get install' "$work/plain.log" &&
  [ "$(wc -l <"$work/plain.log")" -le 6 ] ||
  failed "without sudo, there is no short message that names the packages and the command"

for ((try = 1; ; ++try)); do
  if install sudo; then break; fi
  [ "$try" -lt "$tries" ] || not_run "apt-get cannot install sudo"
  sleep "$pause"
done
echo 'someone ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/someone"
clone_for someone
times=()
for command in "${commands[@]}"; do
  say "$suite: a user with sudo: $command"
  begin=$SECONDS
  for ((try = 1; ; ++try)); do
    if inside someone "cd deltavino && $command" 2>&1 | tee "$work/command.log"; then break; fi
    grep -qE "$unreachable" "$work/command.log" || failed "'$command' on $suite, commit $commit"
    [ "$try" -lt "$tries" ] || not_run "'$command' could not reach a package source ($tries tries)"
    sleep "$pause"
  done
  times+=("$command: $((SECONDS - begin)) s")
done
left=$(du -sxm "$root/tmp" | cut -f1)

say "$suite: passed, commit $commit"
say "minimal system with $needed: $system_seconds s, $disk_before MB"
printf 'fresh: %s\n' "${times[@]}"
packages >"$work/packages.after"
size() { du -sm "$root/home/someone/deltavino/$1" | cut -f1; }
say "disk: $(disk) MB in all, of which the clone $(size .) MB (.venv $(size .venv) MB, build $(size build) MB);" \
  "left in /tmp: $left MB"
say "installed: $(comm -13 "$work/packages.before" "$work/packages.after" | tr '\n' ' ')"
[ "$left" -le 50 ] || failed "the tests left $left MB in the temporary folder"
