"""The vision tower in f16, with activations beyond the range of f16: trained ones are reported to have them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import bench
import loud
import matrix

XML = "openvino_vision_embeddings_merger_model.xml"
MODEL, PATCHES = "dense-vl", 32
F16 = {"INFERENCE_PRECISION_HINT": "f16"}


def exported(place: str, format_: str, models) -> bench.Path:
    """The merger model of a checkpoint that is scaled at `place`; of the golden one where that is empty."""
    folder = models / f"{MODEL}-{place or 'as-is'}"
    if place:
        loud.make(place, lambda copy: matrix.with_processor(MODEL, copy), folder)
    elif not folder.exists():
        matrix.with_processor(MODEL, folder)
    options = ("--weight-format", format_, "--task", "image-text-to-text")
    return bench.export(bench.Source(folder, options), folder.with_name(f"{folder.name}-{format_}")) / XML


def inputs(models) -> bench.Path:
    """Patches of two pictures that do not see each other."""
    config = json.loads((bench.GOLDEN / MODEL / "config.json").read_text())["vision_config"]
    width, stream = config["hidden_size"], np.random.default_rng(1)
    first = np.arange(PATCHES) < PATCHES // 2
    apart = first[:, None] != first[None]
    file = models / "vision-inputs.safetensors"
    save_file({"hidden_states": stream.standard_normal((PATCHES, width)).astype(np.float32),
               "attention_mask": np.where(apart, np.float32(-65504), np.float32(0))[None],
               "rotary_pos_emb": stream.standard_normal((PATCHES, width // config["num_heads"] // 2)).astype(np.float32)},
              file)  # fmt: skip
    return file


@pytest.mark.parametrize("format_", ["fp16", "int8"])
@pytest.mark.parametrize("place", ["", *loud.PLACES])
@bench.needs_half
def test_large_activations_stay_finite_and_right(place, format_, models):
    """Against the CPU plugin in f32 on the same file; an overflow is infinite here."""
    job = {"job": "outputs", "xml": str(exported(place, format_, models)), "inputs": str(inputs(models)), "config": F16}
    answer = bench.run_jobs([job])[0]
    assert "error" not in answer, answer["error"]
    assert answer["largest"] < 5e-3 and answer["mean"] < 1e-3, answer


@pytest.mark.parametrize("format_", ["fp16", "int8"])
def test_float32_is_exact(format_, models):
    job = {"job": "outputs", "xml": str(exported("", format_, models)), "inputs": str(inputs(models)),
           "config": {"INFERENCE_PRECISION_HINT": "f32"}}  # fmt: skip
    answer = bench.run_jobs([job])[0]
    assert "error" not in answer, answer["error"]
    assert answer["largest"] < 1e-5, answer


@pytest.mark.skipif(bench.REAL, reason="about the layer's families")
@pytest.mark.parametrize("family", [name for name in matrix.FAMILIES if name != "arrow-lake"])
def test_the_merger_alone_is_computed_in_float32(family, models):
    """Of the products of the whole tower the last one; every other would cost what f16 saves."""
    job = {"job": "compile", "xml": str(exported("", "int8", models)), "paged": False, "config": F16}
    answer = bench.run_jobs([job], family, stubs=True)[0]
    assert "error" not in answer, answer["error"]
    assert answer["wide"] == ["model.visual.merger.linear_fc2"], answer["wide"]
