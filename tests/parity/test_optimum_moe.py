"""optimum-intel loads exported mixtures of experts and generates the tokens of transformers."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from conftest import GOLDEN, run_deltavino
from optimum.intel import OVModelForCausalLM
from safetensors.torch import load_file

FLOAT32 = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}
CASES = ["moe-e8k2", "moe-e16k4", "moe-split", "next-e8k2", "next-r2"]
NEW_TOKENS = 12


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    """The exported model in optimum-intel, the checkpoint in transformers, and two prompts."""
    checkpoint = GOLDEN / request.param
    out = tmp_path_factory.mktemp(request.param) / "model"
    result = run_deltavino("export", "--model", checkpoint, out, "--task", "text-generation-with-past", "--disable-convert-tokenizer")
    assert result.returncode == 0, result.stderr
    ours = OVModelForCausalLM.from_pretrained(out, ov_config=FLOAT32)
    architecture = getattr(transformers, json.loads((checkpoint / "config.json").read_text())["architectures"][0])
    theirs = architecture.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    return out, ours, theirs, load_file(checkpoint / "expected.safetensors")["input_ids"]


def greedy(model, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return model.generate(ids, attention_mask=mask, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0)


@pytest.mark.parametrize("length", [1, 7, 20])
def test_greedy_tokens(pair, length):
    _, ours, theirs, rows = pair
    ids = rows[:, :length]
    assert greedy(ours, ids, torch.ones_like(ids)).tolist() == greedy(theirs, ids, torch.ones_like(ids)).tolist()


def test_left_padded_batch(pair):
    """Against the same rows alone."""
    _, ours, theirs, rows = pair
    ids, mask = rows[:, :16].clone(), torch.ones((2, 16), dtype=torch.long)
    ids[1, :5], mask[1, :5] = 0, 0
    expected = [greedy(theirs, rows[:1, :16], mask[:1])[0, 16:], greedy(theirs, rows[1:, 5:16], mask[1:, 5:])[0, 11:]]
    assert greedy(ours, ids, mask)[:, 16:].tolist() == [tokens.tolist() for tokens in expected]


def test_config_names_the_text_class(pair):
    out, _, _, _ = pair
    assert isinstance(out, Path)
    config = transformers.AutoConfig.from_pretrained(out)
    assert config.model_type in {"qwen3_5_moe_text", "qwen3_next"}
    assert config.num_experts_per_tok >= 2
