"""`check` and `eval` on a directory that optimum-intel wrote: right weights and graph, wrong in two forms."""

import json
import sys

import pytest
from conftest import KJV, ROOT, run_deltavino
from test_optimum_directory import export_with_optimum

sys.path.insert(0, str(ROOT / "bench"))
from quality import text_only_checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimum")
    checkpoint = folder / "checkpoint"
    text_only_checkpoint(checkpoint)
    return checkpoint, export_with_optimum(checkpoint, folder / "model", "text-generation-with-past")


def test_the_forms_are_wrong_and_where(made):
    """Padding reaches the first linear layer; the paged form is right up to the first full attention."""
    checkpoint, model = made
    result = run_deltavino("check", model, "--against", checkpoint, "--tokens", "48", "--json")
    assert result.returncode == 1, result.stderr
    report = json.loads(result.stdout)
    wrong = {item["subject"]: item["says"] for item in report["items"] if item["finding"] == "BAD"}
    assert set(wrong) == {"batch padded on the left", "paged form", "paged form in pieces"}
    assert "the first place to go wrong is layer 0, mixer" in wrong["batch padded on the left"]
    assert "the first place to go wrong is layer 3, mixer" in wrong["paged form"]
    assert report["verdict"].startswith("the batch padded on the left is wrong: ")
    assert ". So is the paged form: " in report["verdict"]
    by_name = {row["name"]: row for row in report["divergences"]}
    assert by_name["compression"]["mean_kl"] == 0 and by_name["graph"]["largest_difference"] < 1e-4
    assert max(row["error"] for row in report["layers"]) < 1e-4 and len(report["layers"]) == 16


def test_eval_takes_the_directory(made):
    checkpoint, model = made
    result = run_deltavino("eval", model, "--against", checkpoint, "--text", KJV / "held_out.txt", "--windows", "2", "--json")
    assert result.returncode == 0, result.stderr
    truth, exported = json.loads(result.stdout)["models"]
    assert exported["kl_divergence"] < 1e-9 and exported["top1_agreement"] == 1
    assert exported["perplexity"] == pytest.approx(truth["perplexity"], rel=1e-6)
