#!/usr/bin/env python3
"""Draws what `deltavino bench --json` printed: rates of prompts and of new tokens, medians, with the least and the most.

    deltavino bench A --against B --json > rates.json
    bench/plot_bench.py rates.json rates.png

Needs matplotlib (requirements-parity.txt).
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RATES = {"prefill_tokens_per_second": "prompt, tokens a second", "decode_tokens_per_second": "new tokens a second"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rates", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    about = json.loads(arguments.rates.read_text(encoding="utf-8"))
    models = about["models"]
    lengths = [entry["prompt_tokens"] for entry in models[0]["lengths"]]
    width = 0.8 / len(models)
    figure, panels = plt.subplots(1, len(RATES), figsize=(5 * len(RATES), 3.6), layout="constrained")
    for axis, (rate, title) in zip(panels, RATES.items(), strict=True):
        for place, model in enumerate(models):
            found = [entry[rate] for entry in model["lengths"]]
            heights = [value["median"] for value in found]
            ends = [[value["median"] - value["least"] for value in found], [value["most"] - value["median"] for value in found]]
            at = [i - 0.4 + (place + 0.5) * width for i in range(len(lengths))]
            axis.bar(at, heights, width, yerr=ends, capsize=3, label=Path(model["model"]).name or model["model"])
        axis.set_title(title)
        axis.set_xticks(range(len(lengths)), [f"{length} tokens" for length in lengths])
        axis.grid(axis="y", alpha=0.3)
    panels[-1].legend()
    figure.suptitle(f"{about['processor']}, {about['processors']} processors, OpenVINO {about['openvino'].split('-')[0]}, "
                    f"{about['rounds']} rounds", fontsize=9)  # fmt: skip
    figure.savefig(arguments.picture, dpi=120)


if __name__ == "__main__":
    main()
