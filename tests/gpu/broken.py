"""Exports with one fault each, which the bench must show."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as xml
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

MODEL = "openvino_model.xml"


def constant_query_scale(directory: Path, out: Path) -> Path:
    """The queries divided by a constant in place of a root that is computed from their shape."""
    model = ov.Core().read_model(directory / MODEL)
    changed = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Divide":
            continue
        root = node.input_value(1).get_node()
        if root.get_type_name() == "Power" and root.input_value(0).get_node().get_type_name() == "Convert":
            width = node.input_value(0).get_partial_shape()[3].get_length()
            node.input(1).replace_source_output(ops.constant(np.float32(width**0.5)).output(0))
            changed += 1
    assert changed, "no scale of queries was found"
    return save(model, out)


def bfloat16_split(directory: Path, out: Path) -> Path:
    """Queries, keys and values cut apart in bfloat16, as in graphs that were traced in it."""
    model = ov.Core().read_model(directory / MODEL)
    changed = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() == "VariadicSplit" and node.get_output_size() == 3:
            narrow = ops.convert(node.input_value(0), "bf16")
            parts = ops.variadic_split(narrow, node.input_value(1), node.input_value(2))
            for i in range(3):
                node.output(i).replace(ops.convert(parts.output(i), "f32").output(0))
            changed += 1
    assert changed, "no split was found"
    return save(model, out)


def one_group_in_down_proj(directory: Path, out: Path) -> Path:
    """down_proj of the experts with half as many groups as stored: one."""
    shutil.copytree(directory, out)
    tree = xml.parse(out / MODEL)
    changed = 0
    for layer in tree.getroot().iter("layer"):
        data = layer.find("data")
        if layer.get("type") != "Const" or "experts.down_proj" not in layer.get("name") or data is None:
            continue
        shape = [int(n) for n in data.get("shape").split(",")]
        if len(shape) != 4:
            continue
        assert shape[2] == 2, f"{layer.get('name')} has {shape[2]} groups"
        # Of the scales and zero points the first half is kept: which values they are does not matter here.
        is_codes = shape[3] > 1
        shape = [*shape[:2], 1, 2 * shape[3]] if is_codes else [*shape[:2], 1, 1]
        data.set("shape", ",".join(map(str, shape)))
        if not is_codes:
            data.set("size", str(int(data.get("size")) // 2))
        for port in layer.iter("port"):
            for dim, length in zip(port.findall("dim"), shape):
                dim.text = str(length)
        changed += 1
    assert changed, "no experts in groups were found"
    tree.write(out / MODEL)
    return out


def save(model: ov.Model, out: Path) -> Path:
    out.mkdir()
    ov.save_model(model, out / MODEL, compress_to_fp16=False)
    return out
