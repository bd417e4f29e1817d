"""Checkpoints that are wide enough for groups of 4 bit in every product.

The golden ones are as small as float64 references want them: their experts have 16 or 24 columns, so "int4" falls
back to 8 bit there and no 4-bit expert would ever be compiled. These have random weights by a fixed seed, and are
made when the tests run.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def layer_shapes(config: dict, kind: str) -> dict[str, tuple[int, ...]]:
    """The tensors of one layer, by the ends of their names."""
    hidden = config["hidden_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    if kind == "linear_attention":
        heads = config["linear_num_value_heads"]
        keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
        values = heads * config["linear_value_head_dim"]
        shapes |= {
            "linear_attn.A_log": (heads,),
            "linear_attn.dt_bias": (heads,),
            "linear_attn.conv1d.weight": (2 * keys + values, 1, config["linear_conv_kernel_dim"]),
            "linear_attn.in_proj_a.weight": (heads, hidden),
            "linear_attn.in_proj_b.weight": (heads, hidden),
            "linear_attn.in_proj_qkv.weight": (2 * keys + values, hidden),
            "linear_attn.in_proj_z.weight": (values, hidden),
            "linear_attn.norm.weight": (config["linear_value_head_dim"],),
            "linear_attn.out_proj.weight": (hidden, values),
        }
    else:
        width, queries = config["head_dim"], config["num_attention_heads"] * config["head_dim"]
        shared = config["num_key_value_heads"] * width
        shapes |= {
            "self_attn.k_norm.weight": (width,),
            "self_attn.k_proj.weight": (shared, hidden),
            "self_attn.o_proj.weight": (hidden, queries),
            "self_attn.q_norm.weight": (width,),
            "self_attn.q_proj.weight": (2 * queries, hidden),
            "self_attn.v_proj.weight": (shared, hidden),
        }
    if "num_experts" not in config:
        wide = config["intermediate_size"]
        return shapes | {"mlp.gate_proj.weight": (wide, hidden), "mlp.up_proj.weight": (wide, hidden),
                         "mlp.down_proj.weight": (hidden, wide)}  # fmt: skip
    experts, width = config["num_experts"], config["moe_intermediate_size"]
    shared = config["shared_expert_intermediate_size"]
    return shapes | {
        "mlp.gate.weight": (experts, hidden),
        "mlp.experts.gate_up_proj": (experts, 2 * width, hidden),
        "mlp.experts.down_proj": (experts, hidden, width),
        "mlp.shared_expert.gate_proj.weight": (shared, hidden),
        "mlp.shared_expert.up_proj.weight": (shared, hidden),
        "mlp.shared_expert.down_proj.weight": (hidden, shared),
        "mlp.shared_expert_gate.weight": (1, hidden),
    }


def random_values(name: str, shape: tuple[int, ...], stream: np.random.Generator) -> np.ndarray:
    """On the scale that a trained checkpoint has for a tensor of this name."""
    if name.endswith("A_log"):
        values = np.log(stream.uniform(1, 16, shape))
    elif name.endswith("dt_bias"):
        values = stream.uniform(-4, 1, shape)
    elif "norm" in name:
        values = (1.0 if "linear_attn.norm" in name else 0.0) + 0.1 * stream.standard_normal(shape)
    else:
        values = stream.standard_normal(shape) * (1.0 if "embed_tokens" in name else shape[-1] ** -0.5)
    return values.astype(np.float16)


def make_checkpoint(folder: Path, like: str, **sizes: int) -> Path:
    """A checkpoint with the config of a golden case and these sizes in its place."""
    config = json.loads((GOLDEN / like / "config.json").read_text())
    rope = config["rope_parameters"]
    rope["mrope_section"] = [n * sizes.get("head_dim", config["head_dim"]) // config["head_dim"]
                             for n in rope["mrope_section"]]  # fmt: skip
    config |= sizes
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    config["layer_types"] = [
        "full_attention" if (i + 1) % config["full_attention_interval"] == 0 else "linear_attention"
        for i in range(layers)
    ]
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (config["vocab_size"], hidden)
    for i, kind in enumerate(config["layer_types"]):
        shapes |= {f"model.layers.{i}.{name}": shape for name, shape in layer_shapes(config, kind).items()}
    stream = np.random.default_rng(2024)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {name: random_values(name, shape, stream) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


SIZES = {
    # 4 layers, 1 of them full; 8 experts of 2 groups of 64 each way
    "wide-moe": ("moe-e8k2", {"hidden_size": 128, "moe_intermediate_size": 128, "head_dim": 64,
                              "shared_expert_intermediate_size": 128}),
    # the group size of 4 bit, 64, equals the width of an expert
    "narrow-moe": ("moe-e8k2", {"hidden_size": 128, "moe_intermediate_size": 64, "head_dim": 64,
                                "shared_expert_intermediate_size": 64}),
    # half of such a group would be too small: stored per channel
    "slim-moe": ("moe-e8k2", {"hidden_size": 64, "moe_intermediate_size": 32, "head_dim": 64,
                              "shared_expert_intermediate_size": 64}),
    "wide-dense": ("dense-v2", {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4,
                                "vocab_size": 512}),
}  # fmt: skip


def make(name: str, folder: Path) -> Path:
    like, sizes = SIZES[name]
    return make_checkpoint(folder / name, like, **sizes)
