"""Compare regenerated golden files with the committed ones and print a table."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

# Of the largest magnitude in the tensor: float32 sums depend on the host's vector unit (1.0e-5 was seen on the
# longest case), and the tests that read these files allow 1e-4.
TOLERANCE = 2e-5


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
        return math.inf
    if not old.is_floating_point():
        return 0.0 if torch.equal(old, new) else math.inf
    difference = (old.double() - new.double()).abs().max()
    error = (difference / old.double().abs().max().clamp(min=1e-30)).item()
    return error if math.isfinite(error) else math.inf


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
    if not new.exists():
        return Verdict(name, False, "is committed but no longer generated")
    if name.endswith(".json"):
        return compare_json(name, old, new)
    if Path(name).name.startswith("model"):
        return compare_checkpoint(name, old, new)
    return compare_expected(name, old, new)


def files_below(root: Path, folders: list[str]) -> set[str]:
    """Paths of all files in some folders, relative to the root."""
    found = (path for folder in folders for path in (root / folder).rglob("*"))
    return {str(path.relative_to(root)) for path in found if path.is_file()}


def compare_folders(committed: Path, fresh: Path, folders: list[str]) -> list[Verdict]:
    """A verdict for each file of the named folders."""
    names = files_below(committed, folders) | files_below(fresh, folders)
    return [compare_file(name, committed / name, fresh / name) for name in sorted(names)]


def print_table(verdicts: list[Verdict]) -> None:
    """One line per file."""
    width = max((len(v.file) for v in verdicts), default=0)
    for v in verdicts:
        print(f"{'ok  ' if v.same else 'FAIL'}  {v.file:<{width}}  {v.detail}")
