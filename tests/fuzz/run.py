#!/usr/bin/env python3
"""Runs the fuzz targets of BUILD one after the other, each for a time, two at once, and prints a line for each.

    run.py BUILD [--seconds N] [--jobs N] [TARGET...]

Inputs that libFuzzer finds worth keeping stay in BUILD/corpus, so that the next run goes on from there. An input that
breaks a target is kept in BUILD/findings, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
# An input may take this long and this much memory; a machine may have other work to do, so a slower one is no finding
# before that.
OPTIONS = ["-timeout=20", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1", "-report_slow_units=21"]
# OpenVINO keeps what it has read until the process ends.
LEAKS = {"directory": 0}


def last(pattern: str, text: str) -> str:
    found = re.findall(pattern, text)
    return found[-1] if found else "?"


def run(build: Path, target: str, seconds: int) -> tuple[str, bool]:
    """The line of a target, and whether nothing was found."""
    corpus, found = build / "corpus" / target, build / "findings" / target
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    command = [build / f"{target}_fuzz", *OPTIONS, f"-max_total_time={seconds}", f"-artifact_prefix={found}/"]
    leaks = LEAKS.get(target, 1)
    command += [f"-detect_leaks={leaks}", corpus, build / "seeds" / target]
    environment = os.environ | {"ASAN_OPTIONS": f"detect_leaks={leaks}", "UBSAN_OPTIONS": "print_stacktrace=1"}
    log = found.with_suffix(".log")
    with log.open("wb") as out:
        code = subprocess.run(command, env=environment, stdout=out, stderr=out, check=False).returncode
    text = log.read_text(errors="replace")
    new = sorted(set(found.iterdir()) - before)
    runs, coverage = last(r"number_of_executed_units: (\d+)", text), last(r"cov: (\d+)", text)
    kept, memory = last(r"corp: (\d+)", text), last(r"peak_rss_mb: *(\d+)", text)
    line = f"{target:18} {runs:>10} runs  cov {coverage:>6}  corpus {kept:>5}  rss {memory:>5} MB"
    if code == 0 and not new:
        return line + "  nothing found", True
    summary = last(r"((?:SUMMARY|ERROR): .*|run interrupted)", text)
    return "\n  ".join([line + f"  FOUND, exit code {code}: {summary}", f"all it said: {log}", *map(str, new)]), False


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=Path)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_intermixed_args()
    build = arguments.build.resolve()
    subprocess.run([sys.executable, HERE / "seeds.py", build / "seeds"], check=True)
    targets = arguments.targets or sorted(p.stem.removesuffix("_fuzz") for p in HERE.glob("*_fuzz.*"))
    with ThreadPoolExecutor(arguments.jobs) as pool:
        good = True
        for line, fine in pool.map(lambda target: run(build, target, arguments.seconds), targets):
            print(line, flush=True)
            good = good and fine
    print(f"fuzz: {len(targets)} targets, {arguments.seconds} seconds each, "
          + ("nothing found" if good else "SOMETHING WAS FOUND"))  # fmt: skip
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
