"""`export --calibrate`: as many bytes, nearer to the float model on text that it did not see."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from conftest import KJV, ROOT
from exported import stored_tensors, stored_values
from lora_support import write_adapter

USAGE, INPUT, CANCELLED = 2, 3, 130
TEXT = ("--task", "text-generation-with-past")
INT4 = (*TEXT, "--weight-format", "int4")
TOKENS = ("--calibration-tokens", "4096")
NORM = "model.language_model.norm.weight"


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> tuple[Path, Path]:
    """The held-out text in two parts that share no line: one to calibrate on, one to measure on."""
    folder = tmp_path_factory.mktemp("texts")
    lines = (KJV / "held_out.txt").read_text().splitlines(keepends=True)
    half = len(lines) // 2
    for name, part in (("first.txt", lines[:half]), ("second.txt", lines[half:])):
        (folder / name).write_text("".join(part))
    return folder / "first.txt", folder / "second.txt"


@pytest.fixture(scope="module")
def made(deltavino, texts, tmp_path_factory) -> dict[str, Path]:
    """Directories by how their codes were chosen."""
    folder = tmp_path_factory.mktemp("made")
    text = ("--calibrate", texts[0], *TOKENS)
    ways = {"search": (), "text": text, "again": (*text, "--threads", "1"),
            "self": ("--calibrate", "self", "--calibration-tokens", "2048")}
    for name, options in ways.items():
        report = ("--report", folder / f"{name}.json")
        result = deltavino("export", "-m", KJV, folder / name, *INT4, *options, *report)
        assert result.returncode == 0, result.stderr
        if options:
            assert re.search(r"note: calibrated 50 weights on \d+ windows of 256 tokens", result.stderr), result.stderr
    return {name: folder / name for name in ways}


def kl(deltavino, text: Path, *directories: Path) -> list[float]:
    result = deltavino("eval", "--text", text, "--windows", "24", "--json", "--against", KJV, *directories)
    assert result.returncode == 0, result.stderr
    return [row["kl_divergence"] for row in json.loads(result.stdout)["models"][1:]]


def test_is_nearer_on_text_that_it_did_not_see(deltavino, texts, made):
    search, text, own = kl(deltavino, texts[1], made["search"], made["text"], made["self"])
    assert text < 0.85 * search
    assert own < 0.95 * search


def test_two_exports_are_equal(deltavino, made, tmp_path):
    for name, options in (("text", None), ("self", ("--calibrate", "self", "--calibration-tokens", "2048"))):
        other = made["again"] if options is None else tmp_path / name
        if options is not None:
            assert deltavino("export", "-m", KJV, other, *INT4, *options).returncode == 0
        assert sorted(os.listdir(other)) == sorted(os.listdir(made[name]))
        for file in made[name].iterdir():
            assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_what_the_model_writes_is_of_the_model_with_its_adapter(deltavino, tmp_path):
    # A norm with its weights in another order: as an adapter, and in the checkpoint's place.
    tensor = stored_tensors(KJV)[NORM]
    values = np.ascontiguousarray(stored_values(tensor)[::-1].astype(np.float32))
    adapter = write_adapter(tmp_path / "adapter", {}, more={NORM: values}, modules_to_save=["norm"])
    merged = tmp_path / "merged"
    shutil.copytree(KJV, merged)
    file = merged / tensor[2].name
    data = bytearray(file.read_bytes())
    raw = values.tobytes() if tensor[0] == "F32" else (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    data[tensor[3] : tensor[4]] = raw
    file.write_bytes(data)
    own = ("--calibrate", "self", "--calibration-tokens", "2048")
    assert deltavino("export", "-m", KJV, tmp_path / "a", *INT4, *own, "--lora", adapter).returncode == 0
    assert deltavino("export", "-m", merged, tmp_path / "b", *INT4, *own).returncode == 0
    assert (tmp_path / "a/openvino_model.bin").read_bytes() == (tmp_path / "b/openvino_model.bin").read_bytes()


def operations(directory: Path) -> list[tuple[str, str, str]]:
    model = ov.Core().read_model(directory / "openvino_model.xml")
    return [(node.get_friendly_name(), node.get_type_name(), str(node.get_output_partial_shape(0)))
            for node in model.get_ordered_ops() if node.get_output_size() > 0]


def test_only_codes_differ(deltavino, made):
    """Same sizes, same graph, and a check against the checkpoint finds no fault."""
    for name in ("text", "self"):
        assert operations(made[name]) == operations(made["search"])
        sizes = {file.name: file.stat().st_size for file in made["search"].glob("*.bin")}
        assert sizes == {file.name: file.stat().st_size for file in made[name].glob("*.bin")}
        assert (made[name] / "openvino_model.bin").read_bytes() != (made["search"] / "openvino_model.bin").read_bytes()
        result = deltavino("check", made[name], "--against", KJV)
        assert result.returncode == 0, result.stdout + result.stderr


def test_says_how_it_was_made(made):
    for name, said in (("text", "'first.txt'"), ("self", "text that the model wrote itself")):
        own = json.loads((made[name] / "openvino_config.json").read_text())["deltavino"]
        assert own["calibration"] == {"text": said, "tokens": 4096 if name == "text" else 2048}
        assert any(said in line for line in own["recipe"])
        model = ov.Core().read_model(made[name] / "openvino_model.xml")
        assert model.get_rt_info("deltavino/calibration".split("/")).astype(str) == said
        report = json.loads(made[name].with_suffix(".json").read_text())
        assert any(said in line for line in report["recipe"])
        errors = [row["relative_error"] for row in report["tensors"]
                  if row["model"] == "openvino_model" and row["stored_as"].startswith("u4")]
        assert len(errors) == 50 and all(0.02 < error < 0.3 for error in errors)
    assert "calibration" not in json.loads((made["search"] / "openvino_config.json").read_text())["deltavino"]


@pytest.mark.parametrize(
    "options", [("--sym",), ("--group-size", "32"), ("--group-size", "-1", "--sym"), ("--ratio", "0.6")]
)
def test_other_storage(deltavino, texts, tmp_path, options):
    for name, more in (("search", ()), ("text", ("--calibrate", texts[0], "--calibration-tokens", "2048"))):
        result = deltavino("export", "-m", KJV, tmp_path / name, *INT4, *options, *more)
        assert result.returncode == 0, result.stderr
    search, text = kl(deltavino, texts[1], tmp_path / "search", tmp_path / "text")
    assert text < 0.95 * search


def table(model: Path) -> dict[str, bytes]:
    """The constants that the embedding or the tied head is made of, by their last names."""
    ops = ov.Core().read_model(model).get_ordered_ops()
    return {node.get_friendly_name().rsplit("/", 1)[-1]: node.get_data().tobytes() for node in ops
            if node.get_type_name() == "Constant" and "embed_tokens" in node.get_friendly_name()}


def test_a_head_of_4_bit(deltavino, texts, tmp_path):
    """It is calibrated, too: other codes than without, the same in all files that have 4 bit of it."""
    smallest = ("--weight-format", "int4", "--recipe", "smallest")
    text = ("--calibrate", texts[0], *TOKENS)
    ways = {"search": (*TEXT, *smallest), "text": (*TEXT, *smallest, *text), "vlm": (*smallest, *text),
            "kept": ("--weight-format", "int4", "--keep", "model.embed_tokens.weight=int4_sym_g64", *text)}
    for name, options in ways.items():
        result = deltavino("export", "-m", KJV, tmp_path / name, *options)
        assert result.returncode == 0, result.stderr
        assert ("calibrated 51 weights" in result.stderr) == (name != "search"), result.stderr
        check = deltavino("check", tmp_path / name, "--against", KJV, "--tokens", "32")
        assert check.returncode == 0, check.stdout + check.stderr
    search, calibrated = kl(deltavino, texts[1], tmp_path / "search", tmp_path / "text")
    assert calibrated < 0.9 * search
    head = table(tmp_path / "text" / "openvino_model.xml")
    assert head != table(tmp_path / "search" / "openvino_model.xml") and head
    assert table(tmp_path / "vlm" / "openvino_language_model.xml") == head
    assert table(tmp_path / "kept" / "openvino_language_model.xml") == head
    assert table(tmp_path / "kept" / "openvino_text_embeddings_model.xml") == head


def test_of_a_vision_language_model(deltavino, texts, made, tmp_path):
    """Its language model is that of the text export; pictures play no part."""
    options = ("--weight-format", "int4", "--calibrate", texts[0], *TOKENS)
    result = deltavino("export", "-m", KJV, tmp_path / "out", *options)
    assert result.returncode == 0, result.stderr

    def codes(model: Path) -> dict[str, bytes]:
        ops = ov.Core().read_model(model).get_ordered_ops()
        return {node.get_friendly_name(): node.get_data().tobytes() for node in ops
                if node.get_type_name() == "Constant" and "layers.0.mlp" in node.get_friendly_name()}

    found = codes(tmp_path / "out" / "openvino_language_model.xml")
    assert found and found == codes(made["text"] / "openvino_model.xml")


@pytest.mark.parametrize(("content", "said"), [(b"", "it has 0 tokens, expected at least 2048"),
                                               (b"And he said. " * 30, "expected at least 2048"),
                                               (b"\xff\xfe" * 9000, "it is not UTF-8 text")])
def test_text_that_cannot_be_used(deltavino, tmp_path, content, said):
    (tmp_path / "text.txt").write_bytes(content)
    result = deltavino("export", "-m", KJV, tmp_path / "out", *INT4, "--calibrate", tmp_path / "text.txt")
    assert result.returncode == INPUT and said in result.stderr and "text.txt" in result.stderr
    assert os.listdir(tmp_path) == ["text.txt"]


@pytest.mark.parametrize(("options", "said"), [
    ((*INT4, "--calibrate", "{text}", "--disable-convert-tokenizer"), "does not go with --disable-convert-tokenizer"),
    (("--weight-format", "int8", "--calibrate", "{text}"), "is for int4; it does not go with --weight-format int8"),
    (("--calibrate", "{text}"), "--calibrate is for int4; it does not go with no --weight-format"),
    ((*INT4, "--calibrate", "{text}", "--scale-search", "nncf"), "does not go with --scale-search nncf"),
    ((*INT4, "--calibration-tokens", "4096"), "--calibration-tokens goes with --calibrate"),
    ((*INT4, "--calibrate", "{text}", "--calibration-tokens", "100"), "is 100, expected 2048 to 1048576"),
])  # fmt: skip
def test_options_that_do_not_go_together(deltavino, texts, tmp_path, options, said):
    given = [str(texts[0]) if option == "{text}" else option for option in options]
    result = deltavino("export", "-m", KJV, tmp_path / "out", *given)
    assert result.returncode == USAGE and said in result.stderr, result.stderr
    assert not (tmp_path / "out").exists()


def test_files_that_are_missing(deltavino, texts, tmp_path):
    result = deltavino("export", "-m", KJV, tmp_path / "out", *INT4, "--calibrate", tmp_path / "absent.txt")
    assert result.returncode == INPUT and "absent.txt" in result.stderr
    shutil.copytree(KJV, tmp_path / "model", ignore=lambda _, names: [n for n in names if n.startswith("tokenizer")])
    result = deltavino("export", "-m", tmp_path / "model", tmp_path / "out", *INT4, "--calibrate", texts[0])
    assert result.returncode != 0 and "tokenizer" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("way", ["text", "self"])
def test_it_can_be_stopped(texts, tmp_path, way):
    program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
    calibrate = texts[0] if way == "text" else "self"
    options = ("--calibrate", calibrate, "--calibration-tokens", "1048576")
    command = [program, "export", "-m", KJV, tmp_path / "out", *INT4, *options]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    wanted = "openvino_model.bin" if way == "text" else "calibration"
    while not list(tmp_path.glob(f".*/new/{wanted}")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == CANCELLED and error.splitlines()[-1] == "error: stopped"
    assert os.listdir(tmp_path) == []
