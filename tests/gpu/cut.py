"""Single products out of exported models: a whole model in 4 bit takes the runtime minutes a product to compile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from safetensors.numpy import save_file


def product(directory: Path, name: str, folder: Path, rows: int = 40) -> tuple[Path, Path]:
    """The IR of y = x W of the weight `name` with its decompression, and a file with an x."""
    model = ov.Core().read_model(directory / "openvino_model.xml")
    matmul = next(node for node in model.get_ordered_ops()
                  if node.get_type_name() == "MatMul" and node.get_friendly_name() == name)  # fmt: skip
    width = matmul.input_value(0).get_partial_shape()[2].get_length()
    x = ops.parameter([-1, -1, width], np.float32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    matmul.input(0).replace_source_output(x.output(0))
    xml, inputs = folder / "product.xml", folder / "x.safetensors"
    ov.save_model(ov.Model([matmul.output(0)], [x], "product"), xml, compress_to_fp16=False)
    save_file({"x": np.random.default_rng(5).standard_normal((1, rows, width)).astype(np.float32)}, inputs)
    return xml, inputs
