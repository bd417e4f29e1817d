"""The archive of `make dist`, unpacked elsewhere: it runs by itself and brings what it needs."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from conftest import KJV, ROOT
from environment import PLAIN

SYSTEM = {"linux-vdso.so.1", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1",
          "libresolv.so.2", "libstdc++.so.6", "libgcc_s.so.1", "libOpenCL.so.1"}  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archives = sorted((ROOT / "dist").glob("deltavino-*.tar.gz"))
    assert len(archives) == 1, "tools/dist.sh makes it"
    folder = tmp_path_factory.mktemp("archive") / "a folder"
    with tarfile.open(archives[0]) as packed:
        packed.extractall(folder, filter="tar")
    return next(folder.iterdir())


def run(archive: Path, *arguments: object) -> str:
    done = subprocess.run([archive / "bin" / "deltavino", *map(str, arguments)], capture_output=True, text=True,
                          env=PLAIN, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_export_generate_check(archive: Path, tmp_path: Path) -> None:
    run(archive, "export", "-m", KJV, tmp_path / "out", "--weight-format", "int4")
    said = run(archive, "generate", tmp_path / "out", "--prompt", "What is in the picture?", "--image",
               KJV / "pictures" / "red-circle-on-blue.png")
    assert "red circle" in said
    run(archive, "check", tmp_path / "out", "--against", KJV, "--tokens", "40")


def test_everything_else_comes_from_the_archive(archive: Path) -> None:
    """Nothing of this machine's environments is loaded; what is not there are libraries that every system has."""
    for file in [archive / "bin" / "deltavino", *sorted((archive / "lib").glob("*.so*"))]:
        environment = {**PLAIN, "LD_LIBRARY_PATH": str(archive / "lib")} if file.parent.name == "lib" else PLAIN
        listed = subprocess.run(["ldd", file], capture_output=True, text=True, check=True, env=environment).stdout
        for line in listed.splitlines():
            name, _, place = line.strip().partition(" => ")
            name = name.split(" ")[0]
            if os.path.basename(name).startswith("ld-linux") or name in SYSTEM:
                continue
            assert place.startswith(str(archive / "lib")) or str(archive / "lib") in os.path.realpath(
                place.split(" (")[0]), f"{file.name}: {line}"


def test_licences_and_pages(archive: Path) -> None:
    licences = {path.name for path in (archive / "share" / "licenses").iterdir()}
    assert {"deltavino", "openvino", "openvino-tokenizers"} <= licences
    assert (archive / "share" / "licenses" / "openvino" / "LICENSE").is_file()
    debian = [path.name for path in (archive / "lib").glob("*.so*")
              if not any(word in path.name for word in ("openvino", "tbb", "hwloc"))]  # fmt: skip
    assert len(debian) > 5
    for library in debian:
        said = subprocess.run(["dpkg-query", "-S", f"*/{library}"], capture_output=True, text=True, check=True).stdout
        assert licences & {line.split(":")[0] for line in said.splitlines()}, library
    assert (archive / "share" / "man" / "man1" / "deltavino.1").read_text().startswith(".TH DELTAVINO")
    assert len(list((archive / "share" / "completions").iterdir())) == 3
