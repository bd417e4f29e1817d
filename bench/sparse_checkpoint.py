#!/usr/bin/env python3
"""Write a checkpoint with the tensor names and sizes of a published text model, almost all of it holes.

    sparse_checkpoint.py OUT [--geometry 35b-a3b | 4b | ...] [--layers 40] [--vocabulary 248320] [--experts 256]
                         [--split-experts] [--full]

The files have their full length but take a few hundred megabytes of disk: of each tensor only the first
rows hold numbers, the rest reads as zeros. For measuring memory and time of an export. With --full there
are no holes, for measuring inference. Vocabulary and experts are those of a mixture. Needs numpy only.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import sizes

GEOMETRIES = {
    "narrow": dict(hidden=2048, layers=4, heads=16, kv_heads=2, key_heads=16, value_heads=32, inner=512, experts=64, chosen=8, vocabulary=4096),
    "35b-a3b": dict(hidden=2048, layers=40, heads=16, kv_heads=2, key_heads=16, value_heads=32, inner=512, experts=256, chosen=8, vocabulary=248320),
    "122b-a10b": dict(hidden=3072, layers=48, heads=32, kv_heads=2, key_heads=16, value_heads=64, inner=1024, experts=256, chosen=8, vocabulary=248320),
}
DENSE = {name.lower(): geometry for name, geometry in sizes.DENSE.items()}
HEAD, DELTA_HEAD, KERNEL = 256, 128, 4
ROWS_WITH_NUMBERS = 64
SHARD_BYTES = 5_000_000_000


def config(g: dict, layers: int) -> dict:
    return {
        "architectures": ["Qwen3_5MoeForCausalLM"], "model_type": "qwen3_5_moe_text", "dtype": "bfloat16", "vocab_size": g["vocabulary"],
        "hidden_size": g["hidden"], "num_hidden_layers": layers, "num_attention_heads": g["heads"], "num_key_value_heads": g["kv_heads"], "head_dim": HEAD,
        "linear_num_key_heads": g["key_heads"], "linear_num_value_heads": g["value_heads"], "linear_key_head_dim": DELTA_HEAD,
        "linear_value_head_dim": DELTA_HEAD, "linear_conv_kernel_dim": KERNEL, "full_attention_interval": 4, "num_experts": g["experts"],
        "num_experts_per_tok": g["chosen"], "moe_intermediate_size": g["inner"], "shared_expert_intermediate_size": g["inner"],
        "max_position_embeddings": 262144, "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "hidden_act": "silu", "eos_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_section": [11, 11, 10], "mrope_interleaved": True},
    }


def tensors(g: dict, layers: int, split: bool):
    """Names and shapes, in the order of the files."""
    hidden, inner, experts = g["hidden"], g["inner"], g["experts"]
    yield "model.embed_tokens.weight", [g["vocabulary"], hidden]
    for i in range(layers):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", [hidden]
        yield p + "post_attention_layernorm.weight", [hidden]
        if i % 4 == 3:
            queries, keys = g["heads"] * HEAD, g["kv_heads"] * HEAD
            yield p + "self_attn.q_proj.weight", [2 * queries, hidden]
            yield p + "self_attn.k_proj.weight", [keys, hidden]
            yield p + "self_attn.v_proj.weight", [keys, hidden]
            yield p + "self_attn.o_proj.weight", [hidden, queries]
            yield p + "self_attn.q_norm.weight", [HEAD]
            yield p + "self_attn.k_norm.weight", [HEAD]
        else:
            values = g["value_heads"] * DELTA_HEAD
            channels = 2 * g["key_heads"] * DELTA_HEAD + values
            yield p + "linear_attn.in_proj_qkv.weight", [channels, hidden]
            yield p + "linear_attn.in_proj_z.weight", [values, hidden]
            yield p + "linear_attn.in_proj_a.weight", [g["value_heads"], hidden]
            yield p + "linear_attn.in_proj_b.weight", [g["value_heads"], hidden]
            yield p + "linear_attn.conv1d.weight", [channels, 1, KERNEL]
            yield p + "linear_attn.dt_bias", [g["value_heads"]]
            yield p + "linear_attn.A_log", [g["value_heads"]]
            yield p + "linear_attn.norm.weight", [DELTA_HEAD]
            yield p + "linear_attn.out_proj.weight", [hidden, values]
        yield p + "mlp.gate.weight", [experts, hidden]
        if split:
            for e in range(experts):
                yield p + f"mlp.experts.{e}.gate_proj.weight", [inner, hidden]
                yield p + f"mlp.experts.{e}.up_proj.weight", [inner, hidden]
                yield p + f"mlp.experts.{e}.down_proj.weight", [hidden, inner]
        else:
            yield p + "mlp.experts.gate_up_proj", [experts, 2 * inner, hidden]
            yield p + "mlp.experts.down_proj", [experts, hidden, inner]
        for name, shape in [("gate_proj", [inner, hidden]), ("up_proj", [inner, hidden]), ("down_proj", [hidden, inner])]:
            yield p + f"mlp.shared_expert.{name}.weight", shape
        yield p + "mlp.shared_expert_gate.weight", [1, hidden]
    yield "model.norm.weight", [hidden]
    yield "lm_head.weight", [g["vocabulary"], hidden]


def bfloat16(count: int, scale: float, generator: np.random.Generator) -> bytes:
    """Random numbers; a long run repeats, from another place each time."""
    block = generator.standard_normal(min(count, 1 << 22), np.float32) * np.float32(scale)
    bits = (block.view(np.uint32) >> 16).astype(np.uint16)
    return np.resize(bits, count).tobytes()


def write_shard(path: Path, rows: list, generator: np.random.Generator, full: bool) -> None:
    header, offset = {}, 0
    for name, shape in rows:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        begin = 8 + len(text)
        file.truncate(begin + offset)
        for name, shape in rows:
            columns = shape[-1]
            size = int(np.prod(shape))
            file.seek(begin + header[name]["data_offsets"][0])
            file.write(bfloat16(size if full else min(size, ROWS_WITH_NUMBERS * columns), columns**-0.5, generator))


def describe(arguments: argparse.Namespace) -> tuple[dict, list]:
    """config.json, and names with shapes."""
    if arguments.geometry in DENSE:
        hidden, layers, *others = DENSE[arguments.geometry]
        geometry = (hidden, arguments.layers or layers, *others)
        return sizes.config(geometry), list(sizes.tensors(geometry).items())
    geometry = dict(GEOMETRIES[arguments.geometry])
    for key in ["vocabulary", "experts"]:
        geometry[key] = getattr(arguments, key) or geometry[key]
    layers = arguments.layers or geometry["layers"]
    return config(geometry, layers), list(tensors(geometry, layers, arguments.split_experts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--geometry", choices=[*GEOMETRIES, *DENSE], default="35b-a3b")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--vocabulary", type=int)
    parser.add_argument("--experts", type=int)
    parser.add_argument("--split-experts", action="store_true")
    parser.add_argument("--full", action="store_true", help="numbers everywhere")
    arguments = parser.parse_args()
    described, named_shapes = describe(arguments)
    shards, size = [[]], 0
    for name, shape in named_shapes:
        size += 2 * int(np.prod(shape))
        if size > SHARD_BYTES and shards[-1]:
            shards.append([])
            size = 2 * int(np.prod(shape))
        shards[-1].append((name, shape))
    arguments.out.mkdir(parents=True)
    generator = np.random.default_rng(0)
    weight_map = {}
    for i, rows in enumerate(shards):
        name = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_shard(arguments.out / name, rows, generator, arguments.full)
        weight_map |= {tensor: name for tensor, _ in rows}
    (arguments.out / "config.json").write_text(json.dumps(described, indent=2))
    (arguments.out / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


if __name__ == "__main__":
    main()
