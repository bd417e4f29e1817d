"""Logits and tokens of the GPU plugin's own OpenCL kernels, against transformers."""

from __future__ import annotations

import json

import pytest

import bench
import cut
import matrix

GREEDY = json.loads((bench.GOLDEN / "kjv-tiny" / "greedy.json").read_text())
HALF = json.loads((bench.HERE / "half_precision.json").read_text())
VISION = json.loads((bench.GOLDEN / "kjv-tiny" / "vision.json").read_text())
# Each is compiled with real kernels, which takes a minute the first time: one dense model and one of experts.
MODELS = ("dense-v2", "moe-e8k2")
SCHEDULES = {False: {"prefill", "decode", "chunks", "padding", "beams"},
             True: {"paged prefill", "paged decode", "paged chunks"}}  # fmt: skip


def logits(model: str, format_: str, hint: str, paged: bool, models, **more: str) -> dict:
    source = bench.Source(bench.GOLDEN / model, ("--weight-format", format_))
    directory = bench.export(source, models / f"{model}-{format_}-numbers")
    config = {"INFERENCE_PRECISION_HINT": hint, "KV_CACHE_PRECISION": hint}
    job = {"job": "logits", "xml": str(directory / "openvino_model.xml"), "paged": paged, "config": config,
           "expected": str(bench.GOLDEN / model / "expected.safetensors"), **more}  # fmt: skip
    answer = bench.run_jobs([job])[0]
    assert "error" not in answer, answer["error"]
    return {name: figures for name, figures in answer.items() if name != "seconds"}


@pytest.mark.parametrize("paged", [False, True], ids=["stateful", "paged"])
@pytest.mark.parametrize("model", MODELS)
def test_float32_is_that_of_transformers(model, paged, models):
    found = logits(model, "fp32", "f32", paged, models)
    assert set(found) == SCHEDULES[paged]
    for name, figures in found.items():
        assert figures["largest"] < 1e-4, (name, figures)
        assert figures["same"] == 1.0, (name, figures)


@pytest.mark.parametrize("model", MODELS)
def test_8_bit_kernels_are_as_exact_as_those_of_the_cpu(model, models):
    """The same file on both plugins: what 8 bit costs is not the question."""
    for name, figures in logits(model, "int8", "f32", False, models, like="CPU").items():
        assert figures["largest"] < 1e-4, (name, figures)


@pytest.mark.parametrize("format_", ["int4", "int4-sym"])
def test_4_bit_kernels_are_as_exact_as_those_of_the_cpu(format_, models, tmp_path):
    """One product, read in one call of many tokens and of one: the plugin has a kernel for each."""
    directory = matrix.exported(matrix.Row("xe-lp", "wide-dense", format_, "stateful"), models)
    for rows in (40, 1):
        folder = tmp_path / str(rows)
        folder.mkdir()
        xml, inputs = cut.product(directory, "model.layers.0.mlp.down_proj", folder, rows)
        job = {"job": "outputs", "xml": str(xml), "inputs": str(inputs), "config": {"INFERENCE_PRECISION_HINT": "f32"}}
        answer = bench.run_jobs([job])[0]
        assert "error" not in answer, answer["error"]
        assert answer["largest"] < 1e-5, answer


@bench.needs_half
@pytest.mark.parametrize("model", MODELS)
def test_float16_is_as_noisy_as_float16_is(model, models):
    """The bounds are those of transformers with everything in f16, on the same weights (half_precision.py).

    The mean error is a property of the arithmetic. The largest one of a few thousand logits, and in a model of experts
    a choice of experts that flips, are chance: three times as much, and not asked of experts.
    """
    bounds = HALF[model]["rule in f16"]
    for name, figures in logits(model, "fp16", "f16", False, models).items():
        assert figures["mean"] < 1.5 * bounds["mean"], (name, figures, bounds)
        if model.startswith("dense"):
            assert figures["largest"] < 3 * bounds["largest"], (name, figures, bounds)


@bench.needs_half
@pytest.mark.parametrize("backend", ["SDPA", "PA"])
def test_genai_gives_the_golden_tokens(backend, models):
    directory = bench.export(
        bench.Source(bench.KJV, ("--weight-format", "fp16", "--task", "text-generation-with-past")), models / "kjv-fp16"
    )
    job = {"job": "tokens", "model": str(directory), "count": GREEDY["new_tokens"],
           "prompts": [entry["prompt_ids"] for entry in GREEDY["single"]],
           "config": {"ATTENTION_BACKEND": backend}}  # fmt: skip
    answer = bench.run_jobs([job])[0]
    assert answer.get("tokens") == [entry["continuation_ids"] for entry in GREEDY["single"]], answer


@bench.needs_half
def test_genai_answers_about_pictures_as_transformers_does(models):
    """The chats of one turn with one picture."""
    chats = [chat for chat in VISION["chats"] if len(chat["pictures"]) == 1 and len(chat["messages"]) == 1]
    assert len(chats) == 3
    asked = [["".join(part.get("text", "") for part in chat["messages"][0]["content"]),
              str(bench.KJV / chat["pictures"][0])] for chat in chats]  # fmt: skip
    directory = bench.export(bench.Source(bench.KJV, ("--weight-format", "fp16")), models / "kjv-vision-fp16")
    job = {"job": "answers", "model": str(directory), "chats": asked, "config": {"ATTENTION_BACKEND": "SDPA"}}
    answer = bench.run_jobs([job])[0]
    assert answer.get("texts") == [chat["answer_text"].removesuffix("<|im_end|>") for chat in chats], answer
