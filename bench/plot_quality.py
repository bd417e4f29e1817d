#!/usr/bin/env python3
"""Draws the numbers of bench/quality.py: KL divergence over size, one line per producer.

    bench/plot_quality.py docs/quality.json docs/quality.png

Needs matplotlib (requirements-parity.txt).
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

FAMILIES = {"int4, groups of": "int4", "int4 symmetric, groups of": "int4 symmetric", "nf4, groups of": "nf4"}
STYLES = {"deltavino": ("C0", "o", "-"), "nncf's scales": ("C1", "s", "--"), "optimum-intel": ("C2", "^", ":"),
          "--calibrate FILE": ("C3", "D", "-"), "--calibrate self": ("C4", "v", "-"), "nncf GPTQ": ("C5", "P", ":"), "nncf AWQ, scale estimation": ("C6", "X", ":")}
LABELS = {"deltavino": "deltavino, default", "nncf's scales": "deltavino, --scale-search nncf", "optimum-intel": "optimum-intel, its own recipe"}  # others: their own names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    rows = json.loads(arguments.numbers.read_text())["rows"]
    figure, axes = plt.subplots(1, len(FAMILIES), figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, (prefix, title) in zip(axes, FAMILIES.items(), strict=True):
        for producer, (color, marker, line) in STYLES.items():
            points = sorted((row["bytes"] / 1e6, row["kl"], row["format"].rsplit(" ", 1)[-1])
                            for row in rows if row["format"].startswith(prefix) and row["producer"] == producer)
            if not points:
                continue
            axis.plot([x for x, _, _ in points], [y for _, y, _ in points], color=color, marker=marker, linestyle=line, label=LABELS.get(producer, producer))
            if producer == "deltavino":
                for x, y, group in points:
                    axis.annotate(group, (x, y), textcoords="offset points", xytext=(0, -14), ha="center", fontsize=8, color=color)
        axis.set_title(f"{title}, groups of 128, 64, 32", fontsize=10)
        axis.set_xlabel("weights, MB")
        axis.margins(x=0.2, y=0.12)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("KL divergence from float32")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(fontsize=7, loc="lower left")
    figure.savefig(arguments.picture, dpi=110)


if __name__ == "__main__":
    main()
