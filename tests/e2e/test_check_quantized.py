"""`check` reads checkpoints that are quantized already, one of each kind, and finds one wrong scale in their exports."""

import re
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from check_support import break_export, by_name, check, divergence, export, rewrite_constant
from conftest import KJV, ROOT

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import make_variants  # noqa: E402

WEIGHT = "model.language_model.layers.1.mlp.up_proj.weight"


def make(name: str, out: Path) -> Path:
    row = make_variants.VARIANTS[name]
    make_variants.make(KJV, row.change, out, row.files)
    return out


def one_wrong_scale(model: ov.Model) -> None:
    """Of one row and one group, or of one row of a weight that was widened."""
    names = {op.get_friendly_name() for op in model.get_ops() if op.get_type_name() == "Constant"}
    scaled = next(name for name in (WEIGHT + "/scale", WEIGHT, WEIGHT + "/stored") if name in names)

    def change(values: np.ndarray) -> np.ndarray:
        part = (7, 0) if scaled.endswith("/scale") else 7
        values[part] *= np.array(3, values.dtype)
        return values

    rewrite_constant(by_name(model, scaled), change)


@pytest.mark.parametrize(
    "name",
    ["fp8-partial-blocks", "fp8-modelopt", "gptq-asym", "gptq-head", "awq", "auto-round-layers", "compressed-asym", "compressed-bytes"],
)
def test_right_and_with_one_wrong_scale(name, tmp_path):
    checkpoint = make(name, tmp_path / "checkpoint")
    out = export(checkpoint, tmp_path / "out", *(["--weight-format", "fp16"] if name.startswith("fp8") else []))
    report = check(out, checkpoint)
    assert report["good"], report["verdict"]
    # Codes are kept, and 8-bit floats fit float16 but for the rounding of their scales.
    assert divergence(report, "compression")["mean_kl"] < 2e-5
    assert divergence(report, "graph")["largest_difference"] < 1e-4
    report = check(break_export(out, tmp_path / "broken", one_wrong_scale), checkpoint)
    assert not report["good"]
    assert re.search(r"the weights are wrong: 'model\.layers\.1\.mlp\.up_proj\.weight' .* row 7", report["verdict"]), report["verdict"]
