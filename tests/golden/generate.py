#!/usr/bin/env python3
"""Write the golden checkpoints and the tensors that transformers computes on them.

generate.py                      # everything, into this folder
generate.py --only dense-v2      # one case
generate.py --check              # regenerate elsewhere and compare with the committed files
generate.py --condition          # compare the committed files with the same runs in float64

Generating ends with the same comparison. Exit 1 when a comparison fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

import compare
import conditioning
import kjv
import kjv_vision
import mtp
import processor
import reference
import vision
from cases import all_cases

HERE = Path(__file__).resolve().parent
TRANSFORMERS = "5.2.0"  # the version whose results are committed

Job = Callable[[Path], None]  # writes the files of one folder


def in_turn(*steps: Job) -> Job:
    """One job that does several."""

    def run(folder: Path) -> None:
        for step in steps:
            step(folder)

    return run


def jobs() -> dict[str, Job]:
    """Everything that can be generated, by name (also the folder's name)."""
    table: dict[str, Job] = {
        case.name: lambda folder, case=case: reference.generate_case(folder, case)
        for case in all_cases()
    }
    table["kjv-tiny"] = in_turn(kjv.generate, kjv_vision.generate)
    table["mtp"] = mtp.generate
    table["vision"] = in_turn(vision.generate, processor.generate)
    return table


def generate(out: Path, names: list[str]) -> None:
    """Write the named folders under `out`."""
    for name in names:
        start = time.monotonic()
        (out / name).mkdir(parents=True, exist_ok=True)
        jobs()[name](out / name)
        print(f"{name}: {time.monotonic() - start:.1f} s", file=sys.stderr)


def well_conditioned(root: Path, names: list[str]) -> bool:
    """Whether float32 is accurate enough in the named folders below `root`."""
    verdicts = [verdict for name in names for verdict in conditioning.conditions(root, name)]
    conditioning.print_table(verdicts)
    return all(verdict.good for verdict in verdicts)


def check(names: list[str]) -> bool:
    """Whether regenerating the named folders gives the committed files."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), names)
        verdicts = compare.compare_folders(HERE, Path(folder), names)
    compare.print_table(verdicts)
    return all(verdict.same for verdict in verdicts)


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE, help="default: this folder")
    parser.add_argument("--only", nargs="+", choices=list(jobs()), metavar="NAME")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="compare instead of writing")
    instead.add_argument(
        "--condition", action="store_true", help="measure against float64 instead of writing"
    )
    args = parser.parse_args()
    if transformers.__version__ != TRANSFORMERS:
        print(f"needs transformers {TRANSFORMERS}, not {transformers.__version__}", file=sys.stderr)
        return 2
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(2)
    names = args.only or list(jobs())
    if args.check:
        return 0 if check(names) else 1
    if not args.condition:
        generate(args.out, names)
    return 0 if well_conditioned(args.out, names) else 1


if __name__ == "__main__":
    sys.exit(main())
