"""Adapters that peft saves, merged by `export --lora`, against exports of what peft itself merges."""

import json
import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from conftest import GOLDEN, KJV, run_deltavino
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

TEXT = ("--task", "text-generation-with-past", "--disable-convert-tokenizer")
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "out_proj"]
QWEN35 = [*EVERY, "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b"]
NEXT = ["q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "in_proj_qkvz", "in_proj_ba"]


def tuned(checkpoint: Path, dtype: torch.dtype, kind=AutoModelForCausalLM, **config: object) -> peft.PeftModel:
    """The checkpoint with an adapter of random factors."""
    torch.manual_seed(7)
    base = kind.from_pretrained(checkpoint, dtype=dtype)
    model = peft.get_peft_model(base, peft.LoraConfig(**config))
    for name, tensor in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            tensor.data += 0.05 * torch.randn_like(tensor)
    return model


def save(model: peft.PeftModel, checkpoint: Path, folder: Path) -> tuple[Path, Path]:
    """The adapter alone, and the merged checkpoint."""
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "merged")
    for file in checkpoint.glob("*token*"):
        shutil.copy(file, folder / "merged")
    return folder / "adapter", folder / "merged"


def export(model: Path, out: Path, *options: object) -> Path:
    result = run_deltavino("export", "-m", model, out, *TEXT, "--no-mtp", *options)
    assert result.returncode == 0, result.stderr
    return out


def weights(model: Path, dtype: type = np.uint32) -> np.ndarray:
    return np.fromfile(model / "openvino_model.bin", dtype)


def distance(left: np.ndarray, right: np.ndarray) -> float:
    """The largest difference of float32 values; whatever else the files hold must be equal."""
    assert left.shape == right.shape
    differs = left != right
    return float(np.abs(left[differs].view(np.float32) - right[differs].view(np.float32)).max(initial=0.0))


def float32_copy(checkpoint: Path, out: Path) -> Path:
    """transformers reads and writes the checkpoint, so that both exports begin with the same names and types."""
    AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).save_pretrained(out)
    for file in checkpoint.glob("*token*"):
        shutil.copy(file, out)
    return out


def compare(base: Path, adapter: Path, merged: Path, folder: Path) -> None:
    ours = weights(export(base, folder / "ours", "--lora", adapter, "--weight-format", "fp32"))
    theirs = weights(export(merged, folder / "theirs", "--weight-format", "fp32"))
    plain = weights(export(base, folder / "plain", "--weight-format", "fp32"))
    assert distance(ours, theirs) <= 1e-6
    assert distance(plain, theirs) > 0.01, "the adapter changes nothing"


CASES = {
    "dense": ("dense-v2", {"r": 4, "lora_alpha": 8, "target_modules": QWEN35}),
    "patterns": (
        "dense-v2",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": QWEN35,
            "rank_pattern": {"q_proj": 2, r"layers\.1\..*_proj": 3, "^model.layers.0.mlp.up_proj": 5},
            "alpha_pattern": {"layers.0.mlp.down_proj": 24, r".*\.out_proj": 1},
        },
    ),
    "rslora": ("dense-v2", {"r": 9, "lora_alpha": 6, "use_rslora": True, "target_modules": QWEN35}),
    "saved-modules": (
        "dense-v2",
        {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj"], "modules_to_save": ["norm", "k_proj", "lm_head"]},
    ),
    "next": ("next-r2", {"r": 4, "lora_alpha": 8, "target_modules": NEXT}),
}


@pytest.mark.parametrize("case", CASES)
def test_merged_as_peft_merges(case, tmp_path):
    name, config = CASES[case]
    base = float32_copy(GOLDEN / name, tmp_path / "base")
    adapter, merged = save(tuned(base, torch.float32, **config), base, tmp_path)
    compare(base, adapter, merged, tmp_path)


def test_prefix_of_the_vision_language_class(tmp_path):
    """Names with 'language_model', and an adapter of bfloat16 factors, on the language model alone."""
    model = tuned(KJV, torch.float32, AutoModelForImageTextToText, r=4, lora_alpha=8, target_modules=QWEN35)
    model.save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    assert all("language_model" in name for name in load_file(file))
    halves = {name: tensor.bfloat16() for name, tensor in load_file(file).items()}
    save_file(halves, file)
    for name, tensor in model.named_parameters():
        if "lora_" in name:
            tensor.data = tensor.data.bfloat16().float()
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    for side in KJV.glob("*token*"):
        shutil.copy(side, tmp_path / "merged")
    compare(KJV, tmp_path / "adapter", tmp_path / "merged", tmp_path)


def test_stored_in_bfloat16(tmp_path):
    """One rounding: all but a few values are peft's, and those are neighbours."""
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(GOLDEN / "dense-v2", dtype=torch.bfloat16).save_pretrained(base)
    adapter, merged = save(tuned(base, torch.bfloat16, r=4, lora_alpha=8, target_modules=EVERY), base, tmp_path)
    ours = export(base, tmp_path / "ours", "--lora", adapter, "--weight-format", "bf16")
    theirs = export(merged, tmp_path / "theirs", "--weight-format", "bf16")
    a = weights(ours, np.uint16).astype(np.int64)
    b = weights(theirs, np.uint16).astype(np.int64)
    assert (a != b).mean() < 1e-3
    assert json.loads((ours / "openvino_config.json").read_text())["deltavino"]["adapter"]["source"] == "adapter"


def test_embedding(tmp_path):
    """Factors of an embedding lie across; the head of this model is its own."""
    base = float32_copy(GOLDEN / "dense-v2", tmp_path / "base")
    assert not json.loads((base / "config.json").read_text())["tie_word_embeddings"]
    model = tuned(base, torch.float32, r=4, lora_alpha=8, target_modules=["embed_tokens", "lm_head"])
    adapter, merged = save(model, base, tmp_path)
    compare(base, adapter, merged, tmp_path)


@pytest.mark.parametrize("kind", ["dora", "loha", "bias", "parameters"])
def test_refused_by_name(kind, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(GOLDEN / ("moe-e8k2" if kind == "parameters" else "dense-v2"))
    lora = {"r": 4, "target_modules": ["q_proj"]}
    config = {
        "dora": lambda: peft.LoraConfig(**lora, use_dora=True),
        "loha": lambda: peft.LoHaConfig(**lora),
        "bias": lambda: peft.LoraConfig(**lora, bias="all"),
        "parameters": lambda: peft.LoraConfig(**lora, target_parameters=["mlp.experts.down_proj"]),
    }[kind]()
    peft.get_peft_model(base, config).save_pretrained(tmp_path / "adapter")
    checkpoint = GOLDEN / ("moe-e8k2" if kind == "parameters" else "dense-v2")
    result = run_deltavino("export", "-m", checkpoint, tmp_path / "out", *TEXT, "--lora", tmp_path / "adapter")
    assert result.returncode == 4, result.stderr
    says = {"dora": "use_dora", "loha": "peft_type", "bias": "bias", "parameters": "target_parameters"}[kind]
    assert says in result.stderr and not (tmp_path / "out").exists()
