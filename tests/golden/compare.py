"""Compare regenerated golden files with the committed ones and print a table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

TOLERANCE = 1e-5  # of the largest magnitude in the tensor


@dataclass(frozen=True)
class Verdict:
    """The outcome for one file."""

    file: str
    same: bool
    detail: str


def bytes_equal(old: torch.Tensor, new: torch.Tensor) -> bool:
    """Same dtype, shape and bits."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return False
    return torch.equal(old.flatten().view(torch.uint8), new.flatten().view(torch.uint8))


def relative_error(old: torch.Tensor, new: torch.Tensor) -> float:
    """Largest difference over the largest magnitude; infinite if the tensors do not match."""
    if old.dtype != new.dtype or old.shape != new.shape:
        return float("inf")
    if not old.is_floating_point():
        return 0.0 if torch.equal(old, new) else float("inf")
    difference = (old.double() - new.double()).abs().max()
    return (difference / old.double().abs().max().clamp(min=1e-30)).item()


def compare_checkpoint(name: str, old: Path, new: Path) -> Verdict:
    """Weights must be identical bit by bit."""
    before, after = load_file(old), load_file(new)
    if before.keys() != after.keys():
        return Verdict(name, False, f"tensor names differ: {sorted(before.keys() ^ after.keys())}")
    wrong = [key for key in before if not bytes_equal(before[key], after[key])]
    return Verdict(name, not wrong, f"{len(before)} tensors, {len(wrong)} differ {wrong[:3] or ''}")


def compare_expected(name: str, old: Path, new: Path) -> Verdict:
    """Integers must be equal, floats close."""
    before, after = load_file(old), load_file(new)
    if before.keys() != after.keys():
        return Verdict(name, False, f"tensor names differ: {sorted(before.keys() ^ after.keys())}")
    errors = {key: relative_error(before[key], after[key]) for key in before}
    worst = max(errors, key=lambda key: errors[key])
    detail = f"{len(errors)} tensors, worst {worst} {errors[worst]:.1e}"
    return Verdict(name, errors[worst] <= TOLERANCE, detail)


def compare_json(name: str, old: Path, new: Path) -> Verdict:
    """JSON values must be equal; measured margins may move in the last digits."""
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (old, new))
    return Verdict(name, without_margins(before) == without_margins(after), "json")


def without_margins(value: object) -> object:
    """The value less its measured numbers, whose keys end in `margin`."""
    if isinstance(value, dict):
        return {k: without_margins(v) for k, v in value.items() if not k.endswith("margin")}
    if isinstance(value, list):
        return [without_margins(item) for item in value]
    return value


def compare_file(name: str, old: Path, new: Path) -> Verdict:
    """One file against its committed version."""
    if not old.exists():
        return Verdict(name, False, "is not committed")
    if name.endswith(".json"):
        return compare_json(name, old, new)
    if Path(name).name.startswith("model"):
        return compare_checkpoint(name, old, new)
    return compare_expected(name, old, new)


def compare_folders(committed: Path, fresh: Path) -> list[Verdict]:
    """A verdict for each freshly generated file."""
    names = sorted(str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file())
    return [compare_file(name, committed / name, fresh / name) for name in names]


def print_table(verdicts: list[Verdict]) -> None:
    """One line per file."""
    width = max((len(v.file) for v in verdicts), default=0)
    for v in verdicts:
        print(f"{'ok  ' if v.same else 'FAIL'}  {v.file:<{width}}  {v.detail}")
