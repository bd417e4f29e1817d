"""What is compiled for which GPU, and what the compiled graph must hold."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import bench
import wide

# name in layer/device.cpp: whether it has a matrix engine (XMX)
FAMILIES = {
    "xe-lp": False,
    "meteor-lake": False,
    "arrow-lake": True,
    "dg2": True,
    "lunar-lake": True,
    "battlemage": True,
    "panther-lake": True,
}
FORMATS = {
    "fp16": ("--weight-format", "fp16"),
    "int8": ("--weight-format", "int8"),
    "int4": ("--weight-format", "int4"),
    "int4-sym": ("--weight-format", "int4", "--sym"),
    "nf4": ("--weight-format", "nf4"),
    "mxfp4": ("--weight-format", "mxfp4"),
}
FORMS = ("stateful", "paged")
VISION = ("dense-vl", "moe-vl", "kjv-tiny")
VISION_MODELS = ("openvino_text_embeddings_model", "openvino_vision_embeddings_model",
                 "openvino_vision_embeddings_pos_model", "openvino_vision_embeddings_merger_model")  # fmt: skip
# Value heads 1, 2 and 3 times the key heads; Qwen3-Next; the language part of vision-language checkpoints; wide ones.
LANGUAGE = ("dense-v1", "dense-v2", "dense-v3", "next-r2", "moe-vl", "wide-dense", "wide-moe", "narrow-moe",
            "slim-moe")  # fmt: skip


@dataclass(frozen=True)
class Row:
    family: str
    model: str
    format: str
    form: str
    file: str = "openvino_model"
    hint: str = "f16"

    @property
    def name(self) -> str:
        file = "" if self.file == "openvino_model" else "-" + self.file.removeprefix("openvino_")
        return f"{self.family}-{self.model}{file}-{self.format}-{self.form}"


def everything() -> list[Row]:
    rows = [Row(family, model, format_, form) for family in FAMILIES for model in LANGUAGE for format_ in FORMATS
            for form in FORMS]  # fmt: skip
    for family in FAMILIES:
        for model in VISION:
            for format_ in ("fp16", "int8", "int4"):
                rows += [Row(family, model, format_, "stateful", file)
                         for file in (*VISION_MODELS, "openvino_language_model")]  # fmt: skip
    return rows


def is_usual(row: Row) -> bool:
    """Whether a row belongs to `make gpu`; the others are in `make gpu FULL=1`."""
    if row.family == "arrow-lake":
        return False
    if row.model in VISION and row.file != "openvino_model":
        return row.model == "kjv-tiny" and row.format == "int8"
    if row.model in ("wide-dense", "wide-moe"):
        return row.family in ("xe-lp", "lunar-lake") or row.format in ("fp16", "int4")
    if row.model in ("narrow-moe", "slim-moe"):
        return row.format == "int4" and row.form == "stateful"
    return row.model in ("dense-v1", "dense-v3", "next-r2") and row.format == "int4"


def rows() -> list[Row]:
    chosen = [row for row in everything() if bench.FULL or is_usual(row)]
    if not bench.REAL:
        return chosen
    same = {(row.model, row.format, row.form, row.file): row for row in chosen}
    return [Row("this", *key[:3], key[3]) for key in same]


def with_processor(model: str, copy: Path) -> Path:
    """A golden vision-language checkpoint beside the picture settings of the bundled one, in its own patch size."""
    shutil.copytree(bench.GOLDEN / model, copy)
    patch = json.loads((copy / "config.json").read_text())["vision_config"]["patch_size"]
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        settings = json.loads((bench.KJV / name).read_text()) | {"patch_size": patch}
        (copy / name).write_text(json.dumps(settings))
    return copy


@cache
def source_of(model: str, folder: Path) -> Path:
    if model in wide.SIZES:
        return wide.make(model, folder)
    if model in VISION and model != "kjv-tiny":
        return with_processor(model, folder / f"{model}-checkpoint")
    return bench.KJV if model == "kjv-tiny" else bench.GOLDEN / model


def exported(row: Row, folder: Path) -> Path:
    """The directory of a row, exported once for all families and forms."""
    vision = row.file != "openvino_model"
    task = "image-text-to-text" if vision else "text-generation-with-past"
    name = f"{row.model}-{row.format}{'-vision' if vision else ''}"
    source = bench.Source(source_of(row.model, folder), (*FORMATS[row.format], "--task", task))
    return bench.export(source, folder / name)


def text_config(directory: Path) -> dict:
    config = json.loads((directory / "config.json").read_text())
    return config.get("text_config", config)


def vision_depth(directory: Path) -> int:
    return json.loads((directory / "config.json").read_text())["vision_config"]["depth"]


@cache
def has_matrix_engine(family: str) -> bool:
    """A GPU of this machine (family "this") is asked."""
    if family in FAMILIES:
        return FAMILIES[family]
    answer = bench.run_jobs([{"job": "capabilities"}])[0]
    assert "error" not in answer, answer["error"]
    return "GPU_HW_MATMUL" in answer["capabilities"]


def experts_fuse(row: Row) -> bool:
    return has_matrix_engine(row.family) and row.format != "fp16"


def expected_layers(row: Row, directory: Path) -> dict[str, int]:
    """How often which operation must stand in the compiled graph of a language model."""
    config = text_config(directory)
    layers = config["num_hidden_layers"]
    full = layers // config["full_attention_interval"]
    linear = layers - full
    counts = {"RoPE": 2 * full, "rms": 2 * layers + 1 + 2 * full + linear}
    if row.form == "stateful":
        counts |= {"GatedDeltaNet": linear, "Convolution": linear, "kv_cache": 2 * full}
        # Without a matrix engine the plugin takes attention apart where a head is narrower than 64.
        if has_matrix_engine(row.family) or config["head_dim"] >= 64:
            counts["scaled_dot_product_attention"] = full
    else:
        counts |= {"paged_gated_delta_net": linear, "PagedCausalConv1D": linear, "paged_attention": full}
        counts |= {"read_value": 0, "assign": 0, "kv_cache": 0}
    if "num_experts" in config:
        fused = layers if experts_fuse(row) else 0
        routers = layers if has_matrix_engine(row.family) else 0
        counts |= {"moe_3gemm_fused_compressed": fused, "moe_router_fused": routers}
    return counts


# Beside the weights a compiled model holds buffers that do not depend on their format.
BUFFERS = 700_000


def weights_stay(row: Row) -> bool | None:
    """Whether the weights of a wide model must take as many bytes as they have in the file; None: not asked."""
    if row.family not in FAMILIES or not row.model.startswith("wide-"):
        return None
    if row.format == "fp16":
        return True
    if row.format in ("nf4", "mxfp4"):
        # The plugin widens these to f16. The experts beside them are u4, so a model of experts is in between.
        return False if row.model == "wide-dense" else None
    return row.model == "wide-dense" or experts_fuse(row)
