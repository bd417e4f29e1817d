"""The bounds of the GPU plugin in f16 are what transformers computes in f16."""

import json
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "gpu"))
import half_precision  # noqa: E402

RECORDED = json.loads((ROOT / "tests" / "gpu" / "half_precision.json").read_text())


@pytest.mark.parametrize("model", ["dense-v2", "moe-e8k2"])
def test_the_bounds_are_those_of_transformers(model):
    found = half_precision.measure((model,))[model]
    assert found.keys() == RECORDED[model].keys()
    for what, figures in found.items():
        # How f16 rounds depends on the order of sums, which depends on the host.
        assert figures["mean"] == pytest.approx(RECORDED[model][what]["mean"], rel=0.3), what
