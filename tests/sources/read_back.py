"""The truth: weights read back from the formats as they are published, apart from what wrote them.

Slow and plain: every code is taken out of its word by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from stored import Stored, Tensors, values_of

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


@dataclass
class Integers:
    """w = (codes - zeros) * scales: codes [out, in], the others [out, groups]."""

    bits: int
    codes: np.ndarray
    zeros: np.ndarray
    scales: np.ndarray
    group: int

    def values(self) -> np.ndarray:
        spread = [np.repeat(x, self.group, axis=1)[:, : self.codes.shape[1]] for x in (self.zeros, self.scales)]
        return (self.codes.astype(np.int32) - spread[0].astype(np.int32)).astype(np.float32) * spread[1].astype(
            np.float32
        )


def fields(words: np.ndarray, bits: int) -> np.ndarray:
    """[...] words to [..., 32 / bits] fields, lowest first."""
    shifts = np.arange(0, 32, bits, dtype=np.uint32)
    return (words.view(np.uint32)[..., None] >> shifts & (2**bits - 1)).astype(np.uint8)


def gptq(qweight: np.ndarray, qzeros: np.ndarray, scales: Stored, group: int, less_one: bool) -> Integers:
    rows = qweight.shape[1]
    groups = scales.bits.shape[0]
    per_word = qzeros.shape[1] and rows // qzeros.shape[1]
    bits = 32 // per_word
    codes = fields(qweight, bits).transpose(1, 0, 2).reshape(rows, -1)
    words = qzeros.view(np.uint32)
    if less_one:
        words = words + np.uint32(0x11111111 if bits == 4 else 0x01010101)
    zeros = fields(words, bits).reshape(groups, rows).T
    return Integers(bits, codes, zeros, values_of(scales).T, codes.shape[1] if group == -1 else group)


def awq(qweight: np.ndarray, qzeros: np.ndarray, scales: Stored, group: int) -> Integers:
    inverse = np.argsort(AWQ_ORDER)
    columns = qweight.shape[0]
    codes = fields(qweight, 4)[..., inverse].reshape(columns, -1).T
    zeros = fields(qzeros, 4)[..., inverse].reshape(qzeros.shape[0], -1).T
    return Integers(4, codes, zeros, values_of(scales).T, columns if group == -1 else group)


def compressed(packed: np.ndarray, scale: Stored, zero: Stored | None, shape: tuple[int, int], bits: int) -> Integers:
    rows, columns = shape
    middle = 2 ** (bits - 1)
    codes = (
        (packed.astype(np.int16) + middle).astype(np.uint8)
        if packed.dtype == np.int8
        else fields(packed, bits).reshape(rows, -1)[:, :columns]
    )
    scales = np.broadcast_to(
        values_of(scale).reshape(-1, 1) if scale.bits.ndim < 2 else values_of(scale),
        (rows, max(1, scale.bits.size // rows)),
    )
    groups = scales.shape[1]
    if zero is None:
        zeros = np.full(scales.shape, middle, np.uint8)
    elif zero.dtype == "I8":
        zeros = (zero.bits.astype(np.int16) + middle).astype(np.uint8)
    else:
        zeros = fields(zero.bits.T, bits).reshape(groups, -1)[:, :rows].T
    return Integers(bits, codes, zeros, scales, columns // groups)


def float8(codes: Stored, scale: Stored, block: list[int] | None) -> np.ndarray:
    values, scales = values_of(codes), values_of(scale)
    rows, columns = values.shape[-2:]
    if scales.size == 1:
        return values * scales.reshape(-1)[0]
    if scales.ndim == values.ndim - 1:
        scales = scales[..., None]
    if scales.shape[-1] == 1 and scales.shape[-2] in (1, rows):
        return values * scales
    spread = np.repeat(np.repeat(scales, block[0], axis=-2), block[1], axis=-1)
    return values * spread[..., :rows, :columns]


def weights(tensors: Tensors, config: dict) -> dict[str, np.ndarray | Integers]:
    """Every quantized weight of a checkpoint, by the name that the plain one would have."""
    quantization = config.get("quantization_config", {})
    found: dict[str, np.ndarray | Integers] = {}
    for name, tensor in tensors.items():
        module = name.rsplit(".", 1)[0]
        if name.endswith(".qweight"):
            zeros, scales = tensors[module + ".qzeros"].bits, tensors[module + ".scales"]
            groups, rows = scales.bits.shape
            awq_packed = quantization["quant_method"] == "awq" or "awq" in quantization.get("packing_format", "")
            columns = tensor.bits.shape[0] if awq_packed else tensor.bits.shape[0] * rows // zeros.shape[1]
            sizes = {
                quantization["group_size"],
                *(
                    rule.get("group_size", quantization["group_size"])
                    for rule in (quantization.get("dynamic", {}) | quantization.get("extra_config", {})).values()
                ),
            }
            group = next(
                columns if size == -1 else size
                for size in sizes
                if groups == (1 if size == -1 else -(-columns // size))
            )
            if awq_packed:
                found[module + ".weight"] = awq(tensor.bits, zeros, scales, group)
            else:
                less_one = (
                    quantization.get("checkpoint_format") == "gptq"
                    or quantization.get("packing_format") == "auto_round:auto_gptq"
                )
                found[module + ".weight"] = gptq(tensor.bits, zeros, scales, group, less_one)
        elif name.endswith(".weight_packed"):
            shape = tuple(int(size) for size in tensors[module + ".weight_shape"].bits)
            bits = 4 if tensor.bits.shape[1] == -(-shape[1] // 8) else 8
            found[module + ".weight"] = compressed(
                tensor.bits, tensors[module + ".weight_scale"], tensors.get(module + ".weight_zero_point"), shape, bits
            )
        elif tensor.dtype == "I8" and name + "_scale" in tensors:
            found[name] = compressed(
                tensor.bits, tensors[name + "_scale"], tensors.get(module + ".weight_zero_point"), tensor.bits.shape, 8
            )
        elif tensor.dtype.startswith("F8_E4") or tensor.dtype.startswith("F8_E5"):
            scale = tensors.get(name + "_scale_inv", tensors.get(name + "_scale"))
            groups = quantization.get("config_groups", {}).values()
            block = quantization.get("weight_block_size") or next(
                (g["weights"]["block_structure"] for g in groups if g["weights"].get("block_structure")), None
            )
            found[name] = float8(tensor, scale, block)
    return found
