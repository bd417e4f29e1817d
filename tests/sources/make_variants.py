"""Checkpoints in the formats of vendors, made from one plain checkpoint.

make_variants.py BASE NAME OUT    # writes one of VARIANTS or REFUSALS to the folder OUT
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
from stored import Stored, Tensors, read, store, values_of, write
from writers import (
    DELTA,
    Change,
    Config,
    auto_round,
    awq,
    cache_scales,
    compressed,
    float8,
    float_compressed,
    gptq,
    many_plain_modules,
    only_config,
    scheme,
    then,
    to_modelopt_file,
    untied_head,
    without_key,
)


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


MODELOPT = {
    "hf_quant_config.json": json.dumps(
        {
            "producer": {"name": "modelopt"},
            "quantization": {
                "quant_algo": "FP8",
                "kv_cache_quant_algo": "FP8",
                "exclude_modules": ["lm_head", "*linear_attn*"],
            },
        }
    )
}

VARIANTS: dict[str, Variant] = {
    "fp8": Variant(float8(), imported=False),
    "fp8-no-fmt": Variant(then(float8(), without_key("fmt")), imported=False),
    "fp8-partial-blocks": Variant(float8((96, 80), scale_type="BF16"), imported=False),
    "fp8-e5m2": Variant(float8((64, 32), "F8_E5M2", "F16"), imported=False),
    "fp8-e8m0": Variant(float8((64, 64), scale_type="F8_E8M0"), imported=False),
    "fp8-one-scale": Variant(
        float8(shape="scalar", extra=(".activation_scale",), config={"activation_scheme": "static"}), imported=False
    ),
    "fp8-one-scale-1d": Variant(float8(shape="one", scale_type="BF16"), imported=False),
    "fp8-delta-plain": Variant(then(float8(skip=DELTA), many_plain_modules), imported=False),
    "fp8-two-plain-modules": Variant(
        float8(config={"modules_to_not_convert": ["lm_head", "model.embed_tokens"]}), imported=False
    ),
    "fp8-compressed-rows": Variant(
        float8(shape="row", scale_type="BF16", suffix="_scale", config=float_compressed("channel")), imported=False
    ),
    "fp8-compressed-flat": Variant(
        float8(shape="flat", scale_type="F32", suffix="_scale", config=float_compressed("channel")), imported=False
    ),
    "fp8-compressed-blocks": Variant(
        float8(
            (128, 128), scale_type="BF16", suffix="_scale", config=float_compressed("block", block_structure=[128, 128])
        ),
        imported=False,
    ),
    "fp8-modelopt": Variant(
        then(
            then(float8(shape="scalar", suffix="_scale", extra=(".input_scale",), skip=DELTA), cache_scales),
            to_modelopt_file,
        ),
        imported=False,
        files=MODELOPT,
    ),
    "fp8-expert-stacks": Variant(float8((16, 24), stacks=True), base="moe-e8k2", imported=False),
    "fp8-experts": Variant(float8((24, 16), scale_type="BF16"), base="moe-split", imported=False),
    "gptq": Variant(gptq()),
    "gptq-asym": Variant(gptq(group=64, sym=False)),
    "gptq-128": Variant(gptq(group=128, sym=False, g_idx=None)),
    "gptq-v2": Variant(gptq(sym=False, version="gptq_v2")),
    "gptq-rows": Variant(gptq(group=-1)),
    "gptq-8bit": Variant(gptq(bits=8, sym=False)),
    "gptq-ordered-desc-act": Variant(
        then(
            gptq(desc_act=True),
            lambda t, c: [
                t.update(
                    {
                        n.replace("qweight", "g_idx"): Stored(
                            "I32", (np.arange(t[n].bits.shape[0] * 8) // 32).astype(np.int32)
                        )
                    }
                )
                for n in list(t)
                if n.endswith("qweight")
            ],
        )
    ),
    "gptq-mixed": Variant(
        gptq(sym=False, skip=["*.layers.0.*"], rules={"*.mlp.down_proj.weight": {"bits": 8, "group_size": 64}})
    ),
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
    "auto-round-layers": Variant(
        auto_round(
            "auto_round:auto_gptq",
            extra={
                "*.layers.1.mlp.*": {"bits": 8, "group_size": 64},
                "*.layers.2.mlp.*": {"bits": 16, "data_type": "fp"},
            },
        )
    ),
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


NVFP4 = {
    "quant_method": "compressed-tensors",
    "format": "nvfp4-pack-quantized",
    "config_groups": {
        "group_0": {
            "format": "nvfp4-pack-quantized",
            "targets": ["Linear"],
            "weights": scheme(4, 16, True, "float", "tensor_group"),
        }
    },
}
NOTHING: Change = lambda tensors, config: None  # noqa: E731
INPUT, UNSUPPORTED = 3, 4

REFUSALS: dict[str, Refusal] = {
    "bitsandbytes": Refusal(
        entry("bitsandbytes", load_in_4bit=True),
        UNSUPPORTED,
        "quantized by bitsandbytes, which is not read; use the original checkpoint",
    ),
    "bitsandbytes-unnamed": Refusal(only_config({"load_in_8bit": True}), UNSUPPORTED, "quantized by bitsandbytes"),
    "hqq": Refusal(entry("hqq"), UNSUPPORTED, "quantized by HQQ"),
    "mxfp4": Refusal(entry("mxfp4"), UNSUPPORTED, "quantized by MXFP4"),
    "torchao": Refusal(entry("torchao"), UNSUPPORTED, "quantized by torchao"),
    "unknown": Refusal(entry("next-big-thing"), UNSUPPORTED, "quantized by next-big-thing, which is not read"),
    "no-method": Refusal(only_config({"bits": 4}), INPUT, "it has no quant_method"),
    "mlx": Refusal(lambda t, c: c.update(quantization={"group_size": 64, "bits": 4}), UNSUPPORTED, "quantized by MLX"),
    "nvfp4": Refusal(only_config(NVFP4), UNSUPPORTED, "format is 'nvfp4-pack-quantized'"),
    "nvfp4-modelopt": Refusal(
        entry("modelopt", quant_algo="NVFP4"), UNSUPPORTED, "quant_algo is 'NVFP4', read are FP8"
    ),
    "nvfp4-tensors": Refusal(nvfp4_modelopt, UNSUPPORTED, "which is not read (NVFP4?): use the original checkpoint"),
    "nvfp4-modelopt-file": Refusal(
        NOTHING,
        UNSUPPORTED,
        "quant_algo is 'NVFP4'",
        files={"hf_quant_config.json": json.dumps({"quantization": {"quant_algo": "NVFP4"}})},
    ),
    "gptq-3bit": Refusal(gptq(config={"bits": 3}), UNSUPPORTED, "bits is 3, read are 4 and 8"),
    "gptq-marlin": Refusal(gptq(config={"checkpoint_format": "marlin"}), UNSUPPORTED, "checkpoint_format is 'marlin'"),
    "gptq-act-order": Refusal(gptq(desc_act=True, g_idx="permuted"), UNSUPPORTED, "in the order of activations"),
    "gptq-act-order-unsaid": Refusal(gptq(g_idx="permuted"), UNSUPPORTED, "in the order of activations"),
    "gptq-act-order-no-index": Refusal(
        gptq(desc_act=True, g_idx=None), UNSUPPORTED, "in the order of activations (desc_act)"
    ),
    "gptq-index-range": Refusal(gptq(g_idx="out of range"), INPUT, "puts column 3 into group 1000, there are 4"),
    "gptq-no-zeros": Refusal(then(gptq(), drop("*.qzeros")), INPUT, "is missing: without zero points"),
    "gptq-no-config": Refusal(
        then(gptq(), lambda t, c: c.pop("quantization_config")),
        INPUT,
        "is packed, and config.json has no quantization_config",
    ),
    "gptq-wrong-group": Refusal(gptq(config={"group_size": 64}), INPUT, "do not fit the group_size of config.json"),
    "gptq-short-scales": Refusal(then(gptq(), reshape("*.scales", lambda x: x[:, :-1])), INPUT, "expected [groups, "),
    "gptq-short-weight": Refusal(then(gptq(), reshape("*.qweight", lambda x: x[:-1])), INPUT, "in 4 or 8 bits"),
    "awq-gemv": Refusal(awq(config={"version": "gemv"}), UNSUPPORTED, "version is 'gemv', read is gemm"),
    "awq-8bit": Refusal(awq(config={"bits": 8}), UNSUPPORTED, "bits are 8, read are 4 in this packing"),
    "auto-round-mxfp": Refusal(
        entry("auto-round", bits=4, data_type="mx_fp", packing_format="auto_round:llm_compressor"),
        UNSUPPORTED,
        "data_type is 'mx_fp', read is int; packing_format is 'auto_round:llm_compressor'",
    ),
    "compressed-act-order": Refusal(
        compressed(actorder="group", g_idx="permuted"), UNSUPPORTED, "weight_g_idx', desc_act or actorder"
    ),
    "compressed-sparse": Refusal(
        then(
            compressed(), lambda t, c: c["quantization_config"].update(sparsity_config={"format": "sparse-24-bitmask"})
        ),
        UNSUPPORTED,
        "sparsity_config is set",
    ),
    "compressed-rotated": Refusal(
        then(compressed(), lambda t, c: c["quantization_config"].update(transform_config={"config_groups": {"r": 1}})),
        UNSUPPORTED,
        "transform_config is set: the weights are rotated",
    ),
    "compressed-wrong-shape": Refusal(
        then(compressed(), reshape("*.weight_shape", lambda x: x[::-1])), INPUT, "says that the shape is"
    ),
    "compressed-zeros-shape": Refusal(
        then(compressed(sym=False), reshape("*.weight_zero_point", lambda x: x[:-1])),
        INPUT,
        "weight_zero_point' in 'model.safetensors' has shape",
    ),
    "fp8-no-scale": Refusal(then(float8(), drop("*gate_proj.weight_scale_inv")), INPUT, "is F8_E4M3 and has no scale"),
    "fp8-two-scales": Refusal(then(float8(), second_scale), INPUT, "has two scales"),
    "fp8-unused-scale": Refusal(
        then(float8(), stray_scale), INPUT, "up_proj.weight_scale_inv' (1 of 9 layers are surplus)"
    ),
    "fp8-widened-codes": Refusal(then(float8(), widened_codes), INPUT, "is BF16 and has a scale"),
    "fp8-wrong-scale": Refusal(
        then(float8(), reshape("*down_proj.weight_scale_inv", lambda x: x[:, :-1])),
        INPUT,
        "expected one number or [128, 1] or [1, 3] (blocks of 128 x 128)",
    ),
    "fp8-no-block-size": Refusal(
        then(float8(), without_key("weight_block_size")), INPUT, "config.json names no block size"
    ),
    "fp8-bad-block-size": Refusal(
        float8(config={"weight_block_size": [0, 128]}),
        INPUT,
        "/quantization_config/weight_block_size is [0,128], expected two sizes",
    ),
    "fp8-other-format": Refusal(float8(config={"fmt": "e3m4"}), UNSUPPORTED, "fmt is 'e3m4'"),
    "lora": Refusal(
        lambda t, c: t.update({"base_model.model.layers.0.q_proj.lora_A.weight": store("F32", np.zeros((4, 4)))}),
        UNSUPPORTED,
        "merge it into the model first",
    ),
    "gguf": Refusal(
        NOTHING,
        UNSUPPORTED,
        "'model-q4.gguf' is a GGUF file; use the original checkpoint in safetensors",
        files={"model-q4.gguf": "GGUF"},
        drops_weights=True,
    ),
    "pickle": Refusal(
        NOTHING, UNSUPPORTED, "it holds 'pytorch_model.bin'", files={"pytorch_model.bin": "PK"}, drops_weights=True
    ),
}


def make(
    base: Path, change: Change, out: Path, files: dict[str, str] | None = None, drops_weights: bool = False
) -> tuple[Tensors, Config]:
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
