"""What the tests of the file system share: exports that fail, stop or are killed at a call, and small disks."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from conftest import GOLDEN, ROOT

INPUT, OUTPUT, CANCELLED = 3, 5, 130
PROGRAM = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
FAIL_IO = Path(PROGRAM).parent / "libdeltavino_fail_io.so"
SOURCE = GOLDEN / "dense-v1"
TEXT = ("--task", "text-generation-with-past", "--disable-convert-tokenizer", "--threads", "1")
EIO, ENOSPC, EINVAL, EXDEV = 5, 28, 22, 18
WORK = ".out.deltavino-export"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def content(folder: Path) -> dict[str, str]:
    """Name and digest of every file, hidden ones and those in folders, too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def inject(call: int = 0, error: object = "kill", kind: str | None = None, log: Path | None = None) -> dict:
    """The environment in which the call with this number fails."""
    assert FAIL_IO.exists(), f"{FAIL_IO} is not built"
    environment = dict(os.environ, LD_PRELOAD=str(FAIL_IO), FAIL_IO_CALL=str(call), FAIL_IO_ERROR=str(error))
    if kind is not None:
        environment["FAIL_IO_KIND"] = kind
    if log is not None:
        environment["FAIL_IO_LOG"] = str(log)
    return environment


def export(deltavino, out: object, *options: object, source: Path = SOURCE, **run: object):
    return deltavino("export", "-m", source, out, *TEXT, *options, timeout=60, **run)


def one_error(result, code: int, *words: str) -> None:
    """Exactly one error line, the exit code, and the words in it."""
    assert result.returncode == code, (result.returncode, result.stderr)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    assert "internal" not in lines[0]
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def old(tmp_path_factory, deltavino) -> Path:
    """An export that stood at the target before."""
    out = tmp_path_factory.mktemp("old") / "out"
    assert export(deltavino, out, "--weight-format", "fp32").returncode == 0
    (out / "stray.txt").write_text("of the old export")
    return out


@pytest.fixture(scope="module")
def new(tmp_path_factory, deltavino) -> dict[str, str]:
    """What every later export must look like."""
    out = tmp_path_factory.mktemp("new") / "out"
    assert export(deltavino, out, "--weight-format", "fp16").returncode == 0
    return content(out)


NEW = ("--weight-format", "fp16")


class Mount:
    """A folder on a small disk of its own."""

    def __init__(self, folder: Path, size: str = "16m"):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"mounting a small disk failed: {done.stderr}")

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)


def start_stopped(
    out: Path, *options: object, source: Path = SOURCE, prefix: tuple = (), call: int = 20, **popen: object
) -> subprocess.Popen:
    """An export that stands still in the middle of its work."""
    command = [*prefix, PROGRAM, "export", "-m", str(source), str(out), *TEXT, *map(str, options)]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=inject(call, "stop", "pwrite"), **streams, **popen)
    if not prefix:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), process.stderr.read()
    return process
