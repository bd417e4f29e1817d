"""openvino_genai on mixtures of experts: both backends by name, the first token that transformers says."""

import json
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from conftest import GOLDEN, KJV, run_deltavino
from safetensors.numpy import load_file

FLOAT32 = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}
CASES = ["moe-e8k2", "moe-e16k4", "next-r2"]
NEW_TOKENS = 20
# Prompts are prefixes of the golden rows, among them one token and an odd number.
LENGTHS = [1, 2, 5, 11, 20, 37]


def export(case: str, tmp_path_factory, *options: str) -> Path:
    """A golden checkpoint beside the tokenizer models of the bundled one, without which GenAI does not start.

    The vocabularies differ, so that no export makes this: only ids go in and come out.
    """
    base = tmp_path_factory.mktemp(case)
    text = ("--task", "text-generation-with-past")
    for arguments in (["--model", GOLDEN / case, base / "model", "--disable-convert-tokenizer", *text, *options], ["--model", KJV, base / "kjv", *text]):
        result = run_deltavino("export", *arguments)
        assert result.returncode == 0, result.stderr
    for file in (base / "kjv").glob("openvino_*tokenizer.*"):
        shutil.copy(file, base / "model")
    return base / "model"


def generate(model: Path, backend: str, prompts: list[list[int]]) -> list[list[int]]:
    pipeline = genai.LLMPipeline(str(model), "CPU", ATTENTION_BACKEND=backend, **FLOAT32)
    config = genai.GenerationConfig()
    config.max_new_tokens = NEW_TOKENS
    config.ignore_eos = True
    config.do_sample = False
    answers = []
    for prompt in prompts:
        inputs = genai.TokenizedInputs(ov.Tensor(np.array([prompt], np.int64)), ov.Tensor(np.ones((1, len(prompt)), np.int64)))
        answers += pipeline.generate(inputs, config).tokens
    return answers


def tensor_sizes(file: Path) -> dict[str, int]:
    """Elements of each tensor of a safetensors file, from its header."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return {name: int(np.prod(tensor["shape"])) for name, tensor in header.items() if name != "__metadata__"}


def prefixes(case: str) -> tuple[list[list[int]], list[int]]:
    """Prompts, and the most likely token after each; only where its lead is no matter of rounding."""
    golden = load_file(GOLDEN / case / "expected.safetensors")
    prompts, best = [], []
    for row, logits in zip(golden["input_ids"], golden["logits"], strict=True):
        for length in LENGTHS:
            second, first = np.sort(logits[length - 1])[-2:]
            if first - second > 1e-2 * np.abs(logits).max():
                prompts.append(row[:length].tolist())
                best.append(int(logits[length - 1].argmax()))
    assert len(prompts) >= len(LENGTHS)
    return prompts, best


@pytest.fixture(scope="module", params=CASES)
def answers(request, tmp_path_factory) -> dict:
    model = export(request.param, tmp_path_factory)
    prompts, best = prefixes(request.param)
    return {"best": best, **{backend: generate(model, backend, prompts) for backend in ["PA", "SDPA"]}}


@pytest.mark.parametrize("backend", ["PA", "SDPA"])
def test_first_token_is_that_of_transformers(answers, backend):
    assert [tokens[0] for tokens in answers[backend]] == answers["best"]


def test_backends_agree(answers):
    assert all(len(tokens) == NEW_TOKENS for tokens in answers["PA"])
    assert answers["PA"] == answers["SDPA"]


@pytest.mark.parametrize("options", [("--weight-format", "int4", "--group-size", "16"), ("--weight-format", "int8")], ids=["int4", "int8"])
def test_backends_agree_with_compressed_experts(tmp_path_factory, options):
    model = export("moe-e16k4", tmp_path_factory, *options)
    prompts, _ = prefixes("moe-e16k4")
    assert generate(model, "PA", prompts) == generate(model, "SDPA", prompts)


def test_inspect_counts_active_parameters(deltavino, tmp_path_factory):
    """Against the sizes of the tensors: top 4 of 16 experts, one row of the embedding."""
    tensors = tensor_sizes(GOLDEN / "moe-e16k4" / "model.safetensors")
    facts = json.loads(deltavino("inspect", GOLDEN / "moe-e16k4", "--json").stdout)["weights"]
    assert facts["parameters"] == sum(tensors.values())
    experts = sum(size for name, size in tensors.items() if ".experts." in name)
    vocabulary = json.loads((GOLDEN / "moe-e16k4" / "config.json").read_text())["vocab_size"]
    embedding = tensors["model.embed_tokens.weight"]
    assert facts["active_parameters"] == sum(tensors.values()) - experts * 3 // 4 - embedding + embedding // vocabulary
    assert facts["bytes_per_token"] == 2 * facts["active_parameters"]


@pytest.mark.parametrize(
    ("case", "options", "expected"),
    [
        ("moe-e8k2", ["--weight-format", "fp16"], ["on GPUs every expert runs for every token, because they are stored as f16"]),
        ("moe-e8k2", ["--weight-format", "int8"], ["on GPUs without a matrix engine"]),
        ("moe-e8k2", ["--weight-format", "nf4"], ["on GPUs without a matrix engine", "on GPUs nf4 weights are widened to f16"]),
        ("dense-v2", ["--weight-format", "mxfp4"], ["on GPUs mxfp4 weights are widened to f16"]),
        ("dense-v2", ["--weight-format", "int4"], []),
        ("dense-v2", [], []),
    ],
)
def test_what_gpus_make_of_the_weights_is_said(case, options, expected, tmp_path):
    """The facts are those of tests/gpu/test_compile.py."""
    result = run_deltavino("export", "--model", GOLDEN / case, tmp_path / "out", "--disable-convert-tokenizer", *options)
    assert result.returncode == 0, result.stderr
    notes = [line.removeprefix("note: ") for line in result.stderr.splitlines() if line.startswith("note: on GPUs")]
    assert [note[: len(start)] for note, start in zip(notes, expected, strict=True)] == expected
