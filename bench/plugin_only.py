#!/usr/bin/env python3
"""What this program adds to OpenVINO's CPU plugin: `deltavino bench` with and without --plugin-only, in turns.

    plugin_only.py MODEL_DIR [--other DIR] [--rounds 6] [--program build/deltavino] [--precision bf16]
                   [--prompt-tokens 512,2048]

With --other the plugin alone runs that directory, such as another exporter's of the same checkpoint. Every process is
fresh; each round runs both, in the opposite order of the round before. Prints the median of the ratios of the rounds
(above 1: faster than the plugin alone), with the least and the most.
"""

import argparse
import json
import statistics
import subprocess

FIGURES = ("prefill_tokens_per_second", "decode_tokens_per_second", "first_token_seconds")


def measure(arguments: argparse.Namespace, model: str, more: list[str]) -> dict[tuple[int, str], float]:
    command = [arguments.program, "bench", model, "--rounds", "1", "--json", "--quiet",
               "--prompt-tokens", arguments.prompt_tokens, *more]  # fmt: skip
    if arguments.precision:
        command += ["--precision", arguments.precision]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["models"][0]
    found = {(x["prompt_tokens"], name): x[name]["median"] for x in report["lengths"] for name in FIGURES}
    return found | {(0, "peak_memory_bytes"): report["peak_memory_bytes"]["median"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--other", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--program", default="build/deltavino")
    parser.add_argument("--precision", default="")
    parser.add_argument("--prompt-tokens", default="512,2048")
    arguments = parser.parse_args()
    ours, plugin = [], []
    for i in range(arguments.rounds):
        both = [(ours, arguments.model, []), (plugin, arguments.other or arguments.model, ["--plugin-only"])]
        for which, model, more in both[:: 1 if i % 2 == 0 else -1]:
            which.append(measure(arguments, model, more))
    for key in ours[0]:
        up = key[1].endswith("per_second")
        ratios = [(a[key] / b[key]) if up else (b[key] / a[key]) for a, b in zip(ours, plugin, strict=True)]
        medians = (statistics.median(x[key] for x in which) for which in (ours, plugin))
        print(f"{key[0]:6} {key[1]:26} {' against '.join(f'{x:.4g}' for x in medians)}: "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
