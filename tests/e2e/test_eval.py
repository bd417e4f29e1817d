"""`deltavino eval` measures what compression costs, and the default search costs less than nncf's scales."""

import json
import shutil
from pathlib import Path

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


def test_constant_logits(deltavino, tmp_path):
    """A last norm of zeros: every token is as likely as any other, which is a number, not NaN."""
    checkpoint = Path(shutil.copytree(KJV, tmp_path / "zero"))
    weights = checkpoint / "model.safetensors"
    data = bytearray(weights.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    norm = json.loads(data[8:begin])["model.language_model.norm.weight"]
    assert norm["dtype"] == "BF16"
    first, last = (begin + offset for offset in norm["data_offsets"])
    data[first:last] = b"\x80\xbf" * (norm["shape"][0])  # -1: the weight is added to 1
    weights.write_bytes(data)
    out = tmp_path / "out"
    task = ("--task", "text-generation-with-past", "--weight-format", "fp32")
    assert deltavino("export", "-m", checkpoint, out, *task).returncode == 0
    tokens = json.loads((checkpoint / "config.json").read_text())["text_config"]["vocab_size"]
    for against in ((), ("--against", checkpoint)):
        for model in scores(deltavino("eval", out, *against, "--text", KJV / "held_out.txt", "--windows", "2", "--json")):
            assert model["perplexity"] == pytest.approx(tokens, rel=1e-12)
            assert (model["kl_divergence"], model["top1_agreement"]) == (0, 1)
    result = deltavino("check", out, "--against", checkpoint, "--json")
    report = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} in the report"))
    assert (result.returncode, report["good"]) == (0, True), report
    assert "null" not in result.stdout.lower().replace('"null"', ""), "NaN is written as null"


def test_as_generate_costs_no_more_than_the_plugin(deltavino, kjv_text, compressed):
    """The runner's own operations, seen in the numbers. Both quantize activations, so both are near, not equal."""
    def run(*more):
        return scores(deltavino("eval", compressed["least-error"], "--against", KJV, "--text", KJV / "held_out.txt", "--windows", "8",
                                "--precision", "", "--json", *more))[1]  # fmt: skip
    plugin, runner = run(), run("--as-generate")
    assert runner["kl_divergence"] != plugin["kl_divergence"]
    assert runner["kl_divergence"] == pytest.approx(plugin["kl_divergence"], rel=0.05)
    assert runner["perplexity"] == pytest.approx(plugin["perplexity"], rel=0.01)


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
