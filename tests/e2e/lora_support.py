"""Adapters with random factors, as peft's save_pretrained writes them."""

import json
import sys
from pathlib import Path

import numpy as np
from conftest import ROOT
from exported import stored_tensors

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import stored  # noqa: E402

CONFIG = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "base",
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "inference_mode": True,
    "lora_dropout": 0.0,
    "modules_to_save": None,
    "use_dora": False,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "r": 4,
    "lora_alpha": 8,
}
Factors = dict[str, tuple[np.ndarray, np.ndarray]]


def factors_of(checkpoint: Path, ends: tuple[str, ...], rank: int = 4, seed: int = 1) -> Factors:
    """A [rank, columns] and B [rows, rank] for each module whose path ends so."""
    random = np.random.default_rng(seed)
    found = {}
    for name, (_, shape, *_) in stored_tensors(checkpoint).items():
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and len(shape) == 2 and module.endswith(ends):
            found[module] = (
                (0.2 * random.standard_normal((rank, shape[1]))).astype(np.float32),
                (0.2 * random.standard_normal((shape[0], rank))).astype(np.float32),
            )
    assert found, ends
    return found


def write_adapter(folder: Path, factors: Factors, prefix: str = "base_model.model.", dtype: str = "F32", end: str = "",
                  more: dict[str, np.ndarray] | None = None, **config: object) -> Path:  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}))
    tensors = {}
    for module, (a, b) in factors.items():
        tensors[f"{prefix}{module}.lora_A{end}.weight"] = stored.store(dtype, a)
        tensors[f"{prefix}{module}.lora_B{end}.weight"] = stored.store(dtype, b)
    for name, values in (more or {}).items():
        tensors[prefix + name] = stored.store("F32", values)
    stored.write(folder / "adapter_model.safetensors", tensors)
    return folder
