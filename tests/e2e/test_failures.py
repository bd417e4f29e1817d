"""What an export leaves when another one runs, when a call fails, when it is killed or stopped at any moment."""

import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import KJV
from faults import (
    CANCELLED, content, EINVAL, EIO, ENOSPC, EXDEV, export, inject, INPUT, Mount, needs_root, new, NEW, old,
    one_error, OUTPUT, PROGRAM, SOURCE, start_stopped, TEXT, WORK,
)  # fmt: skip

# Other exports


def test_live_export_is_left_alone(deltavino, tmp_path, new):
    first = start_stopped(tmp_path / "out", *NEW)
    before = content(tmp_path / WORK)
    for force in ([], ["--force"]):
        one_error(export(deltavino, tmp_path / "out", *force), OUTPUT, "another export")
    assert content(tmp_path / WORK) == before
    first.send_signal(signal.SIGCONT)
    assert first.wait(30) == 0 and content(tmp_path / "out") == new and os.listdir(tmp_path) == ["out"]


@needs_root
def test_live_export_in_another_pid_namespace_is_left_alone(deltavino, tmp_path, new):
    unshare = ("unshare", "--pid", "--fork", "--kill-child")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no PID namespaces here")
    # The first process of a namespace cannot be stopped: the shell is that one.
    first = start_stopped(tmp_path / "out", *NEW, prefix=(*unshare, "sh", "-c", '"$@"; exit $?', "sh"))
    try:
        deadline = time.time() + 30
        state = ""
        while state != "T" and time.time() < deadline:
            time.sleep(0.01)
            children = [first.pid]
            for _ in range(2):
                children = Path(f"/proc/{children[0]}/task/{children[0]}/children").read_text().split() or children
            state = Path(f"/proc/{children[0]}/stat").read_text().rsplit(")", 1)[1].split()[0]
        assert state == "T"
        one_error(export(deltavino, tmp_path / "out", "--force"), OUTPUT, "another export")
        os.kill(int(children[0]), signal.SIGCONT)
        assert first.wait(30) == 0 and content(tmp_path / "out") == new
    finally:
        first.kill()


def test_many_exports_to_one_target(tmp_path, deltavino, old, new):
    """One wins whole; the others get one error."""
    for start in ("nothing", "export"):
        out = tmp_path / start / "out"
        out.parent.mkdir()
        if start == "export":
            shutil.copytree(old, out)
        command = [PROGRAM, "export", "-m", str(SOURCE), str(out), *TEXT, "--force", *NEW]
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)]
        texts = [run.communicate(timeout=60)[1] for run in runs]
        codes = [run.returncode for run in runs]
        assert 0 in codes and set(codes) <= {0, OUTPUT}, texts
        assert all(text.count("error:") == (code != 0) for text, code in zip(texts, codes, strict=True))
        assert content(out) == new and os.listdir(out.parent) == ["out"]


# Failures and kills at every call


def calls_of(deltavino, out: Path, log: Path, *options: object) -> list[str]:
    assert export(deltavino, out, *NEW, *options, env=inject(log=log)).returncode == 0
    return log.read_text().split()


def sampled(calls: list[str], every: int = 12) -> list[int]:
    """Numbers of calls from 1: all but writes, and of these the first, the last and some between."""
    writes = [n for n, kind in enumerate(calls, 1) if kind == "pwrite"]
    return sorted({n for n, kind in enumerate(calls, 1) if kind != "pwrite"} | set(writes[::every]) | {writes[-1]})


class Place:
    """A target, made anew for every run: missing, an old export, or one that must not be renamed."""

    def __init__(self, tmp_path: Path, name: str, old: Path):
        self.parent = tmp_path / "place"
        self.out = self.parent / "out"
        self.name = name
        self.old = old
        self.options = () if name == "missing" else ("--force",)

    def prepare(self) -> dict[str, str]:
        if self.name == "mounted":
            for path in self.out.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(self.old, self.out, dirs_exist_ok=True)
            return content(self.out)
        shutil.rmtree(self.parent, ignore_errors=True)
        self.parent.mkdir()
        if self.name != "missing":
            shutil.copytree(self.old, self.out)
        return content(self.out) if self.out.exists() else {}

    def now(self) -> dict[str, str]:
        assert set(os.listdir(self.parent)) <= {"out"}, os.listdir(self.parent)
        return content(self.out) if self.out.exists() else {}


@pytest.fixture(params=["missing", "export", "mounted"])
def place(request, tmp_path, old):
    made = Place(tmp_path, request.param, old)
    if request.param != "mounted":
        yield made
        return
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made.parent.mkdir()
    with Mount(made.out):
        yield made


def test_any_call_fails(deltavino, tmp_path, place, new):
    place.prepare()
    calls = calls_of(deltavino, place.out, tmp_path / "log", *place.options)
    assert {"open", "mkdir", "pwrite", "fallocate", "fsync"} <= set(calls) and {"rename", "renameat2"} & set(calls)
    for number in sampled(calls):
        before = place.prepare()
        result = export(deltavino, place.out, *NEW, *place.options, env=inject(number, EIO if number % 2 else ENOSPC))
        where = f"call {number} ({calls[number - 1]})"
        assert result.returncode == OUTPUT, f"{where}: {result.stderr}"
        one_error(result, OUTPUT)
        assert place.now() == before, where


def test_killed_at_any_call(deltavino, tmp_path, place, new):
    place.prepare()
    calls = calls_of(deltavino, place.out, tmp_path / "log", *place.options)
    for number in sampled(calls, 30):
        before = place.prepare()
        where = f"call {number} ({calls[number - 1]})"
        killed = export(deltavino, place.out, *NEW, *place.options, env=inject(number, "kill"))
        assert killed.returncode == -signal.SIGKILL, where
        seen = content(place.out) if place.out.exists() else {}
        seen = {name: digest for name, digest in seen.items() if not name.startswith(".")}
        if place.name == "mounted":
            if "openvino_model.xml" in seen:  # else no reader takes it for a model
                whole = before if seen["openvino_model.xml"] == before["openvino_model.xml"] else new
                assert seen.items() <= whole.items() and "openvino_model.bin" in seen, where
        else:
            assert seen in (before, new), where
        # A run that is refused before it works mends what the other one left.
        export(deltavino, place.out, *NEW)
        assert place.now() in (before, new), where
        result = export(deltavino, place.out, *NEW, "--force")
        assert result.returncode == 0 and place.now() == new, f"{where}: {result.stderr}"


@pytest.mark.parametrize("error", [EINVAL, EXDEV])
def test_disk_that_cannot_exchange(deltavino, tmp_path, old, new, error):
    """Network disks lack the call, layers of container images refuse to rename folders."""
    out = tmp_path / "out"
    shutil.copytree(old, out)
    result = export(deltavino, out, *NEW, "--force", env=inject(1, error, "renameat2"))
    assert result.returncode == 0, result.stderr
    assert content(out) == new and os.listdir(tmp_path) == ["out"]


def test_killed_at_many_moments(deltavino, tmp_path, old, new):
    place = Place(tmp_path, "export", old)
    command = [PROGRAM, "export", "-m", str(SOURCE), str(place.out), *TEXT, *NEW, "--force"]
    for moment in range(25):
        before = place.prepare()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.005 * moment)
        process.kill()
        process.wait()
        assert content(place.out) in (before, new)
    assert export(deltavino, place.out, *NEW, "--force").returncode == 0 and place.now() == new


def test_failing_reads(deltavino, tmp_path):
    log = tmp_path / "log"
    assert export(deltavino, tmp_path / "out", env=inject(kind="pread", log=log)).returncode == 0
    shutil.rmtree(tmp_path / "out")
    calls = len(log.read_text().split())
    for number in [*range(1, calls, 7), calls]:
        result = export(deltavino, tmp_path / "out", env=inject(number, EIO, "pread"))
        one_error(result, INPUT, "Input/output error", str(SOURCE))
        assert os.listdir(tmp_path) == ["log"]


def test_files_are_brought_to_the_disk_first(deltavino, tmp_path):
    log = tmp_path / "log"
    assert export(deltavino, tmp_path / "out", env=inject(log=log)).returncode == 0
    calls = log.read_text().split()
    files = len(os.listdir(tmp_path / "out"))
    assert calls[-files - 3 :] == ["fsync"] * (files + 1) + ["rename", "fsync"]  # each file, the folder, its parent
    log.unlink()
    assert export(deltavino, tmp_path / "out2", "--no-sync", env=inject(log=log)).returncode == 0
    assert "fsync" not in log.read_text()


# Limits and signals


def test_file_size_limit(deltavino, tmp_path):
    for limit in (0, 100_000, 500_000):

        def set_limit(size: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        result = export(deltavino, tmp_path / "out", preexec_fn=set_limit)
        one_error(result, OUTPUT, "ulimit -f")
        assert os.listdir(tmp_path) == []


@needs_root
@pytest.mark.parametrize("size", ["64k", "400k", "600k", "900k", "2500k"])
@pytest.mark.parametrize("inside", [True, False])
def test_full_disk(deltavino, tmp_path, size, inside):
    with Mount(tmp_path / "disk", size) as disk:
        result = deltavino("export", "-m", KJV, disk if inside else disk / "out", *TEXT[:2])
        one_error(result, OUTPUT, "cannot write")
        assert os.listdir(disk) == []


@needs_root
def test_space_is_asked_for_where_the_bytes_go(deltavino, tmp_path, new):
    with Mount(tmp_path / "small", "200k") as small, Mount(tmp_path / "large", "16m") as large:
        (small / "out").symlink_to(large)
        result = export(deltavino, small / "out", *NEW)
        assert result.returncode == 0, result.stderr
        assert content(large) == new
        (large / "back").symlink_to(small / "there")
        one_error(export(deltavino, large / "back"), OUTPUT, "are needed on its disk")


def default_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("times", [1, 2])
def test_signals(tmp_path, old, number, times):
    """Twice at once is how timeout(1) and closing terminals send it."""
    shutil.copytree(old, tmp_path / "out")
    before = content(tmp_path / "out")
    process = start_stopped(tmp_path / "out", "--force", preexec_fn=default_signals)
    for _ in range(times):
        process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == CANCELLED and error.splitlines()[-1] == "error: stopped"
    assert content(tmp_path / "out") == before and os.listdir(tmp_path) == ["out"]


def test_nohup(tmp_path, new):
    process = start_stopped(tmp_path / "out", *NEW, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert process.returncode == 0 and content(tmp_path / "out") == new
