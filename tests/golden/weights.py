"""Random checkpoints in the published tensor names.

The numbers depend on the case's seed and the tensor's name only, so adding a tensor changes no
other. They are made from integers and correctly rounded operations, because torch's own normal
distribution differs in the last bit between CPUs and the files are compared byte by byte.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file

from cases import Case

Tensors = dict[str, torch.Tensor]

UNIFORMS = 12  # their sum has variance 1 when each has variance 1/12


def generator(seed: int, name: str) -> torch.Generator:
    """A stream of random numbers for one named thing of a case.

    Both must go into 32 bits: torch's generator on the CPU ignores the upper half of a seed.
    """
    return torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))


def uniform(shape: torch.Size | tuple[int, ...], stream: torch.Generator) -> torch.Tensor:
    """Float32 numbers in [0, 1), multiples of 2^-16."""
    return torch.randint(0, 2**16, tuple(shape), generator=stream).float() / 2**16


def normal(shape: torch.Size | tuple[int, ...], stream: torch.Generator) -> torch.Tensor:
    """Nearly normal float32 numbers (mean 0, deviation 1): a sum of uniforms, hence exact."""
    draws = torch.randint(0, 2**16, (*shape, UNIFORMS), generator=stream)
    return (draws.sum(-1) - UNIFORMS * (2**16 - 1) // 2).float() / 2**16


def random_tensor(name: str, shape: torch.Size, case: Case) -> torch.Tensor:
    """Values on the scale that a trained checkpoint has for a tensor of this name."""
    stream = generator(case.seed, name)
    if name.endswith("A_log"):
        return (1 + 15 * uniform(shape, stream)).double().log().float()
    if name.endswith("dt_bias"):
        return 5 * uniform(shape, stream) - 4
    if name.endswith("bias"):
        return 0.05 * normal(shape, stream)
    if "norm" in name:
        around_one = "linear_attn.norm" in name or "visual" in name
        return (1.0 if around_one else 0.0) + 0.1 * normal(shape, stream)
    if "conv1d" in name:
        return 0.3 * normal(shape, stream)
    if "pos_embed" in name:
        return 0.3 * normal(shape, stream)
    if "embed_tokens" in name:
        return case.embed_std * normal(shape, stream)
    fan_in = shape[-1] if ".experts." in name else shape[1:].numel()
    return fan_in**-0.5 * normal(shape, stream)


def stored_dtype(name: str, case: Case) -> torch.dtype:
    """The dtype in which the checkpoint keeps a tensor."""
    return torch.float32 if name.endswith(case.keep_f32 or ("\0",)) else getattr(torch, case.stored)


def mtp_shapes(case: Case) -> dict[str, torch.Size]:
    """Some tensors of the multi-token-prediction layer that published checkpoints carry."""
    hidden = case.text["hidden_size"]
    shapes = {
        "mtp.fc.weight": (hidden, 2 * hidden),
        "mtp.layers.0.input_layernorm.weight": (hidden,),
        "mtp.layers.0.self_attn.q_norm.weight": (case.text["head_dim"],),
        "mtp.norm.weight": (hidden,),
        "mtp.pre_fc_norm_embedding.weight": (hidden,),
        "mtp.pre_fc_norm_hidden.weight": (hidden,),
    }
    return {name: torch.Size(shape) for name, shape in shapes.items()}


def copy_twins(tensors: Tensors, twins: tuple[int, ...]) -> None:
    """Give some experts of every layer the same router row and the same projections."""
    per_expert = (".mlp.gate.weight", ".experts.gate_up_proj", ".experts.down_proj")
    for name, tensor in tensors.items():
        if name.endswith(per_expert):
            tensor[list(twins)] = tensor[twins[0]].clone()


def split_experts(tensors: Tensors) -> Tensors:
    """The same weights with one tensor per expert and projection."""
    parts: Tensors = {}
    for name, tensor in tensors.items():
        stem, _, projection = name.rpartition(".")
        if not stem.endswith(".experts"):
            parts[name] = tensor
            continue
        for expert, weight in enumerate(tensor):
            if projection == "gate_up_proj":
                gate, up = weight.chunk(2)
                parts[f"{stem}.{expert}.gate_proj.weight"] = gate.contiguous()
                parts[f"{stem}.{expert}.up_proj.weight"] = up.contiguous()
            else:
                parts[f"{stem}.{expert}.{projection}.weight"] = weight.contiguous()
    return parts


def make_tensors(model: torch.nn.Module, case: Case) -> Tensors:
    """Random tensors under the published names, in the stored dtypes."""
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    if case.mtp:
        shapes |= mtp_shapes(case)
    tensors = {
        name: random_tensor(name, shape, case).to(stored_dtype(name, case)).contiguous()
        for name, shape in shapes.items()
    }
    if case.twin_experts:
        copy_twins(tensors, case.twin_experts)
    return split_experts(tensors) if case.split_experts else tensors


def split_shards(tensors: Tensors, count: int) -> list[Tensors]:
    """Consecutive tensors in `count` parts of about the same size, the mtp ones in the last."""
    sizes = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    limit = sum(sizes.values()) / count
    shards: list[Tensors] = [{}]
    filled = 0.0
    for name in sorted(tensors, key=lambda name: name.startswith("mtp.")):
        if filled >= limit and len(shards) < count:
            shards.append({})
            filled = 0.0
        shards[-1][name] = tensors[name]
        filled += sizes[name]
    return shards


def write_json(path: Path, value: object) -> None:
    """One readable JSON file with a final newline."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_checkpoint(folder: Path, case: Case, tensors: Tensors) -> None:
    """config.json and the weights: one file, or shards with the usual index."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", case.config)
    if case.shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(split_shards(tensors, case.shards), start=1):
        file = f"model-{number:05d}-of-{case.shards:05d}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index)
