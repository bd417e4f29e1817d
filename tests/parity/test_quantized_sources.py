"""Quantized checkpoints against the vendors' own dequantization, and their logits against transformers.

tests/e2e/test_quantized_sources.py holds the exported files against tests/sources/read_back.py; here that reader
is held against transformers (FP8) and compressed-tensors, and the exported model against transformers on the
dequantized checkpoint.
"""

import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
import transformers
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from transformers.integrations import finegrained_fp8

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import make_variants  # noqa: E402
import read_back  # noqa: E402
from stored import Stored, store, values_of, write  # noqa: E402

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
BASES = {"kjv-tiny": KJV, "moe-e8k2": GOLDEN / "moe-e8k2", "moe-split": GOLDEN / "moe-split"}
OLD = ["compressed-plain-zeros"]  # as older releases wrote zero points; 0.20 reads packed ones only
COMPRESSED = [
    n
    for n in make_variants.VARIANTS
    if n.startswith(("compressed", "fp8-compressed")) and "experts" not in n and n not in OLD
]
LOGITS = [
    "fp8",
    "fp8-e5m2",
    "gptq",
    "gptq-asym",
    "gptq-8bit",
    "awq",
    "auto-round",
    "auto-round-asym",
    "compressed",
    "compressed-asym",
    "compressed-bytes",
]
TORCH = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "BF16": torch.bfloat16}


def to_torch(tensor: Stored) -> torch.Tensor:
    value = torch.from_numpy(np.ascontiguousarray(tensor.bits).copy())
    return value.view(TORCH[tensor.dtype]) if tensor.dtype in TORCH else value


def make(name: str, out: Path):
    row = make_variants.VARIANTS[name]
    tensors, config = make_variants.make(BASES[row.base], row.change, out, row.files)
    return tensors, config, read_back.weights(tensors, config)


@pytest.mark.parametrize("name", ["fp8", "fp8-e5m2", "fp8-one-scale-1d", "fp8-delta-plain"])
def test_fp8_as_transformers_reads_it(name, tmp_path):
    tensors, config, truth = make(name, tmp_path)
    quantizer = type(
        "Quantizer",
        (),
        {
            "quantization_config": type(
                "Config", (), {"weight_block_size": config["quantization_config"]["weight_block_size"]}
            )
        },
    )
    compared = 0
    for weight, values in truth.items():
        scales = to_torch(tensors[weight + "_scale_inv"]).float()
        rows, columns = values.shape
        block = config["quantization_config"]["weight_block_size"] or (rows, columns)
        if rows % block[0] or columns % block[1]:
            continue  # transformers 5.2 refuses blocks that are cut
        operation = finegrained_fp8.Fp8Dequantize(quantizer)
        theirs = operation.convert(
            {"weight$": [to_torch(tensors[weight])], "weight_scale_inv": [scales]}, full_layer_name="w"
        )["w"]
        assert (theirs.numpy() == values).all(), weight
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_tensors_as_its_library_reads_it(name, tmp_path):
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors.naive_quantized import NaiveQuantizationCompressor
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationScheme

    tensors, config, truth = make(name, tmp_path)
    groups = config["quantization_config"]["config_groups"]
    for weight, ours in truth.items():
        module = weight.removesuffix(".weight")
        state = {
            key.removeprefix(module + "."): to_torch(t) for key, t in tensors.items() if key.startswith(module + ".")
        }
        bits = 8 if isinstance(ours, np.ndarray) else ours.bits
        weights = next(group["weights"] for group in groups.values() if group["weights"]["num_bits"] == bits)
        state.pop("weight_g_idx", None)  # in order
        state["weight_scale"] = state["weight_scale"].float()
        if state["weight_scale"].ndim == 1 and weights["strategy"] == "channel":
            state["weight_scale"] = state["weight_scale"][:, None]
        compressor = PackedQuantizationCompressor if "weight_packed" in state else NaiveQuantizationCompressor
        theirs = compressor.decompress(
            state, QuantizationScheme(targets=["Linear"], weights=weights | {"actorder": None})
        )["weight"]
        values = ours if isinstance(ours, np.ndarray) else ours.values()
        assert (theirs.float().numpy() == values).all(), weight


@pytest.mark.parametrize("name", LOGITS)
def test_logits_of_the_dequantized_checkpoint(name, tmp_path):
    tensors, config, truth = make(name, tmp_path / "variant")
    plain, _ = make_variants.make(KJV, lambda tensors, config: None, tmp_path / "plain")
    for weight, values in truth.items():
        plain[weight] = store("F32", values if isinstance(values, np.ndarray) else values.values())
    write(tmp_path / "plain" / "model.safetensors", {n: store("F32", values_of(t)) for n, t in plain.items()})
    theirs = transformers.Qwen3_5ForConditionalGeneration.from_pretrained(
        tmp_path / "plain", dtype=torch.float32, attn_implementation="eager"
    ).eval()

    weight_format = ("--weight-format", "fp32") if name.startswith("fp8") else ()
    result = run_deltavino(
        "export",
        "--model",
        tmp_path / "variant",
        tmp_path / "out",
        "--task",
        "text-generation-with-past",
        "--disable-convert-tokenizer",
        *weight_format,
    )
    assert result.returncode == 0, result.stderr
    request = ov.Core().compile_model(tmp_path / "out" / "openvino_model.xml", "CPU", FLOAT32).create_infer_request()
    ids = np.random.default_rng(3).integers(0, 4000, (1, 33))
    inputs = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "position_ids": np.arange(33)[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    inputs = {port.any_name: inputs[port.any_name] for port in request.get_compiled_model().inputs}
    ours = request.infer(inputs)[0]
    with torch.no_grad():
        expected = theirs(input_ids=torch.from_numpy(ids)).logits.numpy()
    error = float(((ours - expected) ** 2).sum() / (expected**2).sum())
    print(f"{name}: normalised error {error:.2e}")
    assert error < 1e-5
    assert (ours.argmax(-1) == expected.argmax(-1)).all()


def test_rows_are_counted(capsys):
    with capsys.disabled():
        print(f"\n{len(COMPRESSED)} read by compressed-tensors, 4 by transformers, {len(LOGITS)} by logits")
    assert len(COMPRESSED) >= 14
