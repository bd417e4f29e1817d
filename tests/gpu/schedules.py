"""Runs a language model on the device of the bench by every schedule that its golden tensors have an answer for.

All functions return the largest error of a logit, as a share of the largest expected one.
"""

from __future__ import annotations

import numpy as np
import openvino as ov

DEVICE = "GPU"


class Stateful:
    """One request of a model that keeps its states itself."""

    def __init__(self, compiled: ov.CompiledModel):
        self.request = compiled.create_infer_request()
        self.names = {name for port in compiled.inputs for name in port.get_names()}
        self.request.reset_state()
        self.past = 0

    def step(self, ids: np.ndarray, mask: np.ndarray | None = None, beam: np.ndarray | None = None) -> np.ndarray:
        """Logits of these tokens. `mask` covers the past and them; `beam` says which row each row goes on from."""
        rows, length = ids.shape
        mask = np.ones((rows, self.past + length), np.int64) if mask is None else mask[:, : self.past + length]
        inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64),
                  "beam_idx": (np.arange(rows) if beam is None else beam).astype(np.int32)}  # fmt: skip
        if "position_ids" in self.names:
            inputs["position_ids"] = np.maximum(np.cumsum(mask, 1) - 1, 0)[:, self.past :].astype(np.int64)
        self.past += length
        self.request.infer(inputs)
        return self.request.get_tensor("logits").data.copy()


class Paged:
    """One request of the paged form, as GenAI's continuous batching runs it: every row is a sequence."""

    BLOCKS = 4  # of 16 tokens, for each sequence

    def __init__(self, compiled: ov.CompiledModel, context: ov.RemoteContext, rows: int):
        self.request = compiled.create_infer_request()
        self.names = {name for port in compiled.inputs for name in port.get_names()}
        self.past, self.rows = 0, rows
        for port in compiled.inputs:
            name = port.get_any_name()
            if "_cache." in name or "_state_table." in name:
                shape = [rows * self.BLOCKS, *[axis.get_length() for axis in list(port.get_partial_shape())[1:]]]
                self.request.set_tensor(name, context.create_tensor(port.get_element_type(), ov.Shape(shape), {}))

    def step(self, ids: np.ndarray) -> np.ndarray:
        rows, length = ids.shape
        # The last sequence has the first blocks, so that a graph that ignores the table shows.
        first = [(rows - 1 - row) * self.BLOCKS for row in range(rows)]
        used = -(-(self.past + length) // 16)  # the plugin counts its work by the blocks that are given
        tables = {
            "past_lens": [self.past] * rows,
            "subsequence_begins": [row * length for row in range(rows + 1)],
            "block_indices": [begin + block for begin in first for block in range(used)],
            "block_indices_begins": [row * used for row in range(rows + 1)],
            "la.past_lens": [self.past] * rows,
            "la.block_indices": [begin for begin in first for _ in range(2)],  # where the state is, where it goes
            "la.block_indices_begins": [2 * row for row in range(rows + 1)],
            "la.cache_interval": [0] * rows,
        }
        self.past += length
        for name, values in tables.items():
            if name in self.names:
                self.request.set_tensor(name, ov.Tensor(np.array(values, np.int32)))
        self.request.set_tensor("max_context_len", ov.Tensor(np.array(self.past, np.int32)))
        positions = np.tile(np.arange(self.past - length, self.past), rows)
        self.request.set_tensor("input_ids", ov.Tensor(ids.reshape(-1).copy()))
        self.request.set_tensor("position_ids", ov.Tensor(positions.astype(np.int64)))
        self.request.infer()
        return self.request.get_output_tensor(0).data.copy().reshape(rows, length, -1)


def pieces(engine: Stateful | Paged, ids: np.ndarray, lengths: list[int]) -> np.ndarray:
    """The logits of all tokens, read in pieces of these lengths."""
    assert sum(lengths) == ids.shape[1]
    ends = np.cumsum(lengths)
    return np.concatenate([engine.step(ids[:, end - n : end]) for end, n in zip(ends, lengths, strict=True)], 1)


def cuts(length: int) -> dict[str, list[int]]:
    return {
        "prefill": [length],
        "decode": [length - 6, *[1] * 6],
        "chunks": [10, 3, length - 17, 4],
    }


def run_stateful(compiled: ov.CompiledModel, expected: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Found logits by schedule, each beside what is expected."""
    ids = expected["input_ids"]
    found = {name: (pieces(Stateful(compiled), ids, lengths), expected["logits"])
             for name, lengths in cuts(ids.shape[1]).items()}  # fmt: skip
    real = expected["padded_mask"].astype(bool)
    padded = Stateful(compiled).step(expected["padded_ids"], expected["padded_mask"])
    found["padding"] = (padded[real], expected["padded_logits"][real])
    engine = Stateful(compiled)
    engine.step(expected["beam_prefix"])
    following = [engine.step(token[:, None], beam=expected["beam_idx"] if i == 0 else None)
                 for i, token in enumerate(expected["beam_next"].T)]  # fmt: skip
    found["beams"] = (np.concatenate(following, 1), expected["beam_logits"])
    return found


def run_paged(compiled: ov.CompiledModel, context: ov.RemoteContext, expected: dict) -> dict[str, np.ndarray]:
    ids = expected["input_ids"]
    return {"paged " + name: (pieces(Paged(compiled, context, len(ids)), ids, lengths), expected["logits"])
            for name, lengths in cuts(ids.shape[1]).items()}  # fmt: skip


def figures(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Errors as shares of the largest expected logit, and how often the largest logit is the same one."""
    largest = float(np.abs(expected).max())
    error = np.abs(found - expected)
    return {
        "largest": float(error.max()) / largest if np.isfinite(error).all() else float("inf"),
        "mean": float(error.mean()) / largest,
        "same": float((found.argmax(-1) == expected.argmax(-1)).mean()),
    }
