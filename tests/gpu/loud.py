"""Checkpoints whose vision tower has activations beyond the range of f16 (65504), as trained ones are reported to.

Made from a golden one: places of the tower are scaled by powers of two, which bf16 holds without rounding.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

# Exponents by the end of a tensor's name.
PLACES: dict[str, dict[str, int]] = {
    # 4e5 before and behind the activation of the merger
    "merger": {"norm.weight": 8, "norm.bias": 8, "linear_fc1.weight": 9, "linear_fc1.bias": 17,
               "linear_fc2.weight": -8, "linear_fc2.bias": 9},
    # 2e5 in the sums of the blocks
    "residual": {"mlp.linear_fc2.weight": 16, "mlp.linear_fc2.bias": 16},
}  # fmt: skip
MODULES = {"merger": "model.visual.merger.", "residual": "model.visual.blocks.0."}


def scaled(bits: np.ndarray, exponent: int) -> np.ndarray:
    """bf16 numbers, as their bits, times a power of two."""
    wide = (bits.astype(np.uint32) << 16).view(np.float32) * np.float32(2.0**exponent)
    return (wide.view(np.uint32) >> 16).astype(np.uint16)


def change(folder: Path, prefix: str, exponents: dict[str, int]) -> None:
    """Scales tensors of the checkpoint in place; all must be there."""
    missing = set(exponents)
    for file in folder.glob("*.safetensors"):
        data = bytearray(file.read_bytes())
        begin = 8 + int.from_bytes(data[:8], "little")
        for name, about in json.loads(data[8:begin]).items():
            end = name.removeprefix(prefix)
            if name.startswith(prefix) and end in exponents:
                assert about["dtype"] == "BF16", (name, about)
                first, last = (begin + offset for offset in about["data_offsets"])
                data[first:last] = scaled(np.frombuffer(data[first:last], np.uint16), exponents[end]).tobytes()
                missing.discard(end)
        file.write_bytes(data)
    assert not missing, missing


def make(place: str, copy: Callable[[Path], Path], folder: Path) -> Path:
    """`copy` makes the checkpoint that is changed."""
    if not folder.exists():
        copy(folder)
        change(folder, MODULES[place], PLACES[place])
    return folder
