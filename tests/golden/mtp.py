"""What the multi-token-prediction layer computes.

transformers leaves the layer out, so it is put together here from transformers' own layer classes, in the published
order: fc over [norm of the embedding, norm of the hidden state], one full-attention layer, a norm; the head is the
model's. tests/parity compares it with optimum-intel's module of the same.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.models.qwen3_5 import modeling_qwen3_5 as dense
from transformers.models.qwen3_5_moe import modeling_qwen3_5_moe as moe

from cases import Case, causal_config, moe_text_config
from reference import empty_model, load_model, origin, random_ids, save_tensors
from weights import Tensors, generator, normal, random_tensor, split_experts, stored_dtype, write_checkpoint


def cases() -> dict[str, Case]:
    """One with a feed-forward part, one with experts of a tensor each; by the names of their folders."""
    return {
        "dense": Case(
            name="mtp/dense",
            why="the layer of a dense model, stored in bf16",
            config=causal_config("Qwen3_5ForCausalLM", mtp_num_hidden_layers=1),
            stored="bfloat16",
            embed_std=1.0,
            seed=401,
        ),
        "moe": Case(
            name="mtp/moe",
            why="the layer of a mixture of experts, one tensor per expert as in Qwen3.5-35B-A3B",
            config={"architectures": ["Qwen3_5MoeForCausalLM"], **moe_text_config(mtp_num_hidden_layers=1)},
            split_experts=True,
            embed_std=1.0,
            seed=402,
        ),
    }


class Layer(torch.nn.Module):
    """The layer, with the names of its published tensors."""

    def __init__(self, case: Case) -> None:
        """Random weights are put in later."""
        super().__init__()
        with_experts = "num_experts" in case.text
        classes, name = (moe, "Qwen3_5Moe") if with_experts else (dense, "Qwen3_5")
        settings = copy.deepcopy(case.text) | {"num_hidden_layers": 1, "layer_types": ["full_attention"]}
        config = getattr(classes, name + "TextConfig").from_dict(settings)
        config._attn_implementation = "eager"
        config._experts_implementation = "eager"
        norm = getattr(classes, name + "RMSNorm")
        size = config.hidden_size
        self.pre_fc_norm_embedding = norm(size, eps=config.rms_norm_eps)
        self.pre_fc_norm_hidden = norm(size, eps=config.rms_norm_eps)
        self.fc = torch.nn.Linear(2 * size, size, bias=False)
        self.layers = torch.nn.ModuleList([getattr(classes, name + "DecoderLayer")(config, 0)])
        self.norm = norm(size, eps=config.rms_norm_eps)
        self.rotary = getattr(classes, name + "TextRotaryEmbedding")(config)

    def forward(self, embedded: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """[T, C] and [T, C] to [T, C], or all three with a leading batch."""
        x = self.fc(torch.cat([self.pre_fc_norm_embedding(embedded), self.pre_fc_norm_hidden(hidden)], -1))
        x = x.view(-1, *x.shape[-2:])
        count = x.shape[1]
        mask = torch.full((count, count), torch.finfo(x.dtype).min, dtype=x.dtype).triu(1)[None, None]
        angles = self.rotary(x, torch.arange(count)[None])
        output = self.layers[0](x, position_embeddings=angles, attention_mask=mask)
        return self.norm(output).view(hidden.shape)


def make(case: Case) -> tuple[Layer, Tensors]:
    """The layer in float32, and the tensors of its checkpoint, the text model's before its own."""
    layer = Layer(case)
    shapes = {name: parameter.shape for name, parameter in empty_model(case).named_parameters()}
    shapes |= {"mtp." + name: parameter.shape for name, parameter in layer.named_parameters()}
    tensors = {name: random_tensor(name, shape, case).to(stored_dtype(name, case)) for name, shape in shapes.items()}
    own = {name.removeprefix("mtp."): tensor.float() for name, tensor in tensors.items() if name.startswith("mtp.")}
    layer.load_state_dict(own)
    return layer.eval(), tensors


def inputs(tensors: Tensors, case: Case) -> Tensors:
    """Random hidden states, the tokens after them, and tokens that the text model reads itself."""
    return {
        "input_ids": random_ids(case, "input_ids", case.tokens),
        "hidden_states": normal((case.tokens, case.text["hidden_size"]), generator(case.seed, "hidden_states")),
        "text_ids": random_ids(case, "text_ids", case.tokens),
        "embedding": tensors["model.embed_tokens.weight"].float(),
        "head": tensors["lm_head.weight"].float(),
    }


@torch.no_grad()
def expected_tensors(layer: Layer, text: torch.nn.Module, given: Tensors) -> Tensors:
    """What the layer makes of random hidden states, and of the text model's own."""
    kind = next(layer.parameters()).dtype
    embedding, head = given["embedding"].to(kind), given["head"].to(kind)
    output = layer(embedding[given["input_ids"]], given["hidden_states"].to(kind))
    ids = given["text_ids"]
    hidden = text.model(input_ids=ids[None], use_cache=False).last_hidden_state[0]
    drafted = layer(embedding[ids[1:]], hidden[:-1])
    kept = {name: given[name] for name in ("input_ids", "hidden_states", "text_ids")}
    return {**kept, "output_hidden": output, "logits": output @ head.T, "draft_logits": drafted @ head.T}


def generate(folder: Path) -> None:
    """Text models with the layer, and what both compute."""
    for name, case in cases().items():
        layer, tensors = make(case)
        write_checkpoint(folder / name, case, split_experts(tensors) if case.split_experts else tensors)
        expected = expected_tensors(layer, text_model(folder, name), inputs(tensors, case))
        save_tensors(folder / name / "expected.safetensors", expected, origin(case.name, case.seed))


def text_model(folder: Path, name: str) -> torch.nn.Module:
    """The text model of a case in float32; transformers leaves out the layer."""
    return load_model(folder / name, cases()[name])


def recorded(folder: Path) -> dict[str, Tensors]:
    """What was written."""
    return {name: load_file(folder / name / "expected.safetensors") for name in cases()}
