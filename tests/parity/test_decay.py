"""Decays at both ends of what a checkpoint can hold, against transformers: a memory that is wiped at every token, and
one that never fades, over thousands of tokens."""

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from conftest import GOLDEN, run_deltavino
from safetensors.torch import load_file, save_file
from transformers import Qwen3_5ForCausalLM

DENSE = GOLDEN / "dense-v1"
TOKENS = 4096
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
BFLOAT16 = {"INFERENCE_PRECISION_HINT": "bf16", "KV_CACHE_PRECISION": "bf16"}


def with_decay(folder: Path, a_log: float, dt_bias: float, write_gate: float, values: float) -> Path:
    """dense-v1 with g = -exp(a_log) softplus(a + dt_bias) and values that are so many times as large."""
    weights = load_file(DENSE / "model.safetensors")
    config = json.loads((DENSE / "config.json").read_text())
    keys = 2 * config["linear_num_key_heads"] * config["linear_key_head_dim"]
    for name, tensor in weights.items():
        if name.endswith("A_log"):
            tensor.fill_(a_log)
        elif name.endswith("dt_bias"):
            tensor.fill_(dt_bias)
        elif name.endswith("in_proj_b.weight"):
            tensor.mul_(write_gate)
        elif name.endswith("in_proj_qkv.weight"):
            tensor[keys:].mul_(values)
    folder.mkdir()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def theirs(checkpoint: Path, ids: np.ndarray) -> np.ndarray:
    model = Qwen3_5ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.numpy()


def ours(directory: Path, ids: np.ndarray, config: dict, piece: int) -> np.ndarray:
    request = ov.Core().compile_model(directory / "openvino_model.xml", "CPU", config).create_infer_request()
    found = []
    for begin in range(0, ids.shape[1], piece):
        part = ids[:, begin : begin + piece]
        inputs = {"input_ids": part, "attention_mask": np.ones((1, begin + part.shape[1]), np.int64),
                  "position_ids": np.arange(begin, begin + part.shape[1])[None], "beam_idx": np.zeros(1, np.int32)}  # fmt: skip
        request.infer({name: inputs[name] for name in inputs if any(name in port.names for port in request.model_inputs)})
        found.append(request.get_tensor("logits").data.copy())
    return np.concatenate(found, axis=1)


# g = -90 at every token; g of about -6e-6, gates that are open or shut, and values a thousand times as large.
CASES = {"wiped": (np.log(3.0), 30.0, 1.0, 1.0), "never fades": (-12.0, 0.0, 30.0, 1000.0)}


@pytest.mark.parametrize("case", CASES)
def test_decay(case, tmp_path):
    checkpoint = with_decay(tmp_path / "checkpoint", *CASES[case])
    out = tmp_path / "out"
    run = run_deltavino("export", "-m", checkpoint, out, "--weight-format", "fp32", "--disable-convert-tokenizer")
    assert run.returncode == 0, run.stderr
    ids = np.random.default_rng(7).integers(1, 128, (1, TOKENS))
    expected = theirs(checkpoint, ids)
    assert np.isfinite(expected).all()
    for piece in (TOKENS, 500):
        error = np.abs(ours(out, ids, FLOAT32, piece) - expected).max() / np.abs(expected).max()
        assert error < 1e-4, (piece, error)
    rounded = ours(out, ids, BFLOAT16, 500)
    assert np.isfinite(rounded).all()
    assert np.abs(rounded - expected).mean() / np.abs(expected).max() < 0.02


def test_the_decays_are_what_they_are_called(tmp_path):
    """A memory that is wiped does not know the first token after the convolution has left it; one that stays does."""
    ids = np.random.default_rng(7).integers(1, 128, (1, 256))
    other = ids.copy()
    other[0, 0] = (ids[0, 0] + 5) % 127 + 1
    for case, figures in CASES.items():
        checkpoint = with_decay(tmp_path / case, *figures)
        weights = load_file(checkpoint / "model.safetensors")
        for name, tensor in weights.items():  # attention would remember
            if name.endswith("self_attn.o_proj.weight"):
                tensor.zero_()
        save_file(weights, checkpoint / "model.safetensors", {"format": "pt"})
        change = np.abs(theirs(checkpoint, ids) - theirs(checkpoint, other))[0, -1].max()
        assert (change == 0) == (case == "wiped"), (case, change)
