#!/usr/bin/env python3
"""Whether the fused delta rule heeds a Gather that reorders heads: head_gather.py TEXT_MODEL_DIR

Reorders the value heads of the first linear layer of openvino_model.xml in two ways that are the same by definition,
and prints how far the logits move from those of the untouched model, of the largest logit.
"""

import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}


def value_heads(model: ov.Model) -> ov.Node:
    """[batch, tokens, heads, width], before anything reads them."""
    split = next(op for op in model.get_ordered_ops() if op.get_type_name() == "VariadicSplit" and op.get_output_size() == 3)
    return next(iter(split.output(2).get_target_inputs())).get_node()


def reordered(model: ov.Model, by_gather: bool) -> ov.Model:
    heads = value_heads(model)
    readers = list(heads.output(0).get_target_inputs())
    count = heads.get_output_partial_shape(0)[2].get_length()
    order = [*range(0, count, 2), *range(1, count, 2)]
    if by_gather:
        new = ops.gather(heads, ops.constant(np.array(order, np.int64)), ops.constant(np.int64(2)))
    else:
        single = ops.split(heads, ops.constant(np.int64(2)), count)
        new = ops.concat([single.output(head) for head in order], 2)
    for reader in readers:
        reader.replace_source_output(new.output(0))
    model.validate_nodes_and_infer_types()
    return model


def logits(model: ov.Model) -> tuple[np.ndarray, int]:
    compiled = ov.Core().compile_model(model, "CPU", EXACT)
    fused = sum(op.get_rt_info()["layerType"] == "GatedDeltaNet" for op in compiled.get_runtime_model().get_ops())
    ids = np.arange(100, 140, dtype=np.int64)[None]
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "beam_idx": np.zeros(1, np.int32)}
    for port in compiled.inputs:
        if port.any_name == "position_ids":
            positions = np.arange(ids.shape[1], dtype=np.int64)[None]
            rank = port.partial_shape.rank.get_length()
            feed["position_ids"] = positions if rank == 2 else positions[None].repeat(port.partial_shape[0].get_length(), 0)
    return compiled(feed)["logits"].copy(), fused


def main() -> None:
    xml = str(Path(sys.argv[1]) / "openvino_model.xml")
    truth, fused = logits(ov.Core().read_model(xml))
    print(f"untouched: {fused} fused")
    for name, by_gather in [("Gather", True), ("Split and Concat", False)]:
        moved, fused = logits(reordered(ov.Core().read_model(xml), by_gather))
        print(f"heads reordered by {name}: {fused} fused, logits move by {np.abs(moved - truth).max() / np.abs(truth).max():.2e}")


if __name__ == "__main__":
    main()
