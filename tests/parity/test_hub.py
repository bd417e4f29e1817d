"""One cache for two programs: what deltavino downloads huggingface_hub finds, and the reverse."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
from conftest import KJV, run_deltavino
from hub_server import HubServer
from hub_support import ID, NEEDED, UNNEEDED, Hub, checkpoint_files, shards

REVISIONS = ["main", "refs/pr/1"]


def theirs(hub: Hub, code: str, **variables: str) -> dict:
    """Runs Python code with huggingface_hub, which reads its environment once; returns what it leaves in `out`."""
    environment = {**hub.environment, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
                   "HF_HUB_DISABLE_XET": "1", **variables}  # fmt: skip
    text = f"import json, huggingface_hub as hf\nID = {ID!r}\n{code}\nprint(json.dumps(out))"
    result = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture
def hub(tmp_path):
    with HubServer() as server:
        found = Hub(tmp_path, server)
        found.commit = server.add(ID, {**checkpoint_files(), **UNNEEDED})
        server.add(ID, {**checkpoint_files(), "merges.txt": b"a b\n"}, branch="refs/pr/1")
        yield found


@pytest.mark.parametrize("revision", REVISIONS)
def test_they_find_what_we_download(hub, revision):
    hub.ok(ID, "--revision", revision)
    before = len(hub.server.requests)
    out = theirs(
        hub,
        f"""
snapshot = hf.snapshot_download(ID, revision={revision!r}, local_files_only=True)
files = {{name: hf.try_to_load_from_cache(ID, name, revision={revision!r}) for name in {NEEDED!r}}}
absent = hf.try_to_load_from_cache(ID, "model.gguf", revision={revision!r})
info = hf.scan_cache_dir()
(repo,) = info.repos
(found,) = repo.revisions
out = dict(snapshot=snapshot, files=files, absent=absent, warnings=[str(w) for w in info.warnings], id=repo.repo_id,
           type=repo.repo_type, refs=sorted(found.refs), commit=found.commit_hash, size=repo.size_on_disk,
           names=sorted(f.file_name for f in found.files))
""",
    )
    commit = hub.server.refs[ID, revision]
    snapshot = hub.folder() / "snapshots" / commit
    assert out["snapshot"] == str(snapshot)
    assert out["files"] == {name: str(snapshot / name) for name in NEEDED}
    assert out["absent"] is None
    names = NEEDED + (["merges.txt"] if revision != "main" else [])
    assert (out["warnings"], out["id"], out["type"]) == ([], ID, "model")
    assert (out["refs"], out["commit"], out["names"]) == ([revision], commit, sorted(names))
    assert out["size"] == sum(len(hub.server.repositories[ID][commit][name].data) for name in names)
    assert len(hub.server.requests) == before


@pytest.mark.parametrize("revision", REVISIONS)
def test_we_find_what_they_download(hub, revision):
    theirs(hub, f"out = hf.snapshot_download(ID, revision={revision!r})")
    before = len(hub.server.requests)
    result = hub.ok(ID, "--revision", revision)
    assert hub.server.refs[ID, revision][:12] in result.stderr
    assert not [r for r in hub.server.requests[before:] if "/resolve/" in r.path]
    count = len(hub.server.requests)
    assert count - before <= 1  # the listing, where this huggingface_hub keeps none
    hub.ok(ID, "--revision", revision, HF_HUB_OFFLINE="1")
    assert len(hub.server.requests) == count


def test_we_complete_what_they_began(hub):
    theirs(hub, "out = [hf.hf_hub_download(ID, name) for name in ('config.json', 'README.md')]")
    before = len(hub.server.requests)
    hub.refused(6, "lacks 'model.safetensors'", HF_HUB_OFFLINE="1")
    hub.ok()
    fetched = {r.path.split("/")[-1] for r in hub.server.requests[before:] if "/resolve/" in r.path}
    assert fetched == set(NEEDED) - {"config.json"}


def test_they_complete_what_we_began(hub):
    hub.ok()
    before = len(hub.server.requests)
    theirs(hub, "out = hf.snapshot_download(ID)")
    weights = hub.server.repositories[ID][hub.commit]["model.safetensors"].sha256
    for request in hub.server.requests[before:]:
        assert request.method == "HEAD" or not request.path.endswith(tuple(f"/{hub.commit}/{n}" for n in NEEDED))
        assert weights not in request.path
    assert hub.snapshot(hub.commit) == sorted([*NEEDED, *UNNEEDED])


def test_both_lay_out_the_same_tree(hub, tmp_path):
    """Names, link targets and bytes of blobs, snapshots and refs; only notes beside them differ."""
    files = checkpoint_files()
    del files["model.safetensors"]
    hub.server.add(ID, {**files, **shards()})

    def layout(folder: Path) -> dict:
        found = {}
        for part in ("blobs", "refs", "snapshots"):
            for path in sorted((folder / part).rglob("*")):
                name = str(path.relative_to(folder))
                if path.is_symlink():
                    found[name] = os.readlink(path)
                elif path.is_file():
                    found[name] = (path.read_bytes(), oct(path.stat().st_mode))
        return found

    hub.ok()
    ours = layout(hub.folder())
    shutil.rmtree(hub.cache)
    theirs(hub, "out = hf.snapshot_download(ID)")
    assert ours == layout(hub.folder())


def test_side_by_side_with_them(hub):
    """Both at once into one cache: both succeed, and the large file is right."""
    code = f"import huggingface_hub as hf; hf.snapshot_download({ID!r})"
    environment = {**hub.environment, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    other = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    hub.ok()
    _, errors = other.communicate(timeout=120)
    assert other.returncode == 0, errors
    pointer = hub.folder() / "snapshots" / hub.commit / "model.safetensors"
    assert pointer.read_bytes() == (KJV / "model.safetensors").read_bytes()


def test_a_lock_of_theirs_is_waited_for(hub):
    """While huggingface_hub's own lock of the blob is held, we do not write it."""
    etag = hub.server.repositories[ID][hub.commit]["model.safetensors"].etag
    lock = hub.cache / ".locks" / hub.folder().name / f"{etag}.lock"
    blob = hub.folder() / "blobs" / etag
    code = f"""
import sys
from pathlib import Path
from huggingface_hub.utils import WeakFileLock
Path({str(lock.parent)!r}).mkdir(parents=True)
with WeakFileLock({str(lock)!r}):
    print("held", flush=True)
    sys.stdin.readline()
    blob = Path({str(blob)!r})
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(Path({str(KJV / "model.safetensors")!r}).read_bytes())
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=hub.environment
    )
    assert holder.stdout.readline() == "held\n"
    ours = subprocess.Popen(
        [os.environ["DELTAVINO"], "inspect", ID], env=hub.environment, stderr=subprocess.PIPE, text=True
    )
    line = ours.stderr.readline()
    assert "waiting for another program that downloads 'model.safetensors'" in line
    assert not blob.exists()
    holder.communicate("\n", timeout=60)
    _, errors = ours.communicate(timeout=60)
    assert ours.returncode == 0, errors
    assert not hub.server.seen(on="cdn")  # theirs was used


def test_cache_folder_is_theirs(hub, tmp_path):
    for variables in (
        {"HF_HOME": "~/a"},
        {"HF_HUB_CACHE": "$HOME/b/${USER_NAME}/hub", "USER_NAME": "me"},
        {"HUGGINGFACE_HUB_CACHE": str(tmp_path / "c")},
        {"HF_HUB_CACHE": str(tmp_path / "d"), "HUGGINGFACE_HUB_CACHE": str(tmp_path / "e")},
        {"HF_HOME": "$NOT_SET/f"},
    ):
        place = theirs(hub, "from huggingface_hub import constants; out = constants.HF_HUB_CACHE", **variables)
        run_deltavino("inspect", ID, env={**hub.environment, **variables}, cwd=tmp_path)
        assert (tmp_path / place / hub.folder().name / "refs" / "main").exists(), (variables, place)
