"""Checkpoints as stored bytes: every type of safetensors, also those that numpy lacks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The numpy type that holds the bits.
BITS = {
    "F32": np.float32,
    "F16": np.float16,
    "BF16": np.uint16,
    "F8_E4M3": np.uint8,
    "F8_E5M2": np.uint8,
    "F8_E8M0": np.uint8,
}
BITS |= {"I8": np.int8, "U8": np.uint8, "I32": np.int32, "I64": np.int64}


@dataclass
class Stored:
    """A tensor: its type in the file and the bits of its values."""

    dtype: str
    bits: np.ndarray


Tensors = dict[str, Stored]


def e4m3_value(code: int) -> float:
    sign, exponent, fraction = (-1.0 if code & 128 else 1.0), code >> 3 & 15, code & 7
    if code & 127 == 127:
        return float("nan")
    return sign * (fraction / 8 * 2.0**-6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7))


def e5m2_value(code: int) -> float:
    return float(np.array([code << 8], np.uint16).view(np.float16)[0])


FLOAT8 = {
    "F8_E4M3": np.array([e4m3_value(c) for c in range(256)], np.float32),
    "F8_E5M2": np.array([e5m2_value(c) for c in range(256)], np.float32),
}


def to_bf16(values: np.ndarray) -> np.ndarray:
    """Bits of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def store(dtype: str, values: np.ndarray) -> Stored:
    """The nearest values of a type."""
    if dtype == "BF16":
        return Stored(dtype, to_bf16(values))
    if dtype == "F8_E8M0":
        return Stored(dtype, (np.round(np.log2(values)) + 127).astype(np.uint8))
    if dtype in FLOAT8:
        table = FLOAT8[dtype]
        order = np.argsort(np.where(np.isfinite(table), table, np.inf), kind="stable")
        order = order[np.isfinite(table[order])]
        levels = table[order]
        right = np.clip(np.searchsorted(levels, values), 1, len(levels) - 1)
        nearest = np.where(np.abs(values - levels[right - 1]) <= np.abs(levels[right] - values), right - 1, right)
        return Stored(dtype, order[nearest].astype(np.uint8))
    return Stored(dtype, np.asarray(values).astype(BITS[dtype]))


def values_of(tensor: Stored) -> np.ndarray:
    """As float32, or integers as they are."""
    if tensor.dtype == "BF16":
        return (tensor.bits.astype(np.uint32) << 16).view(np.float32)
    if tensor.dtype == "F8_E8M0":
        return np.ldexp(np.float32(1), tensor.bits.astype(np.int32) - 127)
    if tensor.dtype in FLOAT8:
        return FLOAT8[tensor.dtype][tensor.bits]
    return tensor.bits.astype(np.float32) if tensor.dtype in {"F32", "F16"} else tensor.bits


def read(path: Path) -> Tensors:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            bits = np.frombuffer(data[8 + size + begin : 8 + size + end], BITS[entry["dtype"]])
            tensors[name] = Stored(entry["dtype"], bits.reshape(entry["shape"]))
    return tensors


def write(path: Path, tensors: Tensors) -> None:
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        blobs.append(np.ascontiguousarray(tensor.bits).tobytes())
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.bits.shape),
            "data_offsets": [at, at + len(blobs[-1])],
        }
        at += len(blobs[-1])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))
