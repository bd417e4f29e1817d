"""optimum-intel's multi-token-prediction module gives the recorded numbers, so their order of layers is the published one."""

import json

import torch
from conftest import GOLDEN
from optimum.exporters.openvino.model_patcher import Qwen3_5MTPModule
from safetensors.torch import load_file
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5TextConfig


def test_module_gives_the_golden_hidden_states():
    folder = GOLDEN / "mtp" / "dense"
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    expected = load_file(folder / "expected.safetensors")
    config = Qwen3_5TextConfig.from_dict(json.loads((folder / "config.json").read_text()))
    config._attn_implementation = "eager"
    module = Qwen3_5MTPModule(config).eval()
    module.layers[0].self_attn.config._attn_implementation = "eager"
    module.load_state_dict({name.removeprefix("mtp."): tensor for name, tensor in tensors.items() if name.startswith("mtp.")})
    embedded = tensors["model.embed_tokens.weight"][expected["input_ids"]][None]
    count = embedded.shape[1]
    with torch.no_grad():
        output = module(
            hidden_states=expected["hidden_states"][None],
            inputs_embeds=embedded,
            attention_mask=torch.ones(1, count, dtype=torch.long),
            position_ids=torch.arange(count)[None],
        )
    made = output["last_hidden_state"][0]
    assert (made - expected["output_hidden"]).abs().max() < 1e-5 * expected["output_hidden"].abs().max()
