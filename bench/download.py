#!/usr/bin/env python3
"""Download time of deltavino beside curl's, from the same local server, on the same bytes.

    bench/download.py [--megabytes 512] [--shards 1] [--rounds 3] [--huggingface PYTHON]

The weights are random bytes, which `inspect` refuses after it has downloaded and verified them. Programs alternate,
in another order each round, each starts with an empty cache; medians are reported, of wall and of processor seconds,
and the median of the ratios to curl within the rounds. curl takes the shards in parallel and verifies nothing;
"curl, sha256sum" hashes what curl wrote, as deltavino does while it downloads. PYTHON is that of an environment
with huggingface_hub. The server is tests/e2e/hub_server.py in a process of its own; plain HTTP, no limits.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ID = "acme/random"


def make_checkpoint(folder: Path, megabytes: int, shards: int) -> list[Path]:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    names = [f"model-{i:05}.safetensors" for i in range(shards)]
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {f"t{i}": name for i, name in enumerate(names)}})
    )
    for name in names:
        with (folder / name).open("wb") as file:
            for _ in range(megabytes // shards):
                file.write(os.urandom(1_000_000))
    return [folder / name for name in names]


Seconds = tuple[float, float]  # of the clock, of the processor


def seconds_of(command: list[str], codes: tuple, **options: object) -> Seconds:
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode not in codes:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


class Bench:
    def __init__(self, url: str, scratch: Path, files: list[Path], commit: str):
        self.out = scratch / "out"
        self.files = files
        self.urls = [f"{url}/{ID}/resolve/{commit}/{file.name}" for file in files]
        self.environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(self.out), "HF_HUB_DISABLE_XET": "1"}
        self.program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))

    def curl(self) -> Seconds:
        self.out.mkdir()
        command = ["curl", "-sSfL", "--parallel", "--parallel-max", "8", "--remote-name-all", *self.urls]
        return seconds_of(command, (0,), cwd=self.out)

    def curl_and_hash(self) -> Seconds:
        fetched = self.curl()
        hashed = seconds_of(["sha256sum", *[file.name for file in self.files]], (0,), cwd=self.out)
        return fetched[0] + hashed[0], fetched[1] + hashed[1]

    def deltavino(self) -> Seconds:
        seconds = seconds_of([self.program, "inspect", ID], (3,), env=self.environment)  # 3: random bytes
        for file in self.files:
            (found,) = self.out.glob(f"hub/models--*/snapshots/*/{file.name}")
            assert found.stat().st_size == file.stat().st_size
        return seconds

    def huggingface(self, python: str) -> Seconds:
        code = f"import huggingface_hub; huggingface_hub.snapshot_download({ID!r})"
        return seconds_of([python, "-c", code], (0,), env=self.environment)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--huggingface", metavar="PYTHON")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests" / "e2e"))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        files = make_checkpoint(scratch / "model", arguments.megabytes, arguments.shards)
        server = subprocess.Popen(
            [sys.executable, ROOT / "tests" / "e2e" / "hub_server.py", scratch / "model", ID, "--seconds", "550"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            url = server.stdout.readline().strip()
            bench = Bench(url, scratch, files, "main")
            programs = {"curl": bench.curl, "curl, sha256sum": bench.curl_and_hash, "deltavino": bench.deltavino}
            if arguments.huggingface:
                programs["huggingface_hub"] = lambda: bench.huggingface(arguments.huggingface)
            times = {program: [] for program in programs}
            names = list(programs)
            for turn in range(arguments.rounds):
                for program in names[turn % len(names) :] + names[: turn % len(names)]:
                    shutil.rmtree(bench.out, ignore_errors=True)
                    times[program].append(programs[program]())
        finally:
            server.terminate()
            server.wait()
    total = arguments.megabytes // arguments.shards * arguments.shards
    print(f"{total} MB in {arguments.shards} file(s), {arguments.rounds} rounds, load average {os.getloadavg()[0]:.1f}")
    print("| | wall | times curl | processor | times curl |\n|---|---|---|---|---|")
    for program, seconds in times.items():
        cells = []
        for part in (0, 1):
            ratios = [own[part] / base[part] for own, base in zip(seconds, times["curl"], strict=True)]
            cells += [f"{statistics.median(s[part] for s in seconds):.2f} s", f"{statistics.median(ratios):.2f}"]
        print(f"| {program} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
