"""Names that no file system takes: one error that names them, and nothing is left behind."""

import json
import os

import pytest
from conftest import KJV, run_deltavino
from test_cli import edit_tensors

INPUT, OUTPUT = 3, 5
LONG = "n" * 300
TEXT = ("--task", "text-generation-with-past")


def refused(code: int, *arguments: object, words: tuple[str, ...] = (LONG,), **options: object) -> None:
    result = run_deltavino(*arguments, timeout=120, **options)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert (result.returncode, len(lines), result.stdout) == (code, 1, ""), result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


@pytest.mark.parametrize("below", ["", "sub"])
def test_target_of_an_export(tmp_path, below):
    refused(OUTPUT, "export", "-m", KJV, tmp_path / LONG / below, *TEXT, words=(LONG, "File name too long"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("length", [220, 235, 245, 255])
def test_a_name_that_fits_but_not_with_the_end_of_the_work_folder(tmp_path, length):
    """The work is done in a folder beside the target, whose name is longer by 18 letters."""
    target = tmp_path / ("m" * length)
    result = run_deltavino("export", "-m", KJV, target, *TEXT)
    if result.returncode == 0:
        assert os.listdir(tmp_path) == [target.name] and (target / "openvino_model.xml").exists()
        assert length <= 237
    else:
        assert length > 237 and result.returncode == OUTPUT
        assert f"cannot write to '{target}'" in result.stderr and "File name too long" in result.stderr
        assert os.listdir(tmp_path) == []


def test_inputs(tmp_path, kjv_text):
    refused(INPUT, "export", "-m", tmp_path / LONG, tmp_path / "out")
    refused(INPUT, "inspect", tmp_path / LONG)
    refused(INPUT, "generate", LONG, "--raw", "--prompt", "x")
    refused(INPUT, "generate", kjv_text, "--raw", "--file", LONG)
    refused(INPUT, "eval", kjv_text, "--text", LONG)
    refused(INPUT, "check", kjv_text, "--against", LONG)
    assert os.listdir(tmp_path) == []


def test_report(tmp_path):
    refused(OUTPUT, "export", "-m", KJV, tmp_path / "out", *TEXT, "--report", tmp_path / LONG)
    assert os.listdir(tmp_path) == []


def test_cache(tmp_path):
    environment = {**os.environ, "DELTAVINO_CACHE": str(tmp_path / LONG)}
    for arguments in (("cache", "list"), ("cache", "clear"), ("generate", KJV, "--raw", "--prompt", "x")):
        refused(OUTPUT, *arguments, words=(LONG, "File name too long"), env=environment)
    assert os.listdir(tmp_path) == []


def test_shards(tmp_path):
    """A name in the index that cannot be a file is an unfinished download like any other name that is not there."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for path in KJV.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            (checkpoint / path.name).write_bytes(path.read_bytes())
    shard = LONG + ".safetensors"
    index = {"metadata": {}, "weight_map": {"model.language_model.norm.weight": shard}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(INPUT, "export", "-m", checkpoint, tmp_path / "out", words=(shard,))
    assert not (tmp_path / "out").exists()


def test_tensors(tmp_path):
    """A tensor of such a name is one that no layer has; it is named, not looked up in a file system."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for path in KJV.iterdir():
        if path.is_file():
            (checkpoint / path.name).write_bytes(path.read_bytes())

    def rename(tensors: dict) -> bool:
        tensors[LONG] = tensors.pop("model.language_model.norm.weight")
        return True

    edit_tensors(checkpoint, rename)
    refused(INPUT, "export", "-m", checkpoint, tmp_path / "out", *TEXT, words=(LONG, "norm.weight"))
    assert not (tmp_path / "out").exists()
