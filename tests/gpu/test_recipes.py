"""The named recipes on GPUs: whatever a weight is stored as, it stays that in the compiled model."""

from __future__ import annotations

import pytest

import bench
import matrix

RECIPES = ("balanced", "smallest", "fastest", "best")
FAMILIES = ("xe-lp", "lunar-lake", "battlemage")


@pytest.fixture(scope="module")
def answers(models) -> dict[tuple[str, str, str], tuple[dict, int]]:
    """What the plugin made of each recipe and model for each family, and the bytes of the file."""
    directories = {}
    for model in ("wide-dense", "wide-moe"):
        source = matrix.source_of(model, models / "recipes")
        for recipe in RECIPES:
            options = ("--task", "text-generation-with-past", "--weight-format", "int4", "--recipe", recipe)
            directories[model, recipe] = bench.export(bench.Source(source, options), models / f"{model}-{recipe}")
    jobs = [{"job": "compile", "xml": str(directory / "openvino_model.xml"), "paged": False,
             "config": {"INFERENCE_PRECISION_HINT": "f16"}} for directory in directories.values()]  # fmt: skip
    found = bench.run_families({family: jobs for family in FAMILIES})
    return {(family, *key): (answer, (directory / "openvino_model.bin").stat().st_size)
            for family in FAMILIES for (key, directory), answer in zip(directories.items(), found[family], strict=True)}  # fmt: skip


@pytest.mark.skipif(bench.REAL, reason="the families have different rules")
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("model", ["wide-dense", "wide-moe"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_stays_compressed(family, model, recipe, answers):
    answer, stored = answers[family, model, recipe]
    assert "error" not in answer, answer["error"][-1500:]
    experts = model == "wide-moe"
    fused = answer["layers"].get("moe_3gemm_fused_compressed", 0)
    assert fused == (4 if experts and matrix.has_matrix_engine(family) else 0)
    if experts and not fused:
        assert answer["bytes"] > stored + matrix.BUFFERS  # as with every format: experts that are not fused are widened
    else:
        assert answer["bytes"] < stored + matrix.BUFFERS, (answer["bytes"], stored)
