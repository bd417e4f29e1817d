#!/usr/bin/env python3
"""What properties of OpenVINO's CPU plugin do to speed, and to the output.

    bench/properties.py DIR --float FLOAT_DIR --quantized DIR2 --text FILE [--rounds 5] [--windows 24] [--only NAME]...

With --rounds 0 only the loss is measured. Speed is that of DIR, a model of a published size: a prompt of 512 tokens and 64 new ones, each property in a process of its
own, every second round in the opposite order, beside one with the defaults in the same round. The loss is that of DIR2
beside FLOAT_DIR in float32, two exports of the bundled model: KL(truth || model) in nats for windows of 256 tokens from
empty states, once read at once (mean over all positions), and once with the last 64 tokens one by one, which is when
quantized keys and values are read back (mean over these 64).
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import inference
import openvino as ov
from dynamic_quantization import EXACT, divergence, log_probabilities, windows

SINGLE = 64  # last tokens of a window that are fed one by one
DEFAULTS = "defaults"
SETTINGS: dict[str, dict] = {
    DEFAULTS: {},
    **{f"INFERENCE_PRECISION_HINT {kind}": {"INFERENCE_PRECISION_HINT": kind} for kind in ("bf16", "f16", "f32")},
    **{f"KV_CACHE_PRECISION {kind}": {"KV_CACHE_PRECISION": kind} for kind in ("u8", "bf16", "f16", "f32")},
    **{f"keys and values in groups of {n}": {"KEY_CACHE_GROUP_SIZE": n, "VALUE_CACHE_GROUP_SIZE": n} for n in (16, 32, 64)},
    **{f"DYNAMIC_QUANTIZATION_GROUP_SIZE {n}": {"DYNAMIC_QUANTIZATION_GROUP_SIZE": n} for n in (0, 32, 64, 128)},
    "f32, DYNAMIC_QUANTIZATION_GROUP_SIZE 64": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 64},
}
ANSWERS = ("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION", "KEY_CACHE_GROUP_SIZE", "VALUE_CACHE_GROUP_SIZE", "DYNAMIC_QUANTIZATION_GROUP_SIZE")


def answers(directory: Path, properties: dict) -> str:
    """What the plugin says that it uses."""
    compiled = ov.Core().compile_model(str(directory / "openvino_model.xml"), "CPU", properties)
    values = [compiled.get_property(name) for name in ANSWERS]
    return ", ".join(value.to_string() if hasattr(value, "to_string") else str(value) for value in values)


def speed(directory: Path, name: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, str(directory), "--one", name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else "not measured"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--float", type=Path, dest="reference")
    parser.add_argument("--quantized", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--only", action="append", default=[], choices=SETTINGS, help="beside the defaults; may be repeated")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(inference.measure(str(arguments.directory), 512, 64, SETTINGS[arguments.one])))
        return
    names = [name for name in SETTINGS if name == DEFAULTS or not arguments.only or name in arguments.only]
    found: dict[str, list[dict]] = {name: [] for name in names}
    for turn in range(arguments.rounds):
        for name in names if turn % 2 == 0 else reversed(names):
            found[name].append(speed(arguments.directory, name))
    texts = windows(arguments.reference, arguments.text, arguments.windows)
    truth = {single: log_probabilities(arguments.reference, texts, EXACT, single) for single in (0, SINGLE)}
    print(f"openvino {ov.get_version()}, {arguments.rounds} rounds, {len(texts)} windows; the plugin's answers: {', '.join(ANSWERS)}")
    print("| property | prompt of 512 | new tokens | KL, at once | KL, one by one | the plugin's answers |\n|---|---|---|---|---|---|")
    for name in names:
        ratios = [[a[key] / b[key] for a, b in zip(found[name], found[DEFAULTS], strict=True)] for key in ("prefill tokens/s", "decode tokens/s")]
        kl = [divergence(truth[single], log_probabilities(arguments.quantized, texts, SETTINGS[name], single)) for single in (0, SINGLE)]
        print(f"| {name} | {spread(ratios[0])} | {spread(ratios[1])} | {kl[0]:.5f} | {kl[1]:.5f} | {answers(arguments.directory, SETTINGS[name])} |", flush=True)


if __name__ == "__main__":
    main()
