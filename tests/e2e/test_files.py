"""The file system: where the output and the report go, lost standard streams, inputs that are no files."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path

import pytest
from conftest import GOLDEN, KJV
from faults import (
    content, ENOSPC, export, inject, INPUT, Mount, needs_root, new, NEW, old, one_error, OUTPUT, PROGRAM,
    SOURCE, start_stopped, TEXT,
)  # fmt: skip

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
