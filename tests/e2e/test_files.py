"""The file system: where the output goes, what a failure or a kill at any moment leaves, inputs that are no files."""

import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from conftest import GOLDEN, KJV, ROOT

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


# Where the output goes


@needs_root
def test_mount_point(deltavino, tmp_path, old, new):
    with Mount(tmp_path / "out") as out:
        (out / "lost+found").mkdir()  # as ext file systems have it
        assert export(deltavino, out, *NEW).returncode == 0
        assert content(out) == new | {"lost+found": "folder"}
        one_error(export(deltavino, out, *NEW), OUTPUT, "--force")
        (out / "stray.txt").write_text("old")
        result = export(deltavino, out, *NEW, "--force")
        assert result.returncode == 0, result.stderr
        assert content(out) == new | {"lost+found": "folder"} and os.path.ismount(out)
        assert os.listdir(tmp_path) == ["out"]


@needs_root
def test_mount_point_of_the_same_disk(deltavino, tmp_path, new):
    """A bind mount, as containers have it, shows in no device number."""
    (tmp_path / "real").mkdir()
    (tmp_path / "out").mkdir()
    subprocess.run(["mount", "--bind", str(tmp_path / "real"), str(tmp_path / "out")], check=True)
    try:
        result = export(deltavino, tmp_path / "out", *NEW)
        assert result.returncode == 0, result.stderr
        assert content(tmp_path / "real") == new
    finally:
        subprocess.run(["umount", str(tmp_path / "out")], check=True)


@pytest.mark.parametrize("before", ["nothing", "empty", "export"])
@pytest.mark.parametrize("absolute", [True, False])
def test_link(deltavino, tmp_path, old, new, before, absolute):
    disk = tmp_path / "disk"
    disk.mkdir()
    if before == "empty":
        (disk / "model").mkdir()
    elif before == "export":
        shutil.copytree(old, disk / "model")
    out = tmp_path / "out"
    out.symlink_to(disk / "model" if absolute else "disk/model")
    for given in (out, f"{out}/"):
        result = export(deltavino, given, *NEW, "--force")
        assert result.returncode == 0, result.stderr
        assert out.is_symlink() and content(disk / "model") == new and os.listdir(disk) == ["model"]
    assert sorted(os.listdir(tmp_path)) == ["disk", "out"]


def test_links_that_lead_nowhere(deltavino, tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "unmounted" / "model")
    one_error(export(deltavino, tmp_path / "out"), OUTPUT, "unmounted", "folder is not there")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    one_error(export(deltavino, tmp_path / "a"), OUTPUT, "circle")
    (tmp_path / "c").symlink_to(SOURCE / "config.json")
    one_error(export(deltavino, tmp_path / "c", "--force"), OUTPUT, "not a directory")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c", "out"]


def test_current_folder(deltavino, tmp_path, new):
    """It is filled, not replaced: the shell would stand in a folder that no longer exists."""
    (tmp_path / "out").mkdir()
    inode = (tmp_path / "out").stat().st_ino
    result = export(deltavino, ".", *NEW, cwd=tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert content(tmp_path / "out") == new and (tmp_path / "out").stat().st_ino == inode


def test_permissions_of_the_target_stay(deltavino, tmp_path, old):
    shutil.copytree(old, tmp_path / "out")
    (tmp_path / "out").chmod(0o750)
    assert export(deltavino, tmp_path / "out", "--force").returncode == 0
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


@pytest.fixture
def unprivileged():
    """A folder of an ordinary user, and how to run as that user."""
    user = {} if os.geteuid() != 0 else {"user": 65534, "group": 65534}
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, check=False, cwd="/", **user)
    if version.returncode != 0:
        pytest.skip("the program's folder is closed to other users")
    folder = Path(tempfile.mkdtemp(prefix="deltavino-files-"))
    shutil.copytree(SOURCE, folder / SOURCE.name)  # an export says what its source was called
    if user:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 65534, 65534)
    yield folder, user
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_parent_is_not_writable(deltavino, unprivileged, old, new):
    folder, user = unprivileged
    shutil.copytree(old, folder / "parent" / "out")
    if user:
        os.chown(folder / "parent", 65534, 65534)
        for path in [folder / "parent" / "out", *(folder / "parent" / "out").iterdir()]:
            os.chown(path, 65534, 65534)
    (folder / "parent").chmod(0o555)

    def run(name: str, *options: str):
        out = folder / "parent" / name
        return export(deltavino, out, *NEW, *options, source=folder / SOURCE.name, cwd="/", **user)

    result = run("out", "--force")
    assert result.returncode == 0, result.stderr
    assert content(folder / "parent") == {"out": "folder"} | {f"out/{name}": digest for name, digest in new.items()}
    one_error(run("other"), OUTPUT, "Permission denied")
    (folder / "parent" / "out").chmod(0o555)
    one_error(run("out", "--force"), OUTPUT, "Permission denied")
    assert content(folder / "parent" / "out") == new


def test_made_parents_are_removed_again(deltavino, tmp_path):
    one_error(export(deltavino, tmp_path / "a" / "b" / "out", env=inject(3, ENOSPC, "pwrite")), OUTPUT, "No space left")
    assert os.listdir(tmp_path) == []
    assert export(deltavino, tmp_path / "a" / "b" / "out").returncode == 0


@pytest.mark.parametrize(
    "make",
    [lambda out: (out / "photos").mkdir(), lambda out: (out / "a.txt").write_text("keep")],
    ids=["folder", "file"],
)
@pytest.mark.parametrize("force", [True, False])
def test_what_no_export_wrote_stays(deltavino, tmp_path, make, force):
    out = tmp_path / "out"
    out.mkdir()
    make(out)
    before = content(out)
    one_error(export(deltavino, out, *["--force"][: int(force)]), OUTPUT, "no export wrote", f"'{next(iter(before))}'")
    assert content(tmp_path / "out") == before and os.listdir(tmp_path) == ["out"]


def test_folders_in_an_export_stay(deltavino, tmp_path, old):
    out = tmp_path / "out"
    shutil.copytree(old, out)
    (out / "photos").mkdir()
    before = content(out)
    one_error(export(deltavino, out, "--force"), OUTPUT, "'photos'")
    assert content(out) == before


# The report


@pytest.mark.parametrize("before", ["nothing", "export", "link"])
def test_report_in_the_target(deltavino, tmp_path, old, before):
    out = tmp_path / "out"
    if before == "export":
        shutil.copytree(old, out)
    elif before == "link":
        (tmp_path / "disk").mkdir()
        out.symlink_to("disk")
    result = export(deltavino, out, "--report", out / "report.json", "--force")
    assert result.returncode == 0, result.stderr
    assert json.loads((out / "report.json").read_text())["model_type"] == "qwen3_5_text"
    assert (out / "openvino_model.xml").exists() and not (out / "stray.txt").exists()


def test_report_outside_follows_links_and_replaces_whole(deltavino, tmp_path):
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "report.json").symlink_to("real.json")
    assert export(deltavino, tmp_path / "out", "--report", tmp_path / "report.json").returncode == 0
    assert (tmp_path / "report.json").is_symlink() and json.loads((tmp_path / "real.json").read_text())["tensors"]
    assert sorted(os.listdir(tmp_path)) == ["out", "real.json", "report.json"]


@pytest.mark.parametrize(
    ("report", "word"),
    [
        ("out", "output directory"),
        ("out/sub/report.json", "no folders"),
        ("out/config.json", "of that name"),
        ("out/openvino_model.xml", "of that name"),
        ("folder", "is a folder"),
        ("nowhere/report.json", "does not exist"),
        ("file/report.json", "does not exist"),
    ],
)
def test_report_that_cannot_be_written_is_refused_before_the_work(deltavino, tmp_path, report, word):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    log = tmp_path.parent / f"{tmp_path.name}.log"
    one_error(export(deltavino, tmp_path / "out", "--report", tmp_path / report, env=inject(log=log)), OUTPUT, word)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert not log.exists() or "fallocate" not in log.read_text(), "the weights were begun"


def test_report_to_devices(deltavino, tmp_path, old):
    shutil.copytree(old, tmp_path / "out")
    before = content(tmp_path / "out")
    one_error(export(deltavino, tmp_path / "out", "--force", "--report", "/dev/full"), OUTPUT, "No space left")
    assert content(tmp_path / "out") == before
    result = export(deltavino, tmp_path / "out", "--force", "--report", "/dev/stdout")
    assert result.returncode == 0 and json.JSONDecoder().raw_decode(result.stdout)[0]["tensors"]
    os.mkfifo(tmp_path / "pipe")
    one_error(export(deltavino, tmp_path / "out", "--force", "--report", tmp_path / "pipe"), OUTPUT, "pipe")


# Other exports


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
        assert all(text == "" or text.count("error:") == 1 for text in texts)
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
    assert process.returncode == CANCELLED and error == "error: stopped\n"
    assert content(tmp_path / "out") == before and os.listdir(tmp_path) == ["out"]


def test_nohup(tmp_path, new):
    process = start_stopped(tmp_path / "out", *NEW, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert process.returncode == 0 and content(tmp_path / "out") == new


# Standard streams


@pytest.mark.parametrize(
    "arguments", [["inspect", KJV], ["inspect", KJV, "--json"], ["--help"], ["export", "--help"], ["--version"]]
)
def test_lost_output_is_an_error(arguments):
    command = [PROGRAM, *map(str, arguments)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    one_error(result, OUTPUT, "standard output", "No space left")
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    one_error(result, OUTPUT, "standard output", "Broken pipe")


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    process = start_stopped(tmp_path / "out", prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    os.waitpid(process.pid, os.WUNTRACED)
    assert [os.readlink(f"/proc/{process.pid}/fd/{stream}") for stream in range(3)] == ["/dev/null"] * 3
    process.send_signal(signal.SIGCONT)
    assert process.wait(30) == OUTPUT


def test_export_survives_lost_streams(tmp_path, deltavino):
    """Notes that nobody reads do not end the work."""
    vision = GOLDEN / "dense-vl"  # its text export has a note
    assert export(deltavino, tmp_path / "good", source=vision).returncode == 0
    good = content(tmp_path / "good")
    for streams in ("2>&-", ">&- 2>&-", ">&-", "<&- >&- 2>&-"):
        out = tmp_path / "out"
        command = f'"$0" export -m "$1" "$2" {" ".join(TEXT)} {streams}'
        shell = ["sh", "-c", command, PROGRAM, str(vision), str(out)]
        code = subprocess.run(shell, capture_output=True, check=False).returncode
        assert code == (OUTPUT if ">&- " in f"{streams} ".replace("2>&-", "") else 0), streams
        assert content(out) == good, streams
        shutil.rmtree(out)
    reading, writing = os.pipe()
    os.close(reading)
    command = [PROGRAM, "export", "-m", str(vision), str(out), *TEXT]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, check=False)
    os.close(writing)
    assert result.returncode == 0 and content(out) == good


# Inputs that are no files


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


KINDS = {
    "fifo": (make_fifo, "named pipe"),
    "socket": (make_socket, "socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "folder": (lambda path: path.mkdir(), "a folder"),
    "dangling": (lambda path: path.symlink_to("../../blobs/0123abcd"), "incomplete download"),
}
NAMES = [
    "config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    "generation_config.json", "chat_template.jinja", "preprocessor_config.json", "vocab.json",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_inputs_that_are_no_files(deltavino, tmp_path, name, kind):
    shutil.copytree(KJV, tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / name
    path.unlink(missing_ok=True)
    KINDS[kind][0](path)
    result = deltavino("export", "-m", tmp_path / "checkpoint", tmp_path / "out", timeout=60)
    one_error(result, INPUT, name, KINDS[kind][1])
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_shard_in_an_unfinished_cache(deltavino, tmp_path):
    shutil.copytree(GOLDEN / "dense-vl", tmp_path / "checkpoint")
    shard = tmp_path / "checkpoint" / "model-00002-of-00003.safetensors"
    shard.unlink()
    shard.symlink_to("../../blobs/0123abcd")
    result = export(deltavino, tmp_path / "out", source=tmp_path / "checkpoint")
    one_error(result, INPUT, shard.name, "../../blobs/0123abcd", "incomplete download")


@pytest.mark.parametrize(
    "name", ["openvino_model.xml", "openvino_model.bin", "openvino_tokenizer.bin", "tokenizer_config.json"]
)
@pytest.mark.parametrize("kind", ["fifo", "device", "dangling"])
def test_exported_files_that_are_no_files(deltavino, kjv_text, tmp_path, name, kind):
    shutil.copytree(kjv_text, tmp_path / "model")
    for victim in [name] if name != "tokenizer_config.json" else [name, "chat_template.jinja"]:
        (tmp_path / "model" / victim).unlink(missing_ok=True)
    KINDS[kind][0](tmp_path / "model" / name)
    result = deltavino("generate", tmp_path / "model", "--prompt", "x", "--max-new-tokens", "1", timeout=60)
    one_error(result, INPUT, name, KINDS[kind][1])


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_texts_and_pictures_that_are_no_files(deltavino, kjv_text, kjv_vlm, tmp_path, kind):
    KINDS[kind][0](tmp_path / "x")
    one_error(deltavino("eval", "--text", tmp_path / "x", kjv_text, timeout=60), INPUT, KINDS[kind][1])
    result = deltavino("generate", kjv_vlm, "--image", tmp_path / "x", "--prompt", "x", timeout=60)
    one_error(result, INPUT, KINDS[kind][1])


@pytest.mark.parametrize(
    ("change", "word"), [("shrink", "ends at byte"), ("write", "was written to"), ("grow", "was written to")]
)
def test_shard_changes_under_the_reader(tmp_path, change, word):
    shutil.copytree(SOURCE, tmp_path / "checkpoint")
    shard = tmp_path / "checkpoint" / "model.safetensors"
    process = start_stopped(tmp_path / "out", source=tmp_path / "checkpoint", call=5)
    if change == "shrink":
        header = struct.unpack("<Q", shard.read_bytes()[:8])[0]
        os.truncate(shard, 8 + header)
    elif change == "write":
        os.utime(shard)
    else:
        with open(shard, "ab") as file:
            file.write(b"more")
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == INPUT and word in error and error.count("error:") == 1, error
    assert os.listdir(tmp_path) == ["checkpoint"]


