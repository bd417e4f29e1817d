#!/usr/bin/env python3
"""Gives the experts' down_proj half as many groups of 4-bit weights: one_group_experts.py MODEL_DIR OUT

MODEL_DIR: a text export of a mixture of experts in int4 whose down_proj has two groups to a row. With a third argument,
a device, the result is compiled for it and what the device says is printed. The numbers of the result mean nothing.
"""

import shutil
import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def main() -> None:
    directory, out = map(Path, sys.argv[1:3])
    shutil.copytree(directory, out)
    file = out / "openvino_model.xml"
    tree = xml.parse(file)
    changed = 0
    for layer in tree.getroot().iter("layer"):
        data = layer.find("data")
        if layer.get("type") != "Const" or "experts.down_proj" not in layer.get("name") or data is None:
            continue
        shape = [int(n) for n in data.get("shape").split(",")]  # experts, rows, groups, columns of a group
        if len(shape) != 4 or shape[2] != 2:
            continue
        codes = shape[3] > 1
        shape = [shape[0], shape[1], 1, 2 * shape[3] if codes else 1]
        data.set("shape", ",".join(map(str, shape)))
        if not codes:  # scales and zero points
            data.set("size", str(int(data.get("size")) // 2))
        for port in layer.iter("port"):
            for dim, length in zip(port.findall("dim"), shape, strict=True):
                dim.text = str(length)
        changed += 1
    tree.write(file)
    print(f"{changed} constants have one group now" if changed else "no down_proj with two groups was found")
    if len(sys.argv) > 3:
        import openvino as ov

        for source in (directory, out):
            try:
                ov.Core().compile_model(source / "openvino_model.xml", sys.argv[3])
                print(f"{source}: compiles")
            except RuntimeError as error:
                print(f"{source}: {error}")


if __name__ == "__main__":
    main()
