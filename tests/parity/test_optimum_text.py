"""optimum-intel loads the exported directory and generates the tokens of transformers."""

import json

import pytest
import torch
from optimum.intel import OVModelForCausalLM

FLOAT32 = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}


@pytest.fixture(scope="module")
def model(kjv_text):
    return OVModelForCausalLM.from_pretrained(kjv_text, ov_config=FLOAT32)


@pytest.mark.parametrize("index", [0, 1, 2], ids=["1-token", "40-tokens", "500-tokens"])
def test_greedy_tokens(model, greedy, index):
    entry = greedy["single"][index]
    ids = torch.tensor([entry["prompt_ids"]])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=greedy["new_tokens"], min_new_tokens=greedy["new_tokens"], do_sample=False, eos_token_id=None)
    assert out[0, ids.shape[1] :].tolist() == entry["continuation_ids"]


def test_left_padded_batch(model, greedy):
    entries = greedy["batch"]
    width = max(len(entry["prompt_ids"]) for entry in entries)
    ids = torch.tensor([[0] * (width - len(e["prompt_ids"])) + e["prompt_ids"] for e in entries])
    mask = torch.tensor([[0] * (width - len(e["prompt_ids"])) + [1] * len(e["prompt_ids"]) for e in entries])
    out = model.generate(ids, attention_mask=mask, max_new_tokens=greedy["new_tokens"], min_new_tokens=greedy["new_tokens"], do_sample=False, eos_token_id=None)
    assert out[:, width:].tolist() == [e["continuation_ids"] for e in entries]


def test_config_needs_no_edit(kjv_text):
    config = json.loads((kjv_text / "config.json").read_text())
    assert config["model_type"] == "qwen3_5_text"
    assert "text_config" not in config
