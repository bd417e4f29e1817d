"""`export --recipe`, `--target-size` and `--target-bits`: what is stored how, how large it is, and how good."""

import json
import re
from pathlib import Path

import pytest
from conftest import KJV
from test_vlm import assert_pictures_are_named, run_pipeline

USAGE = 2
TEXT = ("--task", "text-generation-with-past", "--weight-format", "int4")
RECIPES = ("balanced", "smallest", "fastest", "best")


def export(deltavino, target: Path, *options) -> str:
    result = deltavino("export", "-m", KJV, target, *options)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def weight_bytes(directory: Path) -> int:
    """Of the models' .bin files, without those of the tokenizer."""
    return sum(file.stat().st_size for file in directory.glob("*.bin") if "tokenizer" not in file.name)


@pytest.fixture(scope="module")
def recipes(deltavino, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("recipes")
    for name in RECIPES:
        export(deltavino, folder / name, *TEXT, "--recipe", name, "--report", folder / f"{name}.json")
    return {name: folder / name for name in RECIPES}


def divergences(deltavino, *directories: Path) -> list[float]:
    result = deltavino("eval", "--text", KJV / "held_out.txt", "--windows", "24", "--json", "--against", KJV, *directories)
    assert result.returncode == 0, result.stderr
    return [row["kl_divergence"] for row in json.loads(result.stdout)["models"][1:]]


def test_each_is_what_its_name_says(deltavino, recipes):
    found = dict(zip(RECIPES, divergences(deltavino, *recipes.values()), strict=True))
    sizes = {name: weight_bytes(directory) for name, directory in recipes.items()}
    assert found["best"] < 0.75 * found["balanced"] < found["balanced"] < min(found["smallest"], found["fastest"])
    assert sizes["smallest"] < sizes["fastest"] < sizes["balanced"] < sizes["best"]


def test_a_target_of_the_same_size_is_not_worse(deltavino, recipes, tmp_path):
    for name in RECIPES:
        size = weight_bytes(recipes[name])
        export(deltavino, tmp_path / name, *TEXT, "--target-size", size)
        assert size * 0.995 < weight_bytes(tmp_path / name) <= size
    by_recipe = divergences(deltavino, *recipes.values())
    by_target = divergences(deltavino, *(tmp_path / name for name in RECIPES))
    for name, recipe, target in zip(RECIPES, by_recipe, by_target, strict=True):
        assert target <= recipe * 1.0001, name


def test_a_target_names_the_recipes_that_it_measured(deltavino, tmp_path):
    said = export(deltavino, tmp_path / "out", *TEXT, "--target-bits", "4.4", "--dry-run")
    named = re.search(r"by recipe and bits: (.*)\)", said)[1]
    bits = {part.split()[0]: float(part.split()[3]) for part in named.split(", ")}
    assert sorted(bits) == sorted(RECIPES)  # not npu's, whose storage no target has
    assert bits["smallest"] < bits["fastest"] < bits["balanced"] < bits["best"]


def test_is_told(deltavino, recipes, tmp_path):
    for name, directory in recipes.items():
        own = json.loads((directory / "openvino_config.json").read_text())["deltavino"]
        assert own["recipe_name"] == name and own["recipe"][0].startswith(f"recipe {name}: ")
        assert json.loads(directory.with_suffix(".json").read_text())["recipe"] == own["recipe"]
    said = export(deltavino, tmp_path / "out", *TEXT, "--target-bits", "4.4")
    own = json.loads((tmp_path / "out" / "openvino_config.json").read_text())["deltavino"]
    assert own["recipe_name"] is None and own["target_bits"] == 4.4
    found = re.search(r"target of 4.4 bits: (\d\.\d+) bits for each of 2760704 weights", said)
    assert found and 4.38 < float(found[1]) <= 4.4
    assert own["recipe"][0] in said


def test_bits_are_those_of_the_weights(deltavino, tmp_path):
    export(deltavino, tmp_path / "out", *TEXT, "--target-bits", "4.5", "--report", tmp_path / "report.json")
    rows = [row for row in json.loads((tmp_path / "report.json").read_text())["tensors"] if row["reason"] == "--target-bits"]
    elements = sum(row["shape"][0] * row["shape"][1] for row in rows)
    assert len(rows) == 51
    assert 4.48 < 8 * sum(row["bytes_written"] for row in rows) / elements <= 4.5


def test_same_choice_every_time_and_in_a_dry_run(deltavino, tmp_path):
    options = ("--weight-format", "int4", "--target-size", "3.2MB")
    first = export(deltavino, tmp_path / "first", *options)
    export(deltavino, tmp_path / "second", *options, "--threads", "1")
    for file in (tmp_path / "first").glob("openvino_*"):
        assert file.read_bytes() == (tmp_path / "second" / file.name).read_bytes(), file.name
    assert weight_bytes(tmp_path / "first") <= 3_200_000
    dry = export(deltavino, tmp_path / "dry", *options, "--dry-run")
    line = next(line for line in first.splitlines() if "target of 3.2 MB" in line)
    assert line in dry and not (tmp_path / "dry").exists()


@pytest.mark.parametrize("size", ["1MB", "1GB"])
def test_a_size_that_cannot_be(deltavino, tmp_path, size):
    result = deltavino("export", "-m", KJV, tmp_path / "out", *TEXT, "--target-size", size)
    assert result.returncode == USAGE and not (tmp_path / "out").exists()
    least, most = map(int, re.findall(r"\((\d+) bytes\)", result.stderr))
    assert 1_400_000 < least < most < 3_000_000
    for possible in (least, most):
        export(deltavino, tmp_path / str(possible), *TEXT, "--target-size", possible)
        assert weight_bytes(tmp_path / str(possible)) <= possible
    refused = deltavino("export", "-m", KJV, tmp_path / "out", *TEXT, "--target-size", least - 1)
    assert refused.returncode == USAGE


def test_keep_and_sym_go_with_a_target(deltavino, tmp_path):
    options = ("--target-bits", "4.6", "--sym", "--keep", "*.o_proj.*=fp16", "--report", tmp_path / "report.json")
    export(deltavino, tmp_path / "out", *TEXT, *options)
    rows = json.loads((tmp_path / "report.json").read_text())["tensors"]
    assert {row["stored_as"] for row in rows if ".o_proj." in row["name"]} == {"f16"}
    assert all(row["stored_as"].startswith("i") for row in rows if row["reason"] == "--target-bits")


@pytest.fixture(scope="module", params=[("--recipe", name) for name in RECIPES] + [("--target-size", "3.1MB")], ids=" ".join)
def vlm(request, deltavino, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("vlm") / "out"
    export(deltavino, target, "--weight-format", "int4", *request.param)
    return target


def test_pictures_and_backends(vlm):
    """Both backends of GenAI say the same, and name what is in the pictures."""
    answers = {}
    for pipeline in ("VLM-PA", "VLM-SDPA"):
        result = run_pipeline(vlm, pipeline)
        assert result.returncode == 0, result.stderr
        answers[pipeline] = json.loads(result.stdout.splitlines()[-1])
    assert answers["VLM-PA"] == answers["VLM-SDPA"]
    assert_pictures_are_named(answers["VLM-PA"])


def test_check_tells_the_head_from_the_table(deltavino, vlm):
    """The tied table is in two files, and only the head may have 4 bit."""
    result = deltavino("check", vlm, "--against", KJV, "--tokens", "32")
    assert result.returncode == 0, result.stdout + result.stderr
