#!/usr/bin/env python3
"""What quantizing activations on the fly costs: KL to float32 by group size, for exported text models.

    bench/dynamic_quantization.py FLOAT_DIR DIR [DIR ...] --text FILE [--windows 24] [--groups 0,32,64,128]
                                  [--precisions f32,bf16]

FLOAT_DIR in float32 is the truth. Each DIR runs on the CPU with each group size (0: activations are not quantized) and
each precision. Windows of 256 tokens, each from empty states; KL(truth || model) in nats, the mean over positions.
"""

import argparse
from pathlib import Path

import inference
import numpy as np
import openvino as ov
import openvino_tokenizers  # noqa: F401  loads the extension that the tokenizer needs

WINDOW = 256
EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}


def windows(directory: Path, text: Path, most: int) -> list[np.ndarray]:
    tokenizer = ov.Core().compile_model(str(directory / "openvino_tokenizer.xml"), "CPU")
    ids = tokenizer([text.read_text(encoding="utf-8")])["input_ids"].reshape(-1)
    return [ids[i : i + WINDOW][None] for i in range(0, len(ids) - WINDOW + 1, WINDOW)][:most]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def log_probabilities(directory: Path, texts: list[np.ndarray], properties: dict, single: int = 0) -> list[np.ndarray]:
    """Of all positions; with `single` only of that many last ones, whose tokens are read one by one."""
    compiled = ov.Core().compile_model(str(directory / "openvino_model.xml"), "CPU", properties)
    request = compiled.create_infer_request()
    found = []
    for ids in texts:
        request.reset_state()
        ends = [ids.shape[1]] if single == 0 else range(ids.shape[1] - single, ids.shape[1] + 1)
        rows, past = [], 0
        for end in ends:
            rows.append(request.infer(inference.feeds(compiled, ids[:, past:end], past))["logits"][0].copy())
            past = end
        found.append(log_softmax(np.concatenate(rows[1:] if single else rows)))
    return found


def divergence(truth: list[np.ndarray], judged: list[np.ndarray]) -> float:
    return float(np.mean([(np.exp(a) * (a - b)).sum(-1) for a, b in zip(truth, judged, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--groups", default="0,32,64,128")
    parser.add_argument("--precisions", default="f32,bf16")
    arguments = parser.parse_args()
    groups = [int(group) for group in arguments.groups.split(",")]
    texts = windows(arguments.reference, arguments.text, arguments.windows)
    truth = log_probabilities(arguments.reference, texts, EXACT)
    print(f"| {len(texts)} windows of {WINDOW} |", " | ".join(f"group {group}" if group else "not quantized" for group in groups), "|")
    for model in arguments.models:
        for hint in arguments.precisions.split(","):
            cells = []
            for group in groups:
                properties = {"INFERENCE_PRECISION_HINT": hint, "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": group}
                cells.append(f"{divergence(truth, log_probabilities(model, texts, properties)):.5f}")
            print(f"| {model.name}, {hint} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
