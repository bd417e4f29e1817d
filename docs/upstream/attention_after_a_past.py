#!/usr/bin/env python3
"""Time of cached attention on the CPU, a prompt read at once and in pieces: attention_after_a_past.py MODEL_DIR [TOKENS PIECE]

MODEL_DIR holds openvino_model.xml with input_ids, attention_mask, position_ids and beam_idx. Needs the wheel `openvino`.
"""

import sys

import numpy as np
import openvino as ov


def seconds(model: ov.Model, total: int, piece: int, cache: str) -> list[float]:
    """Of all attention operations, for each piece. The plugin's counters are means over all inferences so far."""
    compiled = ov.Core().compile_model(model, "CPU", {"PERF_COUNT": True, "KV_CACHE_PRECISION": cache})
    request = compiled.create_infer_request()
    found, before = [], 0.0
    for number, past in enumerate(range(0, total, piece), 1):
        places = np.arange(past, past + piece, dtype=np.int64)
        inputs = {
            "input_ids": places[None] % 1000,
            "attention_mask": np.ones((1, past + piece), np.int64),
            "beam_idx": np.zeros(1, np.int32),
        }
        for port in compiled.inputs:
            if port.any_name == "position_ids":
                rank = port.partial_shape.rank.get_length()
                rows = port.partial_shape[0].get_length() if rank == 3 and port.partial_shape[0].is_static else 3
                inputs["position_ids"] = np.broadcast_to(places, (rows, 1, piece)).copy() if rank == 3 else places[None]
        request.infer(inputs)
        counted = sum(x.real_time.total_seconds() for x in request.get_profiling_info() if x.node_type.startswith("ScaledDot"))
        found.append(counted * number - before)
        before = counted * number
    return found


def main() -> None:
    directory, total, piece = sys.argv[1], *map(int, sys.argv[2:4] or (2048, 512))
    model = ov.Core().read_model(f"{directory}/openvino_model.xml")
    for cache in ("u8", "f32"):
        at_once = seconds(model, total, total, cache)[0]
        pieces = seconds(model, total, piece, cache)
        print(f"cache {cache}: {total} tokens at once {at_once:.2f} s; in pieces of {piece} {sum(pieces):.2f} s:",
              " ".join(f"{x:.2f}" for x in pieces))  # fmt: skip


if __name__ == "__main__":
    main()
