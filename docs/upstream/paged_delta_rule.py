#!/usr/bin/env python3
"""Time of the delta rule in a prompt, stateful and paged: paged_delta_rule.py TEXT_MODEL_DIR [TOKENS] [ROUNDS]

Both forms of one openvino_model.xml are compiled for the CPU in float32 with counters on, and read the same prompt in
turns. Counters are means over the inferences of a compiled model, the first one included, so both get as many.
"""

import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import openvino as ov
from openvino._offline_transformations import paged_attention_transformation

PROPERTIES = {"INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}


def positions(port: ov.Output, tokens: int, batch: tuple[int, ...]) -> np.ndarray:
    rows = port.partial_shape.rank.get_length() - len(batch)
    values = np.arange(tokens, dtype=np.int64).reshape((*batch[:-1], tokens))
    return values if rows == 0 else values[None].repeat(port.partial_shape[0].get_length(), 0)


def stateful(xml: str, tokens: int) -> ov.InferRequest:
    request = ov.Core().compile_model(xml, "CPU", PROPERTIES).create_infer_request()
    ids = np.arange(tokens, dtype=np.int64)[None] % 256
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "beam_idx": np.zeros(1, np.int32)}
    for port in request.model_inputs:
        name = port.any_name
        feed[name] = positions(port, tokens, (1, tokens)) if name == "position_ids" else feed[name]
        request.set_tensor(name, ov.Tensor(feed[name]))
    return request


def paged(xml: str, tokens: int) -> ov.InferRequest:
    model = ov.Core().read_model(xml)
    paged_attention_transformation(model)
    request = ov.Core().compile_model(model, "CPU", PROPERTIES).create_infer_request()
    block = next(int(port.partial_shape[2].get_length()) for port in request.model_inputs if port.any_name.startswith("key_cache."))
    blocks = tokens // block + 2
    i32 = {
        "past_lens": [0], "subsequence_begins": [0, tokens], "block_indices": range(blocks), "block_indices_begins": [0, blocks],
        "la.past_lens": [0], "la.block_indices": [0, 0], "la.block_indices_begins": [0, 2], "la.cache_interval": [0],
    }  # fmt: skip
    for port in request.model_inputs:
        name = port.any_name
        if name in i32:
            value = ov.Tensor(np.array(list(i32[name]), np.int32))
        elif name == "max_context_len":
            value = ov.Tensor(np.array(tokens, np.int32))
        elif name == "input_ids":
            value = ov.Tensor(np.arange(tokens, dtype=np.int64) % 256)
        elif name == "position_ids":
            value = ov.Tensor(positions(port, tokens, (tokens,)))
        elif "_cache." in name or "_state_table." in name:
            value = ov.Tensor(port.element_type, [blocks, *(int(size.get_length()) for size in port.partial_shape[1:])])
        else:
            raise SystemExit(f"input {name} is not known")
        request.set_tensor(name, value)
    return request


def main() -> None:
    xml = str(Path(sys.argv[1]) / "openvino_model.xml")
    tokens, rounds = int((sys.argv[2:3] or [128])[0]), int((sys.argv[3:4] or [6])[0])
    forms = {"stateful": stateful(xml, tokens), "paged": paged(xml, tokens)}
    for _ in range(rounds):
        for name, request in forms.items():
            if name == "stateful":
                request.reset_state()
            request.infer()
    for name, request in forms.items():
        times, kernels = defaultdict(float), {}
        for node in request.profiling_info:
            times[node.node_type] += node.real_time.total_seconds() * 1e6
            kernels[node.node_type] = node.exec_type
        kind = next(kind for kind in times if kind in ("GatedDeltaNet", "PagedGatedDeltaNet"))
        print(f"{name}: {kind} ({kernels[kind]}) {times[kind] / tokens:.1f} us a token, {100 * times[kind] / sum(times.values()):.0f} % of the prompt")


if __name__ == "__main__":
    main()
