"""How far transformers itself moves in f16: the bounds of tests/gpu/test_numbers.py. Needs .venv-parity.

    half_precision.py > half_precision.json

Two figures for each model and schedule: the weights and activations in f16 and the delta rule in float32, as
transformers runs it; and the delta rule in f16 as well, as the GPU plugin runs it. Errors are shares of the largest
logit of float32.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "golden"))

import torch
import transformers
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from cases import all_cases
from reference import load_model

MODELS = ("dense-v2", "moe-e8k2", "dense-long")


class Narrow(TorchFunctionMode):
    """Turns the casts to float32 that modelling code spells out into casts to f16."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def half(value):
            return torch.float16 if value is torch.float32 else value

        func = torch.Tensor.half if func is torch.Tensor.float else func
        return func(*map(half, args), **{key: half(value) for key, value in (kwargs or {}).items()})


def figures(model: torch.nn.Module, expected: dict, narrow: bool) -> dict[str, float]:
    with torch.no_grad(), Narrow() if narrow else contextlib.nullcontext():
        ids = expected["input_ids"]
        logits = torch.stack([model(input_ids=row[None], attention_mask=torch.ones_like(row)[None],
                                    use_cache=False).logits[0] for row in ids])  # fmt: skip
    logits = torch.Tensor.float(logits)[:, -expected["logits"].shape[1] :]
    error = (logits - expected["logits"]).abs() / expected["logits"].abs().max()
    return {"largest": round(float(error.max()), 5), "mean": round(float(error.mean()), 6)}


def measure(models: tuple[str, ...] = MODELS) -> dict:
    found = {}
    for case in all_cases():
        if case.name in models:
            folder = HERE.parent / "golden" / case.name
            model = load_model(folder, case).half()
            expected = load_file(folder / "expected.safetensors")
            found[case.name] = {
                "rule in f32": figures(model, expected, False),
                "rule in f16": figures(model, expected, True),
            }
    return found


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    print(json.dumps(measure(), indent=2))
