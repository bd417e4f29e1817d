"""Checkpoints by their Hub id: downloads from a local server that also misbehaves, and the cache they end in.

tests/parity/test_hub.py holds the same cache against huggingface_hub itself.
"""

import json
import os
import re
import resource
import shutil
import socket

import pytest
from conftest import KJV, run_deltavino
from hub_support import (
    ID,
    INPUT,
    NEEDED,
    NETWORK,
    OUTPUT,
    UNNEEDED,
    UNSUPPORTED,
    USAGE,
    checkpoint_files,
    hub,  # noqa: F401
    kjv,  # noqa: F401
    shards,
)


# What differs between an export by id and one of a folder.
SOURCE = re.compile(rb'\s*<source(?:_revision)? value="[^"]*" ?/>')


# What is downloaded, and where it lies.


def test_needed_files_only_as_huggingface_hub_lays_them_out(kjv):
    kjv.ok()
    assert kjv.snapshot(kjv.commit) == NEEDED
    assert (kjv.folder() / "refs" / "main").read_text() == kjv.commit
    files = kjv.server.repositories[ID][kjv.commit]
    for name in NEEDED:
        pointer = kjv.folder() / "snapshots" / kjv.commit / name
        assert os.readlink(pointer) == f"../../blobs/{files[name].etag}"
        assert pointer.read_bytes() == files[name].data
    blobs = {p.name for p in (kjv.folder() / "blobs").iterdir()}
    assert blobs == {files[name].etag for name in NEEDED}
    locks = {p.name for p in (kjv.cache / ".locks" / kjv.folder().name).iterdir()}
    assert locks <= {f"{blob}.lock" for blob in blobs}
    fetched = {r.path.split("/")[-1] for r in kjv.server.seen("/resolve/")}
    assert fetched == set(NEEDED)


def test_second_run_asks_nothing(kjv):
    kjv.ok()
    before = len(kjv.server.requests)
    assert "of the cache" in kjv.ok().stderr
    kjv.ok(f"{ID}@{kjv.commit}")
    kjv.ok(ID, "--revision", kjv.commit)
    assert len(kjv.server.requests) == before


def test_shards_of_the_index_in_pages(hub):
    hub.server.page_size = 3
    files = checkpoint_files()
    del files["model.safetensors"]
    commit = hub.server.add(ID, {**files, **shards(), **UNNEEDED, "additional_chat_templates/rag.jinja": b"{{ x }}"})
    hub.ok()
    assert hub.snapshot(commit) == sorted([*files, *shards(), "additional_chat_templates/rag.jinja"])
    pointer = hub.folder() / "snapshots" / commit / "additional_chat_templates" / "rag.jinja"
    assert os.readlink(pointer).startswith("../../../blobs/")
    assert len(hub.server.seen("cursor=")) >= 3


def test_revisions(hub):
    first = hub.server.add(ID, checkpoint_files())
    second = hub.server.add(ID, {**checkpoint_files(), "config.json": (KJV / "config.json").read_bytes() + b"\n"})
    third = hub.server.add(ID, {**checkpoint_files(), "merges.txt": b"a b\n"}, branch="refs/pr/1")
    for revision, commit in (("main", second), (first, first), ("refs/pr/1", third)):
        hub.ok(ID, "--revision", revision)
        assert hub.snapshot(commit)
    assert (hub.folder() / "refs" / "refs" / "pr" / "1").read_text() == third
    assert not (hub.folder() / "refs" / first).exists()
    # Only what differs was fetched again.
    assert len(hub.server.seen(on="cdn")) == 1
    hub.refused(USAGE, "different revisions", arguments=(f"{ID}@main", "--revision", "other"))
    hub.refused(NETWORK, "404", "no revision 'nothing'", arguments=(f"{ID}@nothing",))
    hub.refused(INPUT, "not a branch", arguments=(f"{ID}@../../x",))


def test_export_by_id_is_the_export_of_the_folder(kjv, tmp_path):
    assert kjv.run("-m", ID, tmp_path / "by-id", command="export").returncode == 0
    assert run_deltavino("export", "-m", KJV, tmp_path / "by-folder").returncode == 0
    names = sorted(p.name for p in (tmp_path / "by-folder").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "by-id").iterdir())
    for name in names:
        ours, theirs = (tmp_path / "by-id" / name).read_bytes(), (tmp_path / "by-folder" / name).read_bytes()
        if name == "openvino_config.json":
            source = json.loads(ours)["deltavino"]
            assert ID in json.dumps(source) and kjv.commit in json.dumps(source)
            assert {**json.loads(ours), "deltavino": 0} == {**json.loads(theirs), "deltavino": 0}
        elif name.endswith(".xml"):
            assert SOURCE.sub(b"", ours) == SOURCE.sub(b"", theirs), name
            assert len(SOURCE.findall(ours)) == (0 if "tokenizer" in name else 2), name
        else:
            assert ours == theirs, name


def test_cache_folder_of_every_variable(kjv, tmp_path):
    for variables, place in (
        ({"HF_HUB_CACHE": str(tmp_path / "a")}, tmp_path / "a"),
        ({"HUGGINGFACE_HUB_CACHE": "$HOME/b"}, tmp_path / "b"),
        ({"HF_HOME": "~/c"}, tmp_path / "c" / "hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": str(tmp_path / "d")}, tmp_path / "d" / "huggingface" / "hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": ""}, tmp_path / ".cache" / "huggingface" / "hub"),
    ):
        kjv.ok(**variables)
        assert (place / kjv.folder().name / "refs" / "main").exists(), variables
        assert (place / "CACHEDIR.TAG").exists()
    kjv.ok(ID, "--cache-dir", tmp_path / "e")
    assert (tmp_path / "e" / kjv.folder().name).is_dir()
    assert not kjv.cache.exists()


def test_a_folder_comes_first(kjv, tmp_path):
    shutil.copytree(KJV, tmp_path / ID)
    result = run_deltavino("inspect", ID, env=kjv.environment, cwd=tmp_path)
    assert result.returncode == 0 and not kjv.server.requests


def test_link_less_cache(kjv):
    kjv.ok(HF_HUB_DISABLE_SYMLINKS="1")
    assert not any((kjv.folder() / "snapshots" / kjv.commit / name).is_symlink() for name in NEEDED)
    before = len(kjv.server.requests)
    kjv.ok()
    assert len(kjv.server.requests) == before


# Without network.


def test_offline(kjv):
    kjv.refused(NETWORK, "HF_HUB_OFFLINE", "does not hold its revision 'main'", HF_HUB_OFFLINE="1")
    kjv.ok()
    before = len(kjv.server.requests)
    kjv.ok(HF_HUB_OFFLINE="1")
    pointer = kjv.folder() / "snapshots" / kjv.commit / "tokenizer.json"
    pointer.resolve().unlink()
    kjv.refused(NETWORK, "lacks 'tokenizer.json'", HF_HUB_OFFLINE="1")
    assert len(kjv.server.requests) == before
    kjv.ok()  # mends it
    assert pointer.read_bytes() == (KJV / "tokenizer.json").read_bytes()


def forget(kjv) -> None:
    """As if another tool had filled the cache: nothing says what the commit has."""
    shutil.rmtree(kjv.folder() / ".deltavino")


def test_offline_without_a_listing_names_the_shards(hub):
    files = checkpoint_files()
    del files["model.safetensors"]
    commit = hub.server.add(ID, {**files, **shards()})
    hub.ok()
    forget(hub)
    hub.ok(HF_HUB_OFFLINE="1")
    (hub.folder() / "snapshots" / commit / "model-00002-of-00003.safetensors").unlink()
    hub.refused(NETWORK, "lacks 'model-00002-of-00003.safetensors'", HF_HUB_OFFLINE="1")


def test_an_index_whose_blob_is_gone_is_fetched_again(hub):
    files = checkpoint_files()
    del files["model.safetensors"]
    commit = hub.server.add(ID, {**files, **shards()})
    hub.ok()
    forget(hub)
    index = hub.folder() / "snapshots" / commit / "model.safetensors.index.json"
    index.resolve().unlink()
    hub.refused(NETWORK, "lacks 'model.safetensors.index.json'", HF_HUB_OFFLINE="1")
    hub.ok()
    assert index.exists()


def test_cache_of_another_tool_is_checked_once(kjv):
    kjv.ok()
    forget(kjv)
    before = len(kjv.server.requests)
    kjv.ok()
    assert [r.path.split("?")[0] for r in kjv.server.requests[before:]] == [f"/api/models/{ID}/tree/{kjv.commit}"]
    kjv.ok()
    assert len(kjv.server.requests) == before + 1


def test_cache_of_another_tool_when_the_hub_is_down(kjv):
    kjv.ok()
    forget(kjv)
    kjv.server.fault("/api/", status=503)
    assert "which may lack a file" in kjv.ok().stderr
    assert len(kjv.server.seen("/tree/")) == 2  # no second try: there is something to work with


def test_no_network(kjv):
    kjv.refused(NETWORK, "resolve host", "no local folder", "network", HF_ENDPOINT="http://nowhere.invalid")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        kjv.refused(NETWORK, "connect", "network", HF_ENDPOINT=address)


# Access.


def test_token_goes_to_the_hub_and_to_no_other_host(kjv, tmp_path):
    kjv.server.token = "hf_secret"
    kjv.ok(HF_TOKEN=" hf_secret\n")
    hub, cdn = kjv.server.seen(on="hub"), kjv.server.seen(on="cdn")
    assert all(r.headers["authorization"] == "Bearer hf_secret" for r in hub)
    assert cdn and not any("authorization" in r.headers for r in cdn)
    for variables in (
        {"HF_TOKEN_PATH": str(tmp_path / "elsewhere")},
        {"HUGGING_FACE_HUB_TOKEN": "hf_secret"},
        {"HF_HOME": str(tmp_path / "other"), "HF_HUB_CACHE": str(kjv.cache)},
    ):
        (tmp_path / "elsewhere").write_text("hf_secret\n")
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "token").write_text("hf_secret")
        shutil.rmtree(kjv.cache)
        kjv.ok(**variables)
    shutil.rmtree(kjv.cache)
    kjv.refused(NETWORK, "401", HF_TOKEN="hf_secret", HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    kjv.refused(NETWORK, "401", "is HF_TOKEN (or the stored one) still valid", HF_TOKEN="hf_old")
    kjv.refused(USAGE, "token of HF_TOKEN", HF_TOKEN="two words")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_token_does_not_follow_a_redirect_of_the_api(kjv, host):
    """Not to another host, and not to another port of the same host."""
    port = kjv.server.cdn.server_address[1]
    kjv.server.fault("/api/", location=f"http://{host}:{port}/api/elsewhere")
    kjv.refused(NETWORK, "404", HF_TOKEN="hf_secret")
    (request,) = kjv.server.seen("/api/elsewhere", on="cdn")
    assert "authorization" not in request.headers
    assert kjv.server.requests[0].headers["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {"X-Error-Code": "GatedRepo"}, ["401", "gated", "accept its licence at", ID, "HF_TOKEN"]),
        (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "x is restricted"}, ["403", "gated", "x is restricted"]),
        (401, {}, ["401", "spelled right", "HF_TOKEN"]),
        (404, {"X-Error-Code": "RepoNotFound"}, ["404", "spelled right", "no local folder"]),
        (418, {"X-Error-Message": "a\x1b[31m teapot"}, ["418", "teapot"]),
    ],
)
def test_no_access(kjv, status, headers, words):
    kjv.server.fault("/api/models/", status=status, headers=headers)
    assert "\x1b" not in kjv.refused(NETWORK, *words)
    assert len(kjv.server.requests) == 1  # such an answer is final


def test_a_file_that_is_closed(kjv):
    kjv.server.fault("/resolve/", status=403, headers={"X-Error-Code": "GatedRepo"}, times=100)
    kjv.refused(NETWORK, "cannot download", "gated", "accept its licence")
    assert not list((kjv.folder() / "blobs").iterdir())  # no empty files


def test_redirects_end_and_lead_to_no_file(kjv):
    kjv.server.fault("/api/", location=f"{kjv.server.url}/api/models/{ID}/again", times=100)
    kjv.refused(NETWORK, "redirects")
    assert len(kjv.server.requests) <= 12
    kjv.server.faults.clear()
    kjv.server.fault("/api/", location="file:///etc/passwd")
    kjv.refused(NETWORK, "file")


# A hostile or unusable repository.


def tree(**changes: object) -> bytes:
    entry = {"type": "file", "oid": "a" * 40, "size": 3, "path": "config.json", **changes}
    return json.dumps([entry]).encode()


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (tree(path="../../../evil.json"), ["'../../../evil.json'", "outside"]),
        (tree(path="/etc/evil.json"), ["outside"]),
        (tree(path="a/../../evil.json"), ["outside"]),
        (tree(path="a\x00.json"), ["outside"]),
        (tree(path="a\\..\\evil.json"), ["outside"]),
        (tree(path=""), ["outside"]),
        (tree(oid="../../../../evil"), ["hash"]),
        (tree(lfs={"oid": "../evil", "size": 3}), ["hash"]),
        (tree(size=-1), ["/0/size"]),
        (tree(size=1 << 62), ["/0/size"]),
        (tree(path=7), ["/0/path"]),
        (b"[1]", ["not an object"]),
        (b"{}", ["not a list"]),
        (b"<html>", ["listing"]),
        (b"[" * 100_000, ["listing"]),
    ],
)
def test_hostile_listings(kjv, tmp_path, listing, words):
    kjv.server.tree_override = listing
    kjv.refused(INPUT, *words)
    assert not kjv.server.seen("/resolve/")
    assert not kjv.cache.exists()


def test_an_index_that_leads_outside(hub):
    files = checkpoint_files()
    del files["model.safetensors"]
    for target in ("../../../evil.safetensors", "/evil.safetensors", "absent.safetensors"):
        index = json.dumps({"weight_map": {"lm_head.weight": target}}).encode()
        hub.server.add(ID, {**files, "model.safetensors.index.json": index, "other.safetensors": b"x"})
        hub.refused(INPUT, target)
    assert not hub.server.seen(on="cdn")


def test_unusable_repositories_are_refused_before_the_download(hub):
    files = checkpoint_files()
    for name, changed, code, words in (
        ("gguf", {"model.safetensors": None, "q4.gguf": b"GGUF"}, UNSUPPORTED, ["q4.gguf", "no .safetensors"]),
        ("lora", {"adapter_config.json": b"{}"}, UNSUPPORTED, ["LoRA"]),
        ("none", {"config.json": None}, INPUT, ["no config.json"]),
    ):
        merged = {k: v for k, v in {**files, **changed}.items() if v is not None}
        hub.server.add(f"acme/{name}", merged)
        hub.refused(code, f"acme/{name}", *words, arguments=(f"acme/{name}",))
    assert not hub.server.seen("/resolve/")


@pytest.mark.parametrize("name", ["no-slash", "./acme/x", "a/b/c", "/a/b", "a//b", "acme/", "a b/c", "a/.", "a/b--c"])
def test_names_that_are_no_ids_ask_nobody(kjv, name):
    kjv.refused(INPUT, "no such folder", arguments=(name,))
    assert not kjv.server.requests


def test_a_disk_without_room(kjv):
    kjv.server.tree_override = json.dumps(
        [
            {"type": "file", "oid": "a" * 40, "size": 3, "path": "config.json"},
            {"type": "file", "oid": "b" * 40, "size": 1, "path": "model.safetensors",
             "lfs": {"oid": "c" * 64, "size": 1 << 43}},
        ]
    ).encode()
    kjv.refused(OUTPUT, "8.8 TB are needed", "are free")
    assert not kjv.server.seen("/resolve/")


def test_a_file_size_limit_is_one_error(kjv):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    result = run_deltavino("inspect", ID, env=kjv.environment, preexec_fn=limit)
    assert result.returncode == OUTPUT and "cannot write" in result.stderr, result.stderr
    kjv.ok()


def test_a_cache_that_cannot_be_written(kjv, tmp_path):
    (tmp_path / "file").write_text("")
    kjv.refused(OUTPUT, "cannot create", "--cache-dir", HF_HUB_CACHE=str(tmp_path / "file" / "hub"))
