"""The bench shows faults: graphs with one fault each, and what the plugin makes of them.

A batch with padding on the left, which optimum-intel's export gets wrong, is in tests/parity/test_optimum_padding.py.
"""

from __future__ import annotations

import pytest

import bench
import broken
import matrix
from matrix import Row

pytestmark = pytest.mark.skipif(bench.REAL, reason="about the layer's families")


def compiled(directory, family: str, hint: str = "f16") -> dict:
    job = {"job": "compile", "xml": str(directory / broken.MODEL), "paged": False,
           "config": {"INFERENCE_PRECISION_HINT": hint}}  # fmt: skip
    return bench.run_jobs([job], family, stubs=True)[0]


def test_a_constant_query_scale_is_a_loop(models, tmp_path):
    directory = matrix.exported(Row("lunar-lake", "wide-dense", "fp16", "stateful"), models)
    answer = compiled(broken.constant_query_scale(directory, tmp_path / "scale"), "lunar-lake")
    assert "GatedDeltaNet" not in answer.get("layers", {}), answer
    assert any("loop" in name.lower() for name in answer.get("layers", {})) or "error" in answer, answer


def test_a_split_in_bfloat16_compiles(models, tmp_path):
    """Reported as a failure of older versions ("No layout format available"); 2026.4 takes it."""
    directory = matrix.exported(Row("lunar-lake", "wide-dense", "fp16", "stateful"), models)
    answer = compiled(broken.bfloat16_split(directory, tmp_path / "split"), "lunar-lake")
    assert "error" not in answer, answer


def test_one_group_in_down_proj_is_refused(models, tmp_path):
    """With a matrix engine. The exporter no longer writes it (tests/unit/recipe_test.cpp)."""
    directory = matrix.exported(Row("lunar-lake", "narrow-moe", "int4", "stateful"), models)
    fault = broken.one_group_in_down_proj(directory, tmp_path / "group")
    assert "num_groups" in compiled(fault, "lunar-lake").get("error", "")
    assert "error" not in compiled(fault, "xe-lp")
