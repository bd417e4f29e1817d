"""Checkpoints in the formats of vendors, made from one plain checkpoint.

    make_variants.py BASE NAME OUT    # writes one of VARIANTS or REFUSALS to the folder OUT

Weights are rounded to the nearest code; what tests need is that every field of every word is used.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from stored import FLOAT8, Stored, Tensors, read, store, values_of, write

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
PROJECTIONS = ["*_proj.weight", "*.linear_attn.in_proj_qkv.weight", "*.linear_attn.in_proj_z.weight"]
EXPERT_STACKS = ["*.mlp.experts.gate_up_proj", "*.mlp.experts.down_proj"]
DELTA = ["*.linear_attn.*"]
Config = dict
Change = Callable[[Tensors, Config], None]


@dataclass
class Variant:
    """What is done to the base, and how it is exported."""

    change: Change
    base: str = "kjv-tiny"
    imported: bool = True  # the codes are kept when no weight format is given
    files: dict[str, str] = field(default_factory=dict)  # written beside


@dataclass
class Refusal:
    change: Change
    exit_code: int
    message: str
    files: dict[str, str] = field(default_factory=dict)
    drops_weights: bool = False


def selected(tensors: Tensors, patterns: list[str], skip: list[str]) -> list[str]:
    names = [n for n in tensors if any(fnmatch.fnmatch(n, p) for p in patterns) and not any(fnmatch.fnmatch(n, p) for p in skip)]
    names = [n for n in names if "visual" not in n]
    assert names
    return names


def words(codes: np.ndarray, bits: int) -> np.ndarray:
    """[..., n] codes to [..., n * bits / 32] words, first code lowest."""
    shaped = codes.astype(np.uint32).reshape(*codes.shape[:-1], -1, 32 // bits)
    return np.bitwise_or.reduce(shaped << np.arange(0, 32, bits, dtype=np.uint32), axis=-1).view(np.int32)


def padded(codes: np.ndarray, multiple: int) -> np.ndarray:
    return np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % multiple)])


def round_groups(weight: np.ndarray, bits: int, group: int, sym: bool, scale_type: str) -> tuple[np.ndarray, np.ndarray, Stored]:
    """Codes [out, in], zero points [out, groups], scales [out, groups]."""
    rows, columns = weight.shape
    group = columns if group == -1 else group
    groups = -(-columns // group)
    filled = np.full((rows, groups * group), np.nan, np.float32)
    filled[:, :columns] = weight
    split = filled.reshape(rows, groups, group)
    most, middle = 2**bits - 1, 2 ** (bits - 1)
    if sym:
        scale = np.nanmax(np.abs(split), -1) / (middle - 1)
        zeros = np.full(scale.shape, middle)
    else:
        low, high = np.minimum(np.nanmin(split, -1), 0), np.maximum(np.nanmax(split, -1), 0)
        scale = (high - low) / most
        zeros = None
    scales = store(scale_type, np.maximum(scale, 1e-6).astype(np.float32))
    used = values_of(scales)
    if zeros is None:
        zeros = np.clip(np.round(-low / used), 1, most)
    spread = [np.repeat(x, group, 1)[:, :columns] for x in (used, zeros)]
    codes = np.clip(np.round(weight / spread[0]) + spread[1], 0, most)
    return codes.astype(np.uint8), zeros.astype(np.uint8), scales


def gptq(bits=4, group=32, sym=True, version="gptq", skip=(), config=None, desc_act=False, g_idx="ordered", rules=None, head=False, patterns=None) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        for i, name in enumerate(selected(tensors, (patterns or PROJECTIONS) + (["lm_head.weight"] if head else []), list(skip))):
            own = next(((rule.get("bits", bits), rule.get("group_size", group)) for pattern, rule in (rules or {}).items() if fnmatch.fnmatch(name, pattern)), (bits, group))
            module, weight = name.removesuffix(".weight"), values_of(tensors.pop(name))
            codes, zeros, scales = round_groups(weight, own[0], own[1], sym, "F16")
            stored = words(zeros.T, own[0])
            if version == "gptq":
                stored = (stored.view(np.uint32) - np.uint32(0x11111111 if own[0] == 4 else 0x01010101)).view(np.int32)
            tensors[module + ".qweight"] = Stored("I32", np.ascontiguousarray(words(codes, own[0]).T))
            tensors[module + ".qzeros"] = Stored("I32", stored)
            tensors[module + ".scales"] = Stored("F16", np.ascontiguousarray(scales.bits.T))
            if g_idx is not None and i % 2 == 0:
                size = weight.shape[1] if own[1] == -1 else own[1]
                index = np.arange(weight.shape[1]) // size
                if g_idx == "permuted":
                    index = np.roll(index, 5)
                if g_idx == "out of range":
                    index[3] = 1000
                tensors[module + ".g_idx"] = Stored("I32", index.astype(np.int32))
        dynamic = {f"+:{name}": rule for name, rule in (rules or {}).items()}
        into["quantization_config"] = {"quant_method": "gptq", "bits": bits, "group_size": group, "sym": sym, "desc_act": desc_act, "checkpoint_format": version, "lm_head": head}
        into["quantization_config"] |= ({"dynamic": dynamic} if rules else {}) | (config or {})

    return change


def untied_head(then: Change) -> Change:
    """Vocabulary tensors of their own for a model that ties them."""

    def change(tensors: Tensors, config: Config) -> None:
        embedding = values_of(tensors["model.language_model.embed_tokens.weight"])
        tensors["lm_head.weight"] = store("BF16", embedding[::-1])
        config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
        then(tensors, config)

    return change


def awq_tensors(weight: np.ndarray, group: int, sym: bool) -> dict[str, Stored]:
    codes, zeros, scales = round_groups(weight, 4, group, sym, "F16")
    order = lambda x: words(x.T.reshape(x.shape[1], -1, 8)[..., AWQ_ORDER].reshape(x.shape[1], -1), 4)  # noqa: E731
    return {"qweight": Stored("I32", order(codes)), "qzeros": Stored("I32", order(zeros)), "scales": Stored("F16", np.ascontiguousarray(scales.bits.T))}


def awq(group=64, sym=False, skip=(), config=None) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        for name in selected(tensors, PROJECTIONS, list(skip)):
            module = name.removesuffix(".weight")
            for end, tensor in awq_tensors(values_of(tensors.pop(name)), group, sym).items():
                tensors[f"{module}.{end}"] = tensor
        plain = ["linear_attn", "visual"] if skip else None
        into["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": "gemm", "modules_to_not_convert": plain}
        into["quantization_config"] |= config or {}

    return change


def auto_round(packing: str, bits=4, group=32, sym=True, extra=None) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        skip = [pattern for pattern, rule in (extra or {}).items() if rule.get("bits", bits) >= 16]
        if packing.endswith("awq"):
            awq(group, sym, skip)(tensors, into)
        else:
            rules = {pattern: rule for pattern, rule in (extra or {}).items() if rule.get("bits", bits) < 16}
            gptq(bits, group, sym, "gptq" if packing == "auto_round:auto_gptq" else "gptq_v2", skip, g_idx=None, rules=rules)(tensors, into)
        into["quantization_config"] = {"quant_method": "auto-round", "bits": bits, "group_size": group, "sym": sym, "data_type": "int", "packing_format": packing, "autoround_version": "0.16.1"}
        into["quantization_config"] |= {"extra_config": {pattern.strip("*").removesuffix(".weight"): rule for pattern, rule in extra.items()}} if extra else {}

    return change


def scheme(bits: int, group: int | None, sym: bool, kind="int", strategy=None, **more) -> dict:
    strategy = strategy or ("channel" if group is None else "group")
    return {"num_bits": bits, "group_size": group, "symmetric": sym, "type": kind, "strategy": strategy, "dynamic": False, "actorder": None, "block_structure": None} | more


def compressed(bits=4, group=32, sym=True, scale_type="BF16", packed_zeros=True, skip=(), rules=None, actorder=None, g_idx=None, as_bytes=False, one_scale=False, pad=None) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        middle_of = lambda b: 2 ** (b - 1)  # noqa: E731
        for name in selected(tensors, PROJECTIONS, list(skip)):
            own = next((rule for pattern, rule in (rules or {}).items() if fnmatch.fnmatch(name, pattern)), (bits, group))
            module, weight = name.removesuffix(".weight"), values_of(tensors.pop(name))
            codes, zeros, scales = round_groups(weight, own[0], own[1] or -1, sym, scale_type)
            if one_scale:
                scales = store(scale_type, np.full([1], np.abs(weight).max() / 7, np.float32))
                codes = np.clip(np.round(weight / values_of(scales)[0]) + 8, 0, 15).astype(np.uint8)
            if as_bytes:
                tensors[name] = Stored("I8", (codes.astype(np.int16) - 128).astype(np.int8))
            else:
                tensors[module + ".weight_packed"] = Stored("I32", words(padded(codes, 32 // own[0]), own[0]))
                tensors[module + ".weight_shape"] = Stored("I64", np.array(weight.shape, np.int64))
            tensors[module + ".weight_scale"] = scales
            if not sym and packed_zeros and not as_bytes:
                tensors[module + ".weight_zero_point"] = Stored("I32", np.ascontiguousarray(words(padded(zeros.T, 32 // own[0]), own[0]).T))
            elif not sym:
                tensors[module + ".weight_zero_point"] = Stored("I8", (zeros.astype(np.int16) - middle_of(own[0])).astype(np.int8))
            if g_idx is not None:
                index = np.arange(weight.shape[1]) // (own[1] or weight.shape[1]) if g_idx != "unset" else np.full(weight.shape[1], -1)
                index = np.roll(index, 3) if g_idx == "permuted" else index
                tensors[module + ".weight_g_idx"] = Stored("I32", index.astype(np.int32))
        kind = "int-quantized" if as_bytes else "pack-quantized"
        strategy = "tensor" if one_scale else None
        groups = {"group_0": {"format": kind, "targets": ["Linear"], "weights": scheme(bits, group, sym, strategy=strategy, actorder=actorder)}}
        for i, (pattern, (own_bits, own_group)) in enumerate((rules or {}).items()):
            groups[f"group_{i + 1}"] = {"format": kind, "targets": ["re:" + pattern], "weights": scheme(own_bits, own_group, sym)}
        into["quantization_config"] = {"quant_method": "compressed-tensors", "format": kind, "config_groups": groups, "ignore": ["lm_head"], "quantization_status": "compressed", "sparsity_config": {}, "transform_config": {}}

    return change


def float8(block=(128, 128), dtype="F8_E4M3", scale_type="F32", shape=None, suffix="_scale_inv", skip=(), config=None, extra=(), stacks=False) -> Change:
    """`shape`: None for blocks, else of the scales: scalar, one, row, flat."""

    def change(tensors: Tensors, into: Config) -> None:
        largest = float(np.nanmax(np.where(np.isfinite(FLOAT8[dtype]), FLOAT8[dtype], 0)))
        for name in selected(tensors, PROJECTIONS + (EXPERT_STACKS if stacks else []), list(skip)):
            weight = values_of(tensors[name])
            *lead, rows, columns = weight.shape
            a, b = (rows, columns) if shape in {"scalar", "one"} else (1, columns) if shape else block
            filled = np.zeros((*lead, -(-rows // a) * a, -(-columns // b) * b), np.float32)
            filled[..., :rows, :columns] = np.abs(weight)
            scale = filled.reshape(*lead, -(-rows // a), a, -(-columns // b), b).max((-3, -1)) / largest
            scale = 2.0 ** np.ceil(np.log2(np.maximum(scale, 1e-9))) if scale_type == "F8_E8M0" else np.maximum(scale, 1e-9)
            scales = store(scale_type, scale.astype(np.float32))
            spread = np.repeat(np.repeat(values_of(scales), a, -2), b, -1)[..., :rows, :columns]
            tensors[name] = store(dtype, weight / spread)
            tensors[name + suffix] = Stored(scale_type, scales.bits.reshape({"scalar": (), "one": (1,), "flat": (rows,)}.get(shape, scales.bits.shape)))
            for end in extra:
                tensors[name.removesuffix(".weight") + end] = store("F32", np.float32(0.5))
        into["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3" if dtype == "F8_E4M3" else "e5m2", "weight_block_size": list(block) if shape is None else None}
        into["quantization_config"] |= config or {}

    return change


def float_compressed(strategy: str, **more) -> dict:
    return {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["lm_head"], "config_groups": {"group_0": {"targets": ["Linear"], "weights": scheme(8, None, True, "float", strategy, **more)}}}


def then(first: Change, second: Change) -> Change:
    def change(tensors: Tensors, config: Config) -> None:
        first(tensors, config)
        second(tensors, config)

    return change


def only_config(entry: dict) -> Change:
    return lambda tensors, config: config.update(quantization_config=entry)


def without_key(key: str) -> Change:
    return lambda tensors, config: config["quantization_config"].pop(key)


def cache_scales(tensors: Tensors, config: Config) -> None:
    for name in [n for n in tensors if n.endswith("self_attn.k_proj.weight")]:
        tensors[name.removesuffix("weight") + "k_scale"] = store("F32", np.float32(1))
        tensors[name.replace("k_proj.weight", "v_proj.v_scale")] = store("F32", np.float32(1))


def to_modelopt_file(tensors: Tensors, config: Config) -> None:
    del config["quantization_config"]


def many_plain_modules(tensors: Tensors, config: Config) -> None:
    modules = [n.removesuffix(".weight") for n in tensors if n.endswith(".weight") and tensors[n].dtype == "BF16"]
    config["quantization_config"]["modules_to_not_convert"] = modules + [f"model.visual.blocks.{i}.attn.qkv" for i in range(943 - len(modules))]


MODELOPT = {"hf_quant_config.json": json.dumps({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head", "*linear_attn*"]}})}

VARIANTS: dict[str, Variant] = {
    "fp8": Variant(float8(), imported=False),
    "fp8-no-fmt": Variant(then(float8(), without_key("fmt")), imported=False),
    "fp8-partial-blocks": Variant(float8((96, 80), scale_type="BF16"), imported=False),
    "fp8-e5m2": Variant(float8((64, 32), "F8_E5M2", "F16"), imported=False),
    "fp8-e8m0": Variant(float8((64, 64), scale_type="F8_E8M0"), imported=False),
    "fp8-one-scale": Variant(float8(shape="scalar", extra=(".activation_scale",), config={"activation_scheme": "static"}), imported=False),
    "fp8-one-scale-1d": Variant(float8(shape="one", scale_type="BF16"), imported=False),
    "fp8-delta-plain": Variant(then(float8(skip=DELTA), many_plain_modules), imported=False),
    "fp8-two-plain-modules": Variant(float8(config={"modules_to_not_convert": ["lm_head", "model.embed_tokens"]}), imported=False),
    "fp8-compressed-rows": Variant(float8(shape="row", scale_type="BF16", suffix="_scale", config=float_compressed("channel")), imported=False),
    "fp8-compressed-flat": Variant(float8(shape="flat", scale_type="F32", suffix="_scale", config=float_compressed("channel")), imported=False),
    "fp8-compressed-blocks": Variant(float8((128, 128), scale_type="BF16", suffix="_scale", config=float_compressed("block", block_structure=[128, 128])), imported=False),
    "fp8-modelopt": Variant(then(then(float8(shape="scalar", suffix="_scale", extra=(".input_scale",), skip=DELTA), cache_scales), to_modelopt_file), imported=False, files=MODELOPT),
    "fp8-expert-stacks": Variant(float8((16, 24), stacks=True), base="moe-e8k2", imported=False),
    "fp8-experts": Variant(float8((24, 16), scale_type="BF16"), base="moe-split", imported=False),
    "gptq": Variant(gptq()),
    "gptq-asym": Variant(gptq(group=64, sym=False)),
    "gptq-128": Variant(gptq(group=128, sym=False, g_idx=None)),
    "gptq-v2": Variant(gptq(sym=False, version="gptq_v2")),
    "gptq-rows": Variant(gptq(group=-1)),
    "gptq-8bit": Variant(gptq(bits=8, sym=False)),
    "gptq-ordered-desc-act": Variant(then(gptq(desc_act=True), lambda t, c: [t.update({n.replace("qweight", "g_idx"): Stored("I32", (np.arange(t[n].bits.shape[0] * 8) // 32).astype(np.int32))}) for n in list(t) if n.endswith("qweight")])),
    "gptq-mixed": Variant(gptq(sym=False, skip=["*.layers.0.*"], rules={"*.mlp.down_proj.weight": {"bits": 8, "group_size": 64}})),
    "gptq-head": Variant(untied_head(gptq(sym=False, head=True))),
    "gptq-delta-plain": Variant(gptq(skip=DELTA)),
    "gptq-experts": Variant(gptq(group=16), base="moe-split"),
    "gptq-group-48": Variant(gptq(group=48), imported=False),  # OpenVINO has no such group
    "awq": Variant(awq()),
    "awq-128": Variant(awq(group=128)),
    "awq-delta-plain": Variant(awq(group=32, skip=DELTA)),
    "auto-round": Variant(auto_round("auto_round:auto_gptq")),
    "auto-round-asym": Variant(auto_round("auto_round", sym=False, group=64)),
    "auto-round-awq": Variant(auto_round("auto_round:auto_awq", sym=False, group=64)),
    "auto-round-layers": Variant(auto_round("auto_round:auto_gptq", extra={"*.layers.1.mlp.*": {"bits": 8, "group_size": 64}, "*.layers.2.mlp.*": {"bits": 16, "data_type": "fp"}})),
    "compressed": Variant(compressed()),
    "compressed-asym": Variant(compressed(sym=False, scale_type="F16")),
    "compressed-plain-zeros": Variant(compressed(sym=False, packed_zeros=False)),
    "compressed-rows": Variant(compressed(group=None)),
    "compressed-one-scale": Variant(compressed(group=None, one_scale=True)),
    "compressed-8bit": Variant(compressed(bits=8, group=128)),
    "compressed-bytes": Variant(compressed(bits=8, group=None, as_bytes=True)),
    "compressed-bytes-asym": Variant(compressed(bits=8, group=None, sym=False, as_bytes=True)),
    "compressed-mixed": Variant(compressed(skip=DELTA, rules={"*.self_attn.*": (8, 64)})),
    "compressed-static-order": Variant(compressed(actorder="static", g_idx="unset")),
    "compressed-ordered": Variant(compressed(actorder="group", g_idx="ordered")),
    "compressed-wide-scales": Variant(compressed(scale_type="F32")),  # rounded to float16
    "compressed-experts": Variant(compressed(group=16, sym=False, skip=["*.shared_expert.*"]), base="moe-split"),
}


def drop(pattern: str) -> Change:
    def change(tensors: Tensors, config: Config) -> None:
        del tensors[next(n for n in tensors if fnmatch.fnmatch(n, pattern))]

    return change


def reshape(pattern: str, cut: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(tensors: Tensors, config: Config) -> None:
        name = next(n for n in tensors if fnmatch.fnmatch(n, pattern))
        tensors[name] = Stored(tensors[name].dtype, cut(tensors[name].bits))

    return change


def widened_codes(tensors: Tensors, config: Config) -> None:
    name = next(n for n in tensors if n.endswith("gate_proj.weight"))
    tensors[name] = store("BF16", values_of(tensors[name]))


def second_scale(tensors: Tensors, config: Config) -> None:
    name = next(n for n in tensors if n.endswith("gate_proj.weight"))
    tensors[name + "_scale"] = tensors[name + "_scale_inv"]


def stray_scale(tensors: Tensors, config: Config) -> None:
    tensors["model.language_model.layers.9.mlp.up_proj.weight_scale_inv"] = store("F32", np.ones((1, 1), np.float32))


def nvfp4_modelopt(tensors: Tensors, config: Config) -> None:
    name = next(n for n in tensors if n.endswith("gate_proj.weight"))
    rows, columns = tensors[name].bits.shape
    tensors[name] = Stored("U8", np.zeros((rows, columns // 2), np.uint8))
    tensors[name + "_scale"] = Stored("F8_E4M3", np.zeros((rows, columns // 16), np.uint8))
    tensors[name + "_scale_2"] = store("F32", np.float32(1))


def entry(method: str, **more) -> Change:
    return only_config({"quant_method": method} | more)


NVFP4 = {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized", "config_groups": {"group_0": {"format": "nvfp4-pack-quantized", "targets": ["Linear"], "weights": scheme(4, 16, True, "float", "tensor_group")}}}
NOTHING: Change = lambda tensors, config: None  # noqa: E731
INPUT, UNSUPPORTED = 3, 4

REFUSALS: dict[str, Refusal] = {
    "bitsandbytes": Refusal(entry("bitsandbytes", load_in_4bit=True), UNSUPPORTED, "quantized by bitsandbytes, which is not read; use the original checkpoint"),
    "bitsandbytes-unnamed": Refusal(only_config({"load_in_8bit": True}), UNSUPPORTED, "quantized by bitsandbytes"),
    "hqq": Refusal(entry("hqq"), UNSUPPORTED, "quantized by HQQ"),
    "mxfp4": Refusal(entry("mxfp4"), UNSUPPORTED, "quantized by MXFP4"),
    "torchao": Refusal(entry("torchao"), UNSUPPORTED, "quantized by torchao"),
    "unknown": Refusal(entry("next-big-thing"), UNSUPPORTED, "quantized by next-big-thing, which is not read"),
    "no-method": Refusal(only_config({"bits": 4}), INPUT, "it has no quant_method"),
    "mlx": Refusal(lambda t, c: c.update(quantization={"group_size": 64, "bits": 4}), UNSUPPORTED, "quantized by MLX"),
    "nvfp4": Refusal(only_config(NVFP4), UNSUPPORTED, "format is 'nvfp4-pack-quantized'"),
    "nvfp4-modelopt": Refusal(entry("modelopt", quant_algo="NVFP4"), UNSUPPORTED, "quant_algo is 'NVFP4', read are FP8"),
    "nvfp4-tensors": Refusal(nvfp4_modelopt, UNSUPPORTED, "which is not read (NVFP4?): use the original checkpoint"),
    "nvfp4-modelopt-file": Refusal(NOTHING, UNSUPPORTED, "quant_algo is 'NVFP4'", files={"hf_quant_config.json": json.dumps({"quantization": {"quant_algo": "NVFP4"}})}),
    "gptq-3bit": Refusal(gptq(config={"bits": 3}), UNSUPPORTED, "bits is 3, read are 4 and 8"),
    "gptq-marlin": Refusal(gptq(config={"checkpoint_format": "marlin"}), UNSUPPORTED, "checkpoint_format is 'marlin'"),
    "gptq-act-order": Refusal(gptq(desc_act=True, g_idx="permuted"), UNSUPPORTED, "in the order of activations"),
    "gptq-act-order-unsaid": Refusal(gptq(g_idx="permuted"), UNSUPPORTED, "in the order of activations"),
    "gptq-act-order-no-index": Refusal(gptq(desc_act=True, g_idx=None), UNSUPPORTED, "in the order of activations (desc_act)"),
    "gptq-index-range": Refusal(gptq(g_idx="out of range"), INPUT, "puts column 3 into group 1000, there are 4"),
    "gptq-plain-tensors": Refusal(entry("gptq", bits=4, group_size=128, desc_act=True), INPUT, "says that the weights are quantized (gptq), but all are plain"),
    "gptq-no-zeros": Refusal(then(gptq(), drop("*.qzeros")), INPUT, "is missing: without zero points"),
    "gptq-no-config": Refusal(then(gptq(), lambda t, c: c.pop("quantization_config")), INPUT, "is packed, and config.json has no quantization_config"),
    "gptq-wrong-group": Refusal(gptq(config={"group_size": 64}), INPUT, "do not fit the group_size of config.json"),
    "gptq-short-scales": Refusal(then(gptq(), reshape("*.scales", lambda x: x[:, :-1])), INPUT, "expected [groups, "),
    "gptq-short-weight": Refusal(then(gptq(), reshape("*.qweight", lambda x: x[:-1])), INPUT, "in 4 or 8 bits"),
    "awq-gemv": Refusal(awq(config={"version": "gemv"}), UNSUPPORTED, "version is 'gemv', read is gemm"),
    "awq-8bit": Refusal(awq(config={"bits": 8}), UNSUPPORTED, "bits are 8, read are 4 in this packing"),
    "auto-round-mxfp": Refusal(entry("auto-round", bits=4, data_type="mx_fp", packing_format="auto_round:llm_compressor"), UNSUPPORTED, "data_type is 'mx_fp', read is int; packing_format is 'auto_round:llm_compressor'"),
    "compressed-act-order": Refusal(compressed(actorder="group", g_idx="permuted"), UNSUPPORTED, "weight_g_idx', desc_act or actorder"),
    "compressed-sparse": Refusal(then(compressed(), lambda t, c: c["quantization_config"].update(sparsity_config={"format": "sparse-24-bitmask"})), UNSUPPORTED, "sparsity_config is set"),
    "compressed-rotated": Refusal(then(compressed(), lambda t, c: c["quantization_config"].update(transform_config={"config_groups": {"r": 1}})), UNSUPPORTED, "transform_config is set: the weights are rotated"),
    "compressed-wrong-shape": Refusal(then(compressed(), reshape("*.weight_shape", lambda x: x[::-1])), INPUT, "says that the shape is"),
    "compressed-zeros-shape": Refusal(then(compressed(sym=False), reshape("*.weight_zero_point", lambda x: x[:-1])), INPUT, "weight_zero_point' in 'model.safetensors' has shape"),
    "fp8-no-scale": Refusal(then(float8(), drop("*gate_proj.weight_scale_inv")), INPUT, "is F8_E4M3 and has no scale"),
    "fp8-two-scales": Refusal(then(float8(), second_scale), INPUT, "has two scales"),
    "fp8-unused-scale": Refusal(then(float8(), stray_scale), INPUT, "is unexpected: no quantized weight of the model uses it"),
    "fp8-widened-codes": Refusal(then(float8(), widened_codes), INPUT, "is BF16 and has a scale"),
    "fp8-wrong-scale": Refusal(then(float8(), reshape("*down_proj.weight_scale_inv", lambda x: x[:, :-1])), INPUT, "expected one number or [128, 1] or [1, 3] (blocks of 128 x 128)"),
    "fp8-no-block-size": Refusal(then(float8(), without_key("weight_block_size")), INPUT, "config.json names no block size"),
    "fp8-bad-block-size": Refusal(float8(config={"weight_block_size": [0, 128]}), INPUT, "/quantization_config/weight_block_size is [0,128], expected two sizes"),
    "fp8-other-format": Refusal(float8(config={"fmt": "e3m4"}), UNSUPPORTED, "fmt is 'e3m4'"),
    "lora": Refusal(lambda t, c: t.update({"base_model.model.layers.0.q_proj.lora_A.weight": store("F32", np.zeros((4, 4)))}), INPUT, "merge the adapter into the model first"),
    "gguf": Refusal(NOTHING, UNSUPPORTED, "it holds 'model-q4.gguf'", files={"model-q4.gguf": "GGUF"}, drops_weights=True),
    "pickle": Refusal(NOTHING, UNSUPPORTED, "it holds 'pytorch_model.bin'", files={"pytorch_model.bin": "PK"}, drops_weights=True),
}


def make(base: Path, change: Change, out: Path, files: dict[str, str] | None = None, drops_weights: bool = False) -> tuple[Tensors, Config]:
    """Writes the checkpoint; returns what it holds."""
    out.mkdir(parents=True, exist_ok=True)
    for path in base.iterdir():
        if path.is_file() and path.name not in {"model.safetensors", "expected.safetensors", "held_out.txt"}:
            shutil.copy(path, out)
    tensors, config = read(base / "model.safetensors"), json.loads((base / "config.json").read_text())
    change(tensors, config)
    (out / "config.json").write_text(json.dumps(config, indent=1))
    for name, text in (files or {}).items():
        (out / name).write_text(text)
    if not drops_weights:
        write(out / "model.safetensors", tensors)
    return tensors, config


def main() -> None:
    base, name, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    row = VARIANTS.get(name) or REFUSALS[name]
    make(base, row.change, out, row.files, getattr(row, "drops_weights", False))


if __name__ == "__main__":
    main()
