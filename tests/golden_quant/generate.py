"""Writes nncf.safetensors: float weights and what nncf makes of them.

For each weight an OpenVINO model with one MatMul is compressed by nncf.compress_weights, data-free,
and the bytes of the Constants it leaves behind (codes, zero points, scales) are stored next to the
weight. quant_nncf_test.cpp compares our bytes with these. Needs openvino 2026.4.1 and nncf 3.4.0;
takes no argument and writes beside itself.
"""

import json
import pathlib
import struct
import sys

import nncf
import numpy as np
import openvino as ov
from openvino import opset13 as op

SEED = 20240713
MODES = {
    "u8": (nncf.CompressWeightsMode.INT8_ASYM, [0]),
    "i8": (nncf.CompressWeightsMode.INT8_SYM, [0]),
    "u4": (nncf.CompressWeightsMode.INT4_ASYM, [0, 32, 64, 128]),
    "i4": (nncf.CompressWeightsMode.INT4_SYM, [0, 32, 64, 128]),
    "nf4": (nncf.CompressWeightsMode.NF4, [0, 64]),
    "mxfp4": (nncf.CompressWeightsMode.MXFP4, [32]),
}
OV_TYPES = {"F32": ov.Type.f32, "F16": ov.Type.f16, "BF16": ov.Type.bf16}


def bf16_bits(values: np.ndarray) -> np.ndarray:
    """Round to nearest, ties to even; finite input."""
    bits = values.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def source_bytes(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "BF16":
        return bf16_bits(values)
    return values.astype(np.float16 if dtype == "F16" else np.float32)


def mixed_rows(rng: np.random.Generator, columns: int) -> np.ndarray:
    """One row for each kind of group that has a rule of its own somewhere."""
    normal = lambda: rng.standard_normal(columns)
    heavy = rng.standard_t(2, columns) * 0.02
    outliers = normal() * 0.01
    outliers[:: columns // 7] *= 60
    half_zero = normal()
    half_zero[: columns // 2] = 0
    signed_zero = np.where(np.arange(columns) % 3 == 0, -0.0, 0.0)
    # The largest value of a group of 32 sits on, or one bf16 step beside, six times a power of two.
    edges = normal() * 1e-7
    for group in range(columns // 32):
        step = (1.0, 1.0 + 2.0**-6, 1.0 - 2.0**-7)[group % 3]
        edges[group * 32 + 5] = 6.0 * 2.0 ** (-(group % 24)) * step
    deep_edges = normal() * 1e-9
    for group in range(columns // 32):
        deep_edges[group * 32 + 9] = -6.0 * 2.0 ** -(12 + group)
    rows = [
        normal() * 0.02,
        normal(),
        heavy,
        np.clip(rng.standard_cauchy(columns), -500, 500),
        outliers,
        half_zero,
        np.abs(normal()),
        -np.abs(normal()),
        np.full(columns, 0.37),
        np.full(columns, -0.37),
        np.zeros(columns),
        signed_zero,
        normal() * 1e-6,
        normal() * 1e-7,
        normal() * 1e-39,
        np.clip(normal() * 1e4, -6e4, 6e4),
        rng.integers(-20, 21, columns) / 4.0,
        rng.integers(-16, 16, columns) / 2.0,
        edges,
        deep_edges,
        normal() * 10.0 ** rng.uniform(-8, 4),
        0.05 + normal() * 0.001,
        np.linspace(-1, 1, columns),
        rng.uniform(-1, 1, columns) ** 9,
    ]
    return np.stack(rows)


def weights(rng: np.random.Generator) -> dict[str, tuple[str, np.ndarray]]:
    """Above 10000 weights nncf runs compiled OpenVINO models, below it runs numpy: both are here."""
    return {
        "mixed_f32": ("F32", np.concatenate([mixed_rows(rng, 256), mixed_rows(rng, 256)])),
        "mixed_f16": ("F16", np.concatenate([mixed_rows(rng, 256), mixed_rows(rng, 256)])),
        "mixed_bf16": ("BF16", np.concatenate([mixed_rows(rng, 256), mixed_rows(rng, 256)])),
        "odd_groups_bf16": ("BF16", rng.standard_normal((9, 1152)) * 0.02),
        "odd_columns_f32": ("F32", rng.standard_normal((101, 100)) * 0.02),
        "narrow_bf16": ("BF16", rng.standard_t(3, (1700, 6)) * 0.02),
        "small_f32": ("F32", mixed_rows(rng, 128)),
        "small_bf16": ("BF16", rng.standard_normal((3, 192)) * 0.02),
    }


def compress(source: np.ndarray, dtype: str, mode, group: int) -> dict[str, np.ndarray]:
    columns = source.shape[1]
    x = op.parameter([1, columns], ov.Type.f32)
    if dtype == "BF16":
        tensor = ov.Tensor(ov.Type.bf16, ov.Shape(source.shape))
        np.asarray(tensor.data).view(np.uint16)[:] = source
        constant = op.constant(tensor, name="w")
    else:
        constant = op.constant(source, dtype=OV_TYPES[dtype], name="w")
    weight = constant if dtype == "F32" else op.convert(constant, ov.Type.f32)
    model = ov.Model([op.matmul(x, weight, False, True)], [x])
    options = {}
    if mode not in (nncf.CompressWeightsMode.INT8_ASYM, nncf.CompressWeightsMode.INT8_SYM):
        options = {"group_size": group or -1, "ratio": 1.0, "all_layers": True}
    model = nncf.compress_weights(model, mode=mode, **options)
    parts = {"w": "packed", "w/zero_point": "zero_points", "w/scale": "scales"}
    found = {}
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_friendly_name() in parts:
            raw = np.frombuffer(np.ascontiguousarray(node.data).tobytes(), np.uint8)
            if len(raw) != node.get_byte_size():
                raise SystemExit(f"{node.get_friendly_name()}: {len(raw)} bytes, expected {node.get_byte_size()}")
            if node.get_element_type() == ov.Type.u4 and np.prod(node.get_output_shape(0)) % 2:
                raw = raw.copy()
                raw[-1] &= 0x0F  # half a byte that nobody wrote: whatever the memory held
            found[parts[node.get_friendly_name()]] = raw
    return found


def write_safetensors(path: pathlib.Path, tensors: dict[str, tuple[str, np.ndarray]], metadata: dict[str, str]) -> None:
    header: dict = {"__metadata__": metadata}
    offset = 0
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def main() -> None:
    nncf.set_log_level(40)
    rng = np.random.default_rng(SEED)
    tensors: dict[str, tuple[str, np.ndarray]] = {}
    for name, (dtype, values) in weights(rng).items():
        source = source_bytes(values, dtype)
        tensors[name] = (dtype, source)
        for label, (mode, groups) in MODES.items():
            for group in groups:
                if group and source.shape[1] % group:
                    continue
                if source.shape[1] == 6 and label not in ("u4", "i4", "u8"):
                    continue
                for part, raw in compress(source, dtype, mode, group).items():
                    tensors[f"{name}.{label}.{group}.{part}"] = ("U8", raw)
    path = pathlib.Path(__file__).with_name("nncf.safetensors")
    metadata = {"nncf": nncf.__version__, "openvino": ov.__version__, "seed": str(SEED)}
    write_safetensors(path, tensors, metadata)
    print(f"{len(tensors)} tensors, {path.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
