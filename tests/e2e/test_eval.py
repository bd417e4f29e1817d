"""`deltavino eval` measures what compression costs, and the default search costs less than nncf's scales."""

import json

import pytest
from conftest import GOLDEN, KJV


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


def scores(result) -> list[dict]:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["models"]


def test_the_reference_needs_no_float_export(deltavino, kjv_text, kjv_vlm, compressed, tmp_path):
    """The reference on the checkpoint is the truth that a float32 export is, within rounding."""
    options = ("--text", KJV / "held_out.txt", "--windows", "3", "--json")
    judged = [compressed["nncf"], compressed["least-error"]]
    by_export = scores(deltavino("eval", *options, kjv_text, *judged))
    by_reference = scores(deltavino("eval", *options, "--against", KJV, kjv_text, *judged, kjv_vlm))
    assert [row["model"] for row in by_reference] == [str(path) for path in (KJV, kjv_text, *judged, kjv_vlm)]
    truth, float_model, *others, vision = by_reference
    assert truth["kl_divergence"] == 0 and truth["top1_agreement"] == 1
    assert truth["weight_bytes"] == pytest.approx(float_model["weight_bytes"], rel=0.01)
    for row in (float_model, vision):
        assert row["kl_divergence"] < 1e-9 and row["top1_agreement"] == 1
        assert row["perplexity"] == pytest.approx(truth["perplexity"], rel=1e-6)
    for ours, theirs in zip(others, by_export[1:], strict=True):
        assert ours["kl_divergence"] == pytest.approx(theirs["kl_divergence"], rel=1e-4)
        assert ours["perplexity"] == pytest.approx(theirs["perplexity"], rel=1e-6)
        assert ours["top1_agreement"] == pytest.approx(theirs["top1_agreement"], abs=0.003)


def test_a_checkpoint_of_another_vocabulary(deltavino, kjv_text):
    case = GOLDEN / "dense-v1"
    result = deltavino("eval", kjv_text, "--against", case, "--text", KJV / "held_out.txt", "--windows", "1")
    assert result.returncode == 3 and result.stderr.count("\n") == 1
