"""The schedules of tests/gpu show a fault: a batch with padding on the left, in a graph of optimum-intel.

Its export takes positions from the length of the prompt, so that padding moves them. It is the graph and not a plugin:
the CPU gives the same. Ours gives each row what it gets alone.
"""

import shutil
import sys

import openvino as ov
import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from safetensors.numpy import load_file
from test_optimum_directory import export_with_optimum

sys.path.insert(0, str(ROOT / "tests" / "gpu"))
import schedules  # noqa: E402

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def largest_errors(directory) -> dict[str, float]:
    compiled = ov.Core().compile_model(directory / "openvino_model.xml", "CPU", FLOAT32)
    found = schedules.run_stateful(compiled, load_file(GOLDEN / "dense-v2" / "expected.safetensors"))
    return {name: schedules.figures(*pair)["largest"] for name, pair in found.items()}


def test_ours_is_right_by_every_schedule(tmp_path):
    result = run_deltavino("export", "--model", GOLDEN / "dense-v2", tmp_path / "out", "--weight-format", "fp32", "--disable-convert-tokenizer")
    assert result.returncode == 0, result.stderr
    errors = largest_errors(tmp_path / "out")
    assert set(errors) == {"prefill", "decode", "chunks", "padding", "beams"}
    assert max(errors.values()) < 1e-4, errors


@pytest.fixture
def checkpoint(tmp_path):
    """With the tokenizer of the bundled model, which optimum-intel wants."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN / "dense-v2", folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(KJV / name, folder)
    return folder


def test_padding_of_optimum_shows(checkpoint, tmp_path):
    errors = largest_errors(export_with_optimum(checkpoint, tmp_path / "theirs", "text-generation-with-past"))
    # bf16 weights, as the checkpoint has them
    assert errors.pop("padding") > 0.1, errors
    assert errors.pop("prefill") < 0.05, errors
