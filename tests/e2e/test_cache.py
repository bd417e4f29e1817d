"""From a checkpoint to text in one command: the cache of exports that `generate` and `eval` make."""

import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from conftest import KJV, run_deltavino
from faults import PROGRAM, Mount, inject, needs_root
from hub_support import ID, hub, kjv  # noqa: F401

USAGE, INPUT, UNSUPPORTED, OUTPUT, NETWORK, STOPPED = 2, 3, 4, 5, 6, 130
ASK = ("--raw", "--prompt", "And the LORD said unto", "--max-new-tokens", "8", "--precision", "f32")
TEXT = ("--task", "text-generation-with-past")


class Cache:
    """A cache folder of its own, and the program with it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = {**os.environ, "DELTAVINO_CACHE": str(folder)}

    def run(self, *arguments: object, **options: object) -> subprocess.CompletedProcess:
        return run_deltavino(*arguments, env=self.environment, timeout=120, **options)

    def generate(self, model: object, *options: object, **run: object) -> subprocess.CompletedProcess:
        return self.run("generate", model, *ASK, *TEXT, *options, **run)

    def made(self, model: object, *options: object) -> str:
        """Runs a model that is exported for it; returns the text."""
        return self.told("exported '", model, *options)

    def found(self, model: object, *options: object) -> str:
        """Runs a model whose export is there; returns the text."""
        return self.told("was exported before", model, *options)

    def told(self, words: str, model: object, *options: object) -> str:
        result = self.generate(model, *options)
        assert result.returncode == 0, result.stderr
        notes = [line for line in result.stderr.splitlines() if "exported" in line]
        assert len(notes) == 1 and words in notes[0], result.stderr
        return result.stdout

    def entries(self) -> list[dict]:
        result = self.run("cache", "list", "--json")
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        assert report["folder"] == str(self.folder)
        assert report["bytes"] == sum(entry["bytes"] for entry in report["exports"])
        return report["exports"]

    def keys(self) -> set[str]:
        return {entry["key"] for entry in self.entries()}

    def names(self) -> list[str]:
        """All that is in the folder of exports, hidden or not."""
        exports = self.folder / "exports"
        return sorted(os.listdir(exports)) if exports.exists() else []


@pytest.fixture
def cache(tmp_path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(KJV, tmp_path / "kjv"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(result: subprocess.CompletedProcess, code: int, *words: str) -> None:
    lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert (result.returncode, len(lines), result.stdout) == (code, 1, ""), result.stderr
    for word in words:
        assert word in lines[0], lines[0]


# Hit and miss


def test_the_export_and_the_text_are_those_of_export(cache, tmp_path):
    out = tmp_path / "out"
    assert run_deltavino("export", "-m", KJV, out, *TEXT, "--weight-format", "int4").returncode == 0
    before = run_deltavino("generate", out, *ASK)
    assert cache.made(KJV) == before.stdout
    (entry,) = cache.entries()
    files = content(Path(entry["path"]))
    assert entry["bytes"] == sum(len(data) for name, data in files.items() if name != ".deltavino-cache.json")
    assert {k: v for k, v in files.items() if k != ".deltavino-cache.json"} == content(out)
    assert (entry["weight_format"], entry["source"]) == ("int4", str(KJV))
    written = {path: path.stat().st_mtime_ns for path in Path(entry["path"]).glob("openvino*")}
    assert cache.found(KJV) == before.stdout
    assert {path: path.stat().st_mtime_ns for path in written} == written
    # An exported folder is run as it is.
    result = cache.run("generate", out, *ASK)
    assert (result.stdout, "exported" in result.stderr) == (before.stdout, False)
    assert len(cache.entries()) == 1


def test_every_option_of_the_recipe_is_another_entry(cache):
    recipes = [(), ("--weight-format", "int8"), ("--weight-format", "stored"), ("--sym",), ("--group-size", "32")]
    for recipe in recipes:
        cache.made(KJV, *recipe)
    for recipe in recipes:
        cache.found(KJV, *recipe)
    result = cache.run("generate", KJV, *ASK, "--task", "auto")
    assert result.returncode == 0 and "exported '" in result.stderr
    entries = cache.entries()
    assert len(entries) == len(cache.names()) == len(recipes) + 1
    assert sorted(entry["weight_format"] for entry in entries) == ["int4", "int4", "int4", "int4", "int8", "stored"]
    stored = next(entry for entry in entries if entry["weight_format"] == "stored")
    made = json.loads((Path(stored["path"]) / "openvino_config.json").read_text())
    assert made["deltavino"]["weight_format"] == "as stored"


def test_a_changed_file_is_another_entry(cache, checkpoint):
    cache.made(checkpoint)
    weights = checkpoint / "model.safetensors"
    before = weights.stat()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # as unpacking an archive does
    assert (weights.stat().st_size, weights.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    cache.made(checkpoint)
    cache.found(checkpoint)
    # A file that no export reads changes nothing; one that it reads does.
    (checkpoint / "README.md").write_text("changed")
    cache.found(checkpoint)
    (checkpoint / "added_tokens.json").write_text("{}")
    cache.made(checkpoint)
    assert len(cache.entries()) == 3


def test_the_same_checkpoint_by_another_path(cache, checkpoint, tmp_path):
    cache.made(checkpoint)
    (tmp_path / "link").symlink_to(checkpoint)
    cache.found(tmp_path / "link")
    # A copy is not known to be equal.
    shutil.copytree(checkpoint, tmp_path / "copy")
    cache.made(tmp_path / "copy")


def test_an_entry_that_lacks_something_is_made_again(cache):
    cache.made(KJV)
    (entry,) = cache.entries()
    whole = content(Path(entry["path"]))
    for name in ("openvino_model.bin", "openvino_tokenizer.xml"):
        (Path(entry["path"]) / name).unlink()
        cache.made(KJV)
        assert set(content(Path(entry["path"]))) == set(whole)
    (Path(entry["path"]) / "openvino_model.bin").write_bytes(b"short")
    cache.made(KJV)
    about = Path(entry["path"]) / ".deltavino-cache.json"
    for text in ("", "{", "[]", '{"identity": 1, "files": 2}', about.read_text().replace("int4", "int8")):
        about.write_text(text)
        cache.made(KJV)
    made = content(Path(entry["path"]))
    assert {k: v for k, v in made.items() if not k.startswith(".")} == {
        k: v for k, v in whole.items() if not k.startswith(".")
    }


def test_another_version_is_another_entry(cache):
    cache.made(KJV)
    (entry,) = cache.entries()
    about = json.loads((Path(entry["path"]) / ".deltavino-cache.json").read_text())
    version = run_deltavino("--version").stdout.split()
    assert version[1] == about["identity"]["version"] == entry["version"]
    assert about["identity"]["openvino_version"] in " ".join(version)


def test_eval_takes_checkpoints(cache, kjv_text):
    arguments = ("--text", KJV / "held_out.txt", "--windows", "4", "--json")
    result = cache.run("eval", *arguments, *TEXT, kjv_text, KJV)
    assert result.returncode == 0, result.stderr
    (entry,) = cache.entries()
    by_folder = cache.run("eval", *arguments, kjv_text, entry["path"])
    ours, theirs = (json.loads(run.stdout)["models"] for run in (result, by_folder))
    assert [model["model"] for model in ours] == [str(kjv_text), str(KJV)]
    assert [{**a, "model": 0} for a in ours] == [{**b, "model": 0} for b in theirs]
    again = cache.run("eval", *arguments, *TEXT, kjv_text, KJV)
    assert again.stdout == result.stdout and "was exported before" in again.stderr
    against = cache.run("eval", *arguments, *TEXT, KJV, "--against", KJV)
    assert against.returncode == 0, against.stderr
    assert [model["model"] for model in json.loads(against.stdout)["models"]] == [str(KJV), str(KJV)]


def test_chat_and_pictures(cache):
    picture = KJV / "pictures" / "red-circle-on-blue.png"
    result = cache.run("generate", KJV, "--prompt", "What is in the picture?", "--image", picture)
    assert (result.returncode, result.stdout) == (0, "A red circle on a blue ground.\n"), result.stderr
    chat = cache.run("generate", "-m", KJV, "--chat", input="Hello\n/exit\n")
    assert chat.returncode == 0 and "was exported before" in chat.stderr


# What is refused


def test_options_of_an_export_do_not_go_with_an_exported_folder(cache, kjv_text):
    for option in (("--weight-format", "int8"), ("--sym",), ("--group-size", "32"), TEXT):
        refused(cache.run("generate", kjv_text, *ASK, *option), USAGE, option[0], "exported already")
    refused(cache.run("eval", kjv_text, "--text", KJV / "held_out.txt", "--sym"), USAGE, "--sym")
    assert not cache.folder.exists()


def test_what_is_no_checkpoint(cache, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    refused(cache.generate(tmp_path / "empty"), INPUT, "no config.json")
    refused(cache.generate(tmp_path / "file"), INPUT, "file", "it is not a directory")
    refused(cache.generate(tmp_path / "nothing"), INPUT, "nothing", "it is not a directory")
    refused(cache.generate(KJV, "--weight-format", "int5"), USAGE, "int5")
    refused(cache.generate(KJV, "--weight-format", "int8", "--group-size", "32"), USAGE, "--group-size")
    assert cache.names() == []
    without = {k: v for k, v in os.environ.items() if k not in {"DELTAVINO_CACHE", "XDG_CACHE_HOME", "HOME"}}
    refused(run_deltavino("generate", KJV, *ASK, env=without), USAGE, "DELTAVINO_CACHE")


def test_where_the_cache_is(tmp_path):
    plain = {k: v for k, v in os.environ.items() if k not in {"DELTAVINO_CACHE", "XDG_CACHE_HOME"}}
    for variables, folder in (
        ({"HOME": str(tmp_path)}, tmp_path / ".cache" / "deltavino"),
        ({"HOME": str(tmp_path), "XDG_CACHE_HOME": "relative"}, tmp_path / ".cache" / "deltavino"),
        ({"XDG_CACHE_HOME": str(tmp_path / "xdg")}, tmp_path / "xdg" / "deltavino"),
        ({"XDG_CACHE_HOME": str(tmp_path / "xdg"), "DELTAVINO_CACHE": "own"}, tmp_path / "own"),
    ):
        result = run_deltavino("cache", "list", "--json", env={**plain, **variables}, cwd=tmp_path)
        assert json.loads(result.stdout) == {"folder": str(folder), "bytes": 0, "exports": []}
        assert not folder.exists()


# A folder that cannot be written, a full disk


@needs_root
def test_read_only_cache():
    """What is there is used; what is not is one error."""
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, check=False, cwd="/", user=65534, group=65534)
    if version.returncode != 0:
        pytest.skip("the program's folder is closed to other users")
    with tempfile.TemporaryDirectory(prefix="deltavino-cache-") as name:
        os.chmod(name, 0o755)
        cache = Cache(Path(name) / "cache")
        checkpoint = Path(shutil.copytree(KJV, Path(name) / "kjv"))
        text = cache.made(checkpoint)
        user = {"user": 65534, "group": 65534, "cwd": "/"}
        result = cache.generate(checkpoint, **user)
        assert (result.returncode, result.stdout) == (0, text), result.stderr
        before = cache.names()
        words = ("cannot create", "Permission denied", "DELTAVINO_CACHE")
        refused(cache.generate(checkpoint, "--sym", **user), OUTPUT, *words)
        refused(cache.run("cache", "clear", **user), OUTPUT, "Permission denied")
        assert cache.names() == before


def test_a_file_stands_in_the_way(tmp_path):
    (tmp_path / "file").write_text("x")
    refused(Cache(tmp_path / "file").generate(KJV), OUTPUT, "Not a directory", "DELTAVINO_CACHE")


@needs_root
@pytest.mark.parametrize("size", ["64k", "900k"])
def test_full_disk(tmp_path, size):
    with Mount(tmp_path / "disk", size) as disk:
        cache = Cache(disk)
        refused(cache.generate(KJV), OUTPUT, "cannot write", "deltavino cache clear")
        assert cache.names() == []


def test_file_size_limit_leaves_nothing(cache):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    refused(cache.generate(KJV, preexec_fn=limit), OUTPUT, "ulimit -f")
    assert cache.names() == []


# More than one process


class Started:
    """A run that stands still in the middle of its export."""

    def __init__(self, cache: Cache):
        command = [PROGRAM, "generate", str(KJV), *ASK, *TEXT]
        environment = {**inject(10, "stop", "pwrite"), "DELTAVINO_CACHE": str(cache.folder)}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), self.process.stderr.read()

    def finish(self, *signals: int) -> tuple[int, str, str]:
        for number in (*signals, signal.SIGCONT):
            self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=120)
        return self.process.returncode, out, errors


def test_the_second_waits_for_the_first(cache):
    first = Started(cache)
    command = [PROGRAM, "generate", str(KJV), *ASK, *TEXT]
    second = subprocess.Popen(command, env=cache.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = iter(second.stderr.readline, "")
    assert any("waiting for it" in line for line in lines)
    assert cache.run("cache", "clear").stdout.startswith("removed 0 exports")
    code, text, errors = first.finish()
    assert code == 0 and "exported '" in errors, errors
    out, errors = second.communicate(timeout=120)
    assert (second.returncode, out) == (0, text)
    assert "was exported before" in errors
    assert len(cache.names()) == len(cache.entries()) == 1


def test_a_killed_export_is_taken_over(cache):
    first = Started(cache)
    code, _, _ = first.finish(signal.SIGKILL)
    assert code == -signal.SIGKILL and cache.names() != []
    assert cache.entries() == []
    cache.made(KJV)
    assert len(cache.names()) == len(cache.entries()) == 1
    # What no later run asks for again is removed by `clear`.
    assert cache.run("cache", "clear").returncode == 0
    Started(cache).finish(signal.SIGKILL)
    assert cache.names() != []
    assert cache.run("cache", "clear").stdout.startswith("removed 0 exports")
    assert cache.names() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(cache, number):
    code, text, errors = Started(cache).finish(number)
    assert (code, text) == (STOPPED, ""), errors
    assert cache.names() == []


def test_a_waiting_run_can_be_stopped(cache):
    first = Started(cache)
    command = [PROGRAM, "generate", str(KJV), *ASK, *TEXT]
    second = subprocess.Popen(command, env=cache.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any("waiting for it" in line for line in iter(second.stderr.readline, ""))
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=120)
    assert second.returncode == STOPPED
    assert first.finish()[0] == 0


def test_many_at_once(cache):
    command = [PROGRAM, "generate", str(KJV), *ASK, *TEXT]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen(command, env=cache.environment, **pipes) for _ in range(4)]
    results = [(*run.communicate(timeout=120), run.returncode) for run in runs]
    assert {code for _, _, code in results} == {0}, results
    assert len({text for text, _, _ in results}) == 1
    assert sum("exported '" in errors for _, errors, _ in results) == 1
    assert len(cache.names()) == 1


class InUse:
    """A run that has its entry of the cache and waits for questions."""

    def __init__(self, cache: Cache, *options: str, stopped: bool = False):
        command = [PROGRAM, "generate", str(KJV), "--chat", *TEXT, *options]
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        self.process = subprocess.Popen(command, env=cache.environment, text=True, **pipes)
        assert any("exported" in line for line in iter(self.process.stderr.readline, ""))
        if stopped:  # in the middle of loading, or just behind
            self.process.send_signal(signal.SIGSTOP)

    def ask(self) -> str:
        self.process.send_signal(signal.SIGCONT)
        out, errors = self.process.communicate("Hello\n/exit\n", timeout=120)
        assert self.process.returncode == 0, errors
        return out


@pytest.mark.parametrize("stopped", [False, True], ids=["waiting", "loading"])
def test_an_entry_in_use_is_left_and_named(cache, stopped):
    cache.made(KJV)
    cache.made(KJV, "--weight-format", "int8")
    (int4,) = (entry for entry in cache.entries() if entry["weight_format"] == "int4")
    before = InUse(cache).ask()
    users = [InUse(cache, stopped=stopped), InUse(cache, stopped=stopped)]
    whole = content(Path(int4["path"]))
    result = cache.run("cache", "clear")
    assert result.stdout.startswith("removed 1 export,"), result.stdout
    assert f"left, because in use or being exported: {int4['key']}" in result.stdout
    assert users[0].ask() == before
    # The second still holds it. Another run may use it, too.
    report = json.loads(cache.run("cache", "clear", "*int4*", "--json").stdout)
    assert (report["removed"], report["busy"]) == ([], [int4["key"]])
    assert content(Path(int4["path"])) == whole
    cache.found(KJV)
    assert users[1].ask() == before
    # A lock ends with its process.
    third = InUse(cache)
    third.process.kill()
    third.process.communicate(timeout=120)
    assert cache.run("cache", "clear").stdout.startswith("removed 1 export,")
    assert cache.names() == []


def test_a_run_that_makes_its_entry_holds_it(cache):
    """No time lies between the lock of the export and that of the use."""
    user = InUse(cache)
    assert cache.run("cache", "clear").stdout.startswith("removed 0 exports")
    user.ask()
    assert len(cache.names()) == 1
    assert cache.run("cache", "clear").stdout.startswith("removed 1 export,")


def test_a_damaged_entry_in_use_is_not_replaced(cache):
    cache.made(KJV)
    (entry,) = cache.entries()
    user = InUse(cache, stopped=True)
    (Path(entry["path"]) / "openvino_tokenizer.bin").unlink()
    inode = os.stat(entry["path"]).st_ino
    command = [PROGRAM, "generate", str(KJV), *ASK, *TEXT]
    second = subprocess.Popen(command, env=cache.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any("in use; waiting" in line for line in iter(second.stderr.readline, ""))
    assert os.stat(entry["path"]).st_ino == inode
    user.process.kill()
    user.process.communicate(timeout=120)
    out, errors = second.communicate(timeout=120)
    assert second.returncode == 0 and out and "exported '" in errors, errors
    assert os.stat(entry["path"]).st_ino != inode
    assert cache.names() == [entry["key"]]


def test_an_entry_that_is_being_removed_is_made_again(cache):
    """The lock of whoever removes it, as a run sees it that comes just then."""
    cache.made(KJV)
    (entry,) = cache.entries()
    about = Path(entry["path"]) / ".deltavino-cache.json"
    with about.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        command = [PROGRAM, "generate", str(KJV), *ASK, *TEXT]
        run = subprocess.Popen(command, env=cache.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert any("in use; waiting" in line for line in iter(run.stderr.readline, ""))
        shutil.rmtree(entry["path"])
    out, errors = run.communicate(timeout=120)
    assert run.returncode == 0 and out and "exported '" in errors, errors


def test_a_checkpoint_that_changes_meanwhile(cache, checkpoint):
    command = [PROGRAM, "generate", str(checkpoint), *ASK, *TEXT]
    environment = {**inject(10, "stop", "pwrite"), "DELTAVINO_CACHE": str(cache.folder)}
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.waitpid(run.pid, os.WUNTRACED)
    (checkpoint / "generation_config.json").write_text("{}")
    run.send_signal(signal.SIGCONT)
    out, errors = run.communicate(timeout=120)
    assert (run.returncode, out) == (INPUT, "") and "changed meanwhile" in errors, errors
    assert cache.names() == []


# list and clear


def test_list_and_clear(cache):
    cache.made(KJV)
    cache.made(KJV, "--weight-format", "int8")
    int4, int8 = (next(e for e in cache.entries() if e["weight_format"] == f) for f in ("int4", "int8"))
    table = cache.run("cache", "list").stdout
    assert int4["key"] in table and int8["key"] in table and "2 exports" in table
    about = Path(int4["path"]) / ".deltavino-cache.json"
    days = 24 * 3600
    os.utime(about, (time.time() - 40 * days,) * 2)
    assert [entry["key"] for entry in cache.entries()] == [int8["key"], int4["key"]]
    assert cache.run("cache", "clear", "--older-than", "41").stdout.startswith("removed 0 exports")
    cache.found(KJV)  # a use
    assert cache.run("cache", "clear", "--older-than", "30").stdout.startswith("removed 0 exports")
    os.utime(about, (time.time() - 40 * days,) * 2)
    cleared = json.loads(cache.run("cache", "clear", "--older-than", "30", "--json").stdout)
    assert [entry["key"] for entry in cleared["removed"]] == [int4["key"]]
    assert (cleared["bytes"], cleared["busy"]) == (int4["bytes"], [])
    assert cache.keys() == {int8["key"]}
    cache.made(KJV)
    refused(cache.run("cache", "clear", int8["key"], "nothing"), USAGE, "'nothing'", "cache list")
    assert cache.keys() == {int4["key"], int8["key"]}
    assert cache.run("cache", "clear", int8["key"]).returncode == 0
    assert cache.keys() == {int4["key"]}
    assert cache.run("cache", "clear", "*-int4-*").returncode == 0
    assert cache.names() == []


def test_clear_leaves_what_is_not_its_own(cache):
    cache.made(KJV)
    (cache.folder / "exports" / "mine").mkdir()
    (cache.folder / "exports" / "mine" / "file").write_text("x")
    (cache.folder / "file").write_text("x")
    assert cache.run("cache", "clear").returncode == 0
    assert cache.names() == ["mine"] and (cache.folder / "file").exists()
    assert cache.run("cache", "clear", "mine").returncode == USAGE


def test_usage_of_cache(cache):
    refused(cache.run("cache"), USAGE, "list or clear")
    refused(cache.run("cache", "empty"), USAGE, "'empty'")
    refused(cache.run("cache", "list", "key"), USAGE, "clear")
    refused(cache.run("cache", "clear", "--older-than", "-1"), USAGE, "--older-than")
    assert cache.run("cache", "clear").stdout.startswith("removed 0 exports")
    assert not cache.folder.exists()


def test_a_locked_entry_is_not_cleared(cache):
    cache.made(KJV)
    (key,) = cache.keys()
    with (cache.folder / "exports" / f".{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cleared = json.loads(cache.run("cache", "clear", "--json").stdout)
        assert (cleared["busy"], cleared["removed"]) == ([key], [])
        assert key in cache.run("cache", "clear").stdout
    assert cache.run("cache", "clear").stdout.startswith("removed 1 export,")


# Hub ids


def run_id(hub, cache: Cache, *arguments: object, **variables: str) -> subprocess.CompletedProcess:  # noqa: F811
    environment = {**hub.environment, "DELTAVINO_CACHE": str(cache.folder), **variables}
    return run_deltavino("generate", *arguments, *ASK, *TEXT, env=environment, timeout=120)


def test_hub_id(kjv, cache, tmp_path):  # noqa: F811
    first = run_id(kjv, cache, ID)
    assert first.returncode == 0 and f"exported '{ID}'" in first.stderr, first.stderr
    asked = len(kjv.server.requests)
    again = run_id(kjv, cache, ID)
    assert again.stdout == first.stdout and "was exported before" in again.stderr
    assert len(kjv.server.requests) == asked
    (entry,) = cache.entries()
    assert entry["source"] == f"{ID}@{kjv.commit[:12]}"
    # The commit tells, not the place or the time: another download of it, or its folder, is the same checkpoint.
    other = run_id(kjv, cache, f"{ID}@{kjv.commit}", "--cache-dir", tmp_path / "other")
    assert other.returncode == 0 and "was exported before" in other.stderr
    folder = tmp_path / "other" / kjv.folder().name / "snapshots" / kjv.commit
    assert "was exported before" in run_id(kjv, cache, folder).stderr
    # Another commit is not.
    files = {name: file.data for name, file in kjv.server.repositories[ID][kjv.commit].items()}
    kjv.server.add(ID, {**files, "generation_config.json": b"{}"}, branch="changed")
    changed = run_id(kjv, cache, ID, "--revision", "changed")
    assert changed.returncode == 0 and f"exported '{ID}'" in changed.stderr
    assert len(cache.entries()) == 2


def test_hub_id_without_links(kjv, cache):  # noqa: F811
    """Without the name of a blob, size and times tell a file."""
    for words in ("exported '", "was exported before"):
        result = run_id(kjv, cache, ID, HF_HUB_DISABLE_SYMLINKS="1")
        assert result.returncode == 0 and words in result.stderr, result.stderr
    file = kjv.folder() / "snapshots" / kjv.commit / "generation_config.json"
    file.write_bytes(file.read_bytes())
    assert "exported '" in run_id(kjv, cache, ID, HF_HUB_DISABLE_SYMLINKS="1").stderr


def test_unknown_hub_id(hub, cache):  # noqa: F811
    refused(run_id(hub, cache, "acme/nothing"), NETWORK, "acme/nothing")
    assert cache.names() == []


def test_eval_by_hub_id(kjv, cache):  # noqa: F811
    environment = {**kjv.environment, "DELTAVINO_CACHE": str(cache.folder)}
    arguments = ("--text", KJV / "held_out.txt", "--windows", "2", "--json", "--revision", kjv.commit)
    result = run_deltavino("eval", ID, "--against", ID, *arguments, *TEXT, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["models"][1]["model"] == ID
