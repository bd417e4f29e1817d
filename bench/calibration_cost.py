#!/usr/bin/env python3
"""What `export --calibrate` takes at published widths: processor time and peak memory, beside nncf's for the same.

    bench/calibration_cost.py [--size 4B] [--layers 4 8] [--tokens 16384] [--nncf PYTHON [--ways gptq awq]] [--work DIR]

The checkpoints have the widths of a published model, fewer layers, random weights and the bundled model's tokenizer, so
a small vocabulary: embedding and head are not calibrated. The text is the bundled held-out text. PYTHON is that of an
environment with nncf (tools/setup.sh --parity makes .venv-parity); it gets a float32 export of the same checkpoint,
whose making is not counted, and as many tokens. Times are of the processor, all cores together: they say the same on a
busy machine.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

import sizes
from quality import CHECKPOINT, ROOT, run_measured

PROGRAM = str(ROOT / "build" / "deltavino")
TEXT = CHECKPOINT / "held_out.txt"
VOCABULARY = json.loads((CHECKPOINT / "config.json").read_text())["text_config"]["vocab_size"]
PIECE = 1 << 22  # random numbers that are drawn; longer tensors repeat them from another place


def values(name: str, shape: list[int], drawn: np.ndarray, stream: np.random.Generator) -> np.ndarray:
    """On the scale that a trained checkpoint has for a tensor of this name, float32."""
    count = int(np.prod(shape))
    if name.endswith("A_log"):
        return np.log(stream.uniform(1, 16, count)).astype(np.float32)
    if name.endswith("dt_bias"):
        return stream.uniform(-4, 1, count).astype(np.float32)
    begin = int(stream.integers(len(drawn)))
    random = np.resize(np.roll(drawn, begin), count)
    if "norm" in name:
        return (1.0 if "linear_attn.norm" in name else 0.0) + np.float32(0.1) * random
    return random * np.float32(1.0 if "embed_tokens" in name else shape[-1] ** -0.5)


def make_checkpoint(folder: Path, size: str, layers: int) -> Path:
    hidden, _, *others = sizes.DENSE[size]
    sizes.write_dense(folder, (hidden, layers, *others), VOCABULARY)
    stream = np.random.default_rng(7)
    drawn = stream.standard_normal(PIECE, dtype=np.float32)
    with (folder / "model.safetensors").open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        for name, entry in header.items():
            file.seek(8 + length + entry["data_offsets"][0])
            random = np.ascontiguousarray(values(name, entry["shape"], drawn, stream))
            file.write((random.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        (folder / name).write_bytes((CHECKPOINT / name).read_bytes())
    return folder


def report(what: str, layers: int, cost: dict) -> None:
    print(f"| {what} | {layers} | {cost['seconds']:.0f} s | {cost['peak_mb']} MB |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(sizes.DENSE), default="4B")
    parser.add_argument("--layers", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--nncf", metavar="PYTHON")
    parser.add_argument("--ways", nargs="+", choices=("gptq", "awq"), default=["gptq", "awq"])
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-calibration-") as scratch:
        work = arguments.work or Path(scratch)
        work.mkdir(exist_ok=True)
        for layers in arguments.layers:
            folder = work / f"{arguments.size}-{layers}"
            checkpoint = folder if folder.exists() else make_checkpoint(folder, arguments.size, layers)
            common = [PROGRAM, "export", "-m", str(checkpoint), "--task", "text-generation-with-past", "--force"]
            int4 = [*common, str(work / "out"), "--weight-format", "int4", "--group-size", "128"]
            report("without", layers, run_measured(int4)[1])
            report("--calibrate", layers, run_measured([*int4, "--calibrate", str(TEXT), "--calibration-tokens", str(arguments.tokens)])[1])
            if arguments.nncf:
                subprocess.run([*common, str(work / "float"), "--weight-format", "fp32"], check=True, stdout=subprocess.DEVNULL)
            for way in arguments.ways if arguments.nncf else ():
                script = str(ROOT / "bench" / "nncf_calibrated.py")
                command = [arguments.nncf, script, str(work / "float"), str(TEXT), str(work / "nncf"), way, "128", "--tokens", str(arguments.tokens)]
                report(f"nncf, {way}", layers, run_measured(command)[1])


if __name__ == "__main__":
    main()
