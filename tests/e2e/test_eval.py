"""`deltavino eval` measures what compression costs, and the default search costs less than nncf's scales."""

import json

import pytest
from conftest import KJV


@pytest.fixture(scope="module")
def compressed(deltavino, tmp_path_factory):
    made = {}
    for search in ("nncf", "least-error"):
        out = tmp_path_factory.mktemp("compressed") / search
        options = ("--task", "text-generation-with-past", "--weight-format", "int4", "--group-size", "64", "--scale-search", search)
        assert deltavino("export", "-m", KJV, out, *options).returncode == 0
        made[search] = out
    return made


def test_table(deltavino, kjv_text, compressed):
    result = deltavino("eval", "--text", KJV / "held_out.txt", "--windows", "8", "--json", kjv_text, compressed["nncf"], compressed["least-error"])
    assert result.returncode == 0, result.stderr
    float_model, nncf, ours = json.loads(result.stdout)["models"]
    assert float_model["kl_divergence"] == 0 and float_model["top1_agreement"] == 1
    assert 10 < float_model["perplexity"] < 20
    assert ours["weight_bytes"] == nncf["weight_bytes"] < 0.4 * float_model["weight_bytes"]
    assert 0 < ours["kl_divergence"] < nncf["kl_divergence"] < 0.05


def test_text_that_is_too_short(deltavino, kjv_text, tmp_path):
    (tmp_path / "short.txt").write_text("And")
    result = deltavino("eval", "--text", tmp_path / "short.txt", kjv_text)
    assert result.returncode == 3 and "one window needs 256" in result.stderr
