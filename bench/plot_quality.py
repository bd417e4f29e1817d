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
GGML = ("Q4_0", "IQ4_XS", "Q4_K_S", "Q4_K_M")  # the others lie beside these or outside
LABELS = {"deltavino": "deltavino, default", "nncf's scales": "deltavino, --scale-search nncf", "optimum-intel": "optimum-intel, its own recipe"}  # others: their own names


def points(rows: list[dict], prefix: str, producer: str) -> list[tuple[float, float, str]]:
    """Size, KL and the last word of the format."""
    found = [row for row in rows if row["format"].startswith(prefix) and row["producer"] == producer]
    return sorted((row["bytes"] / 1e6, row["kl"], row["format"].removeprefix(prefix).strip()) for row in found)


def draw_recipes(axis, rows: list[dict]) -> None:
    """The named recipes on the line of the targets, what calibration adds, and formats of ggml."""
    for producer, color, line, label in (("deltavino", "C0", "-", "--target-bits"), ("--calibrate FILE", "C3", "-", "--target-bits, --calibrate FILE")):
        found = points(rows, "target of ", producer)
        axis.plot([x for x, _, _ in found], [y for _, y, _ in found], color=color, linestyle=line, marker=".", label=label)
    axis.plot(*zip(*[point[:2] for point in points(rows, "int4, groups of", "nncf's scales")], strict=True), color="C1", marker="s", linestyle="--", label="groups of 128, 64, 32, nncf's scales")
    for x, y, name in points(rows, "recipe ", "deltavino"):
        axis.plot([x], [y], color="black", marker="o", linestyle="none")
        axis.annotate(name, (x, y), textcoords="offset points", xytext=(5, 5), fontsize=8)
    for producer in ("nncf GPTQ", "nncf AWQ, scale estimation"):
        found = points(rows, "int4, groups of", producer)
        axis.plot([x for x, _, _ in found], [y for _, y, _ in found], color=STYLES[producer][0], marker=STYLES[producer][1], linestyle="none", label=producer)
    for producer, color, label in (("llama.cpp", "C7", "llama.cpp"), ("llama.cpp, imatrix", "C8", "llama.cpp, importance matrix")):
        found = [point for point in points(rows, "ggml ", producer) if point[2] in GGML]
        axis.plot([x for x, _, _ in found], [y for _, y, _ in found], color=color, marker="*", linestyle="none", label=label)
        if producer == "llama.cpp":
            for x, y, name in found:
                axis.annotate(name, (x, y), textcoords="offset points", xytext=(5, -8 if name == "IQ4_XS" else 5), fontsize=7, color=color)
    axis.set_title("int4: recipes and targets", fontsize=10)
    axis.legend(fontsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    rows = json.loads(arguments.numbers.read_text())["rows"]
    figure, axes = plt.subplots(1, 1 + len(FAMILIES), figsize=(15, 4), sharey=True, layout="constrained")
    draw_recipes(axes[0], rows)
    for axis, (prefix, title) in zip(axes[1:], FAMILIES.items(), strict=True):
        for producer, (color, marker, line) in STYLES.items():
            found = points(rows, prefix, producer)
            if not found:
                continue
            axis.plot([x for x, _, _ in found], [y for _, y, _ in found], color=color, marker=marker, linestyle=line, label=LABELS.get(producer, producer))
            if producer == "deltavino":
                for x, y, group in found:
                    axis.annotate(group, (x, y), textcoords="offset points", xytext=(0, -14), ha="center", fontsize=8, color=color)
        axis.set_title(f"{title}, groups of 128, 64, 32", fontsize=10)
    for axis in axes:
        axis.set_xlabel("weights, MB")
        axis.margins(x=0.2, y=0.12)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("KL divergence from float32")
    axes[0].set_ylim(bottom=0)
    axes[1].legend(fontsize=7, loc="lower left")
    figure.savefig(arguments.picture, dpi=110)


if __name__ == "__main__":
    main()
