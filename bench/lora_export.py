#!/usr/bin/env python3
"""What `export --lora` costs: time and peak memory beside the same export without, alternating in one run.

    bench/lora_export.py [--layers 12] [--rank 16] [--format int4] [--rounds 2] [--work DIR]

The checkpoint is bench/sparse_checkpoint.py's 35b-a3b, nearly all holes; the adapter has random bfloat16 factors for
every matrix of attention, delta rule and shared experts (fused experts cannot be merged). LAYERS is a multiple of 4.
Processor seconds are steadier than the clock on a machine that has other work. Needs numpy.
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

import numpy as np
import sparse_checkpoint

ROOT = Path(__file__).resolve().parent.parent
ENDS = ("q_proj", "k_proj", "v_proj", "o_proj", "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj",
        "shared_expert.gate_proj", "shared_expert.up_proj", "shared_expert.down_proj")  # fmt: skip


def write_adapter(folder: Path, layers: int, rank: int) -> tuple[int, int]:
    """Returns how many matrices it has, and their weights."""
    rows, weights = [], 0
    for name, shape in sparse_checkpoint.tensors(sparse_checkpoint.GEOMETRIES["35b-a3b"], layers, split=False):
        module = name.removesuffix(".weight")
        if name.endswith(".weight") and module.endswith(ENDS):
            rows += [(f"base_model.model.{module}.lora_A.weight", [rank, shape[1]]), (f"base_model.model.{module}.lora_B.weight", [shape[0], rank])]
            weights += shape[0] * shape[1]
    folder.mkdir()
    sparse_checkpoint.write_shard(folder / "adapter_model.safetensors", rows, np.random.default_rng(1), full=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": list(ENDS)}))
    return len(rows) // 2, weights


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak megabytes of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--format", default="int4")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder for temporary files")
    options = parser.parse_args()
    program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
    with tempfile.TemporaryDirectory(prefix="lora-export-", dir=options.work) as work:
        base, adapter, out = (Path(work) / name for name in ("base", "adapter", "out"))
        script = [sys.executable, str(ROOT / "bench" / "sparse_checkpoint.py"), str(base), "--layers", str(options.layers)]
        subprocess.run(script, check=True, stdout=subprocess.DEVNULL)
        matrices, weights = write_adapter(adapter, options.layers, options.rank)
        whole = sum(path.stat().st_size for path in base.glob("*.safetensors"))
        print(f"checkpoint {whole / 1e9:.1f} GB, {options.layers} layers; adapter of rank {options.rank} for {matrices} matrices, {weights / 1e6:.0f} M weights, "
              f"{(adapter / 'adapter_model.safetensors').stat().st_size / 1e6:.0f} MB; {options.format}")  # fmt: skip
        command = [program, "export", "-m", str(base), str(out), "--weight-format", options.format, "--disable-convert-tokenizer"]
        runs = {"without": [], "with": []}
        for i in range(options.rounds):
            for name in ("without", "with") if i % 2 == 0 else ("with", "without"):
                runs[name].append(measured(command + (["--lora", str(adapter)] if name == "with" else [])))
                shutil.rmtree(out)
        medians = {name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in runs.items()}
        for name, (seconds, processor, peak) in medians.items():
            print(f"{name:8} {seconds:7.1f} s, {processor:7.1f} processor seconds, peak {peak:.0f} MB")
        ratios = [x / y for x, y in zip(medians["with"], medians["without"], strict=True)]
        print(f"ratio    {ratios[0]:.2f} of the time, {ratios[1]:.2f} of the processor seconds, {ratios[2]:.2f} of the memory")


if __name__ == "__main__":
    main()
