"""Writers of the vendors' formats: each returns a change of a checkpoint's tensors and config.

Weights are rounded to the nearest code; what tests need is that every field of every word is used.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable

import numpy as np
from stored import FLOAT8, Stored, Tensors, store, values_of

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
PROJECTIONS = ["*_proj.weight", "*.linear_attn.in_proj_qkv.weight", "*.linear_attn.in_proj_z.weight"]
EXPERT_STACKS = ["*.mlp.experts.gate_up_proj", "*.mlp.experts.down_proj"]
DELTA = ["*.linear_attn.*"]
Config = dict
Change = Callable[[Tensors, Config], None]


def selected(tensors: Tensors, patterns: list[str], skip: list[str]) -> list[str]:
    names = [
        n
        for n in tensors
        if any(fnmatch.fnmatch(n, p) for p in patterns) and not any(fnmatch.fnmatch(n, p) for p in skip)
    ]
    names = [n for n in names if "visual" not in n]
    assert names
    return names


def words(codes: np.ndarray, bits: int) -> np.ndarray:
    """[..., n] codes to [..., n * bits / 32] words, first code lowest."""
    shaped = codes.astype(np.uint32).reshape(*codes.shape[:-1], -1, 32 // bits)
    return np.bitwise_or.reduce(shaped << np.arange(0, 32, bits, dtype=np.uint32), axis=-1).view(np.int32)


def padded(codes: np.ndarray, multiple: int) -> np.ndarray:
    return np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % multiple)])


def round_groups(
    weight: np.ndarray, bits: int, group: int, sym: bool, scale_type: str
) -> tuple[np.ndarray, np.ndarray, Stored]:
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


def gptq(
    bits=4,
    group=32,
    sym=True,
    version="gptq",
    skip=(),
    config=None,
    desc_act=False,
    g_idx="ordered",
    rules=None,
    head=False,
    patterns=None,
) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        for i, name in enumerate(
            selected(tensors, (patterns or PROJECTIONS) + (["lm_head.weight"] if head else []), list(skip))
        ):
            own = next(
                (
                    (rule.get("bits", bits), rule.get("group_size", group))
                    for pattern, rule in (rules or {}).items()
                    if fnmatch.fnmatch(name, pattern)
                ),
                (bits, group),
            )
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
        into["quantization_config"] = {
            "quant_method": "gptq",
            "bits": bits,
            "group_size": group,
            "sym": sym,
            "desc_act": desc_act,
            "checkpoint_format": version,
            "lm_head": head,
        }
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
    return {
        "qweight": Stored("I32", order(codes)),
        "qzeros": Stored("I32", order(zeros)),
        "scales": Stored("F16", np.ascontiguousarray(scales.bits.T)),
    }


def awq(group=64, sym=False, skip=(), config=None) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        for name in selected(tensors, PROJECTIONS, list(skip)):
            module = name.removesuffix(".weight")
            for end, tensor in awq_tensors(values_of(tensors.pop(name)), group, sym).items():
                tensors[f"{module}.{end}"] = tensor
        plain = ["linear_attn", "visual"] if skip else None
        into["quantization_config"] = {
            "quant_method": "awq",
            "bits": 4,
            "group_size": group,
            "zero_point": True,
            "version": "gemm",
            "modules_to_not_convert": plain,
        }
        into["quantization_config"] |= config or {}

    return change


def auto_round(packing: str, bits=4, group=32, sym=True, extra=None) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        skip = [pattern for pattern, rule in (extra or {}).items() if rule.get("bits", bits) >= 16]
        if packing.endswith("awq"):
            awq(group, sym, skip)(tensors, into)
        else:
            rules = {pattern: rule for pattern, rule in (extra or {}).items() if rule.get("bits", bits) < 16}
            gptq(
                bits,
                group,
                sym,
                "gptq" if packing == "auto_round:auto_gptq" else "gptq_v2",
                skip,
                g_idx=None,
                rules=rules,
            )(tensors, into)
        into["quantization_config"] = {
            "quant_method": "auto-round",
            "bits": bits,
            "group_size": group,
            "sym": sym,
            "data_type": "int",
            "packing_format": packing,
            "autoround_version": "0.16.1",
        }
        into["quantization_config"] |= (
            {"extra_config": {pattern.strip("*").removesuffix(".weight"): rule for pattern, rule in extra.items()}}
            if extra
            else {}
        )

    return change


def scheme(bits: int, group: int | None, sym: bool, kind="int", strategy=None, **more) -> dict:
    strategy = strategy or ("channel" if group is None else "group")
    return {
        "num_bits": bits,
        "group_size": group,
        "symmetric": sym,
        "type": kind,
        "strategy": strategy,
        "dynamic": False,
        "actorder": None,
        "block_structure": None,
    } | more


def compressed(
    bits=4,
    group=32,
    sym=True,
    scale_type="BF16",
    packed_zeros=True,
    skip=(),
    rules=None,
    actorder=None,
    g_idx=None,
    as_bytes=False,
    one_scale=False,
    pad=None,
) -> Change:
    def change(tensors: Tensors, into: Config) -> None:
        middle_of = lambda b: 2 ** (b - 1)  # noqa: E731
        for name in selected(tensors, PROJECTIONS, list(skip)):
            own = next(
                (rule for pattern, rule in (rules or {}).items() if fnmatch.fnmatch(name, pattern)), (bits, group)
            )
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
                tensors[module + ".weight_zero_point"] = Stored(
                    "I32", np.ascontiguousarray(words(padded(zeros.T, 32 // own[0]), own[0]).T)
                )
            elif not sym:
                tensors[module + ".weight_zero_point"] = Stored(
                    "I8", (zeros.astype(np.int16) - middle_of(own[0])).astype(np.int8)
                )
            if g_idx is not None:
                index = (
                    np.arange(weight.shape[1]) // (own[1] or weight.shape[1])
                    if g_idx != "unset"
                    else np.full(weight.shape[1], -1)
                )
                index = np.roll(index, 3) if g_idx == "permuted" else index
                tensors[module + ".weight_g_idx"] = Stored("I32", index.astype(np.int32))
        kind = "int-quantized" if as_bytes else "pack-quantized"
        strategy = "tensor" if one_scale else None
        groups = {
            "group_0": {
                "format": kind,
                "targets": ["Linear"],
                "weights": scheme(bits, group, sym, strategy=strategy, actorder=actorder),
            }
        }
        for i, (pattern, (own_bits, own_group)) in enumerate((rules or {}).items()):
            groups[f"group_{i + 1}"] = {
                "format": kind,
                "targets": ["re:" + pattern],
                "weights": scheme(own_bits, own_group, sym),
            }
        into["quantization_config"] = {
            "quant_method": "compressed-tensors",
            "format": kind,
            "config_groups": groups,
            "ignore": ["lm_head"],
            "quantization_status": "compressed",
            "sparsity_config": {},
            "transform_config": {},
        }

    return change


def float8(
    block=(128, 128),
    dtype="F8_E4M3",
    scale_type="F32",
    shape=None,
    suffix="_scale_inv",
    skip=(),
    config=None,
    extra=(),
    stacks=False,
) -> Change:
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
            scale = (
                2.0 ** np.ceil(np.log2(np.maximum(scale, 1e-9))) if scale_type == "F8_E8M0" else np.maximum(scale, 1e-9)
            )
            scales = store(scale_type, scale.astype(np.float32))
            spread = np.repeat(np.repeat(values_of(scales), a, -2), b, -1)[..., :rows, :columns]
            tensors[name] = store(dtype, weight / spread)
            tensors[name + suffix] = Stored(
                scale_type,
                scales.bits.reshape({"scalar": (), "one": (1,), "flat": (rows,)}.get(shape, scales.bits.shape)),
            )
            for end in extra:
                tensors[name.removesuffix(".weight") + end] = store("F32", np.float32(0.5))
        into["quantization_config"] = {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "fmt": "e4m3" if dtype == "F8_E4M3" else "e5m2",
            "weight_block_size": list(block) if shape is None else None,
        }
        into["quantization_config"] |= config or {}

    return change


def float_compressed(strategy: str, **more) -> dict:
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {"targets": ["Linear"], "weights": scheme(8, None, True, "float", strategy, **more)}
        },
    }


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
    config["quantization_config"]["modules_to_not_convert"] = modules + [
        f"model.visual.blocks.{i}.attn.qkv" for i in range(943 - len(modules))
    ]
