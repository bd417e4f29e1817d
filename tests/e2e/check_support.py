"""What the tests of `check` share: exporting, checking, and breaking an export by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
from conftest import KJV, run_deltavino

TOKENS = 48


def export(checkpoint: Path, out: Path, *options: str) -> Path:
    result = run_deltavino("export", "-m", checkpoint, out, "--task", "text-generation-with-past", *options)
    assert result.returncode == 0, result.stderr
    return out


def check(model: Path, against: Path | None = KJV, *options: object) -> dict:
    arguments = ["--against", against] if against else []
    result = run_deltavino("check", model, *arguments, "--tokens", TOKENS, "--json", *options)
    assert result.returncode in (0, 1), result.stderr
    report = json.loads(result.stdout)
    assert (result.returncode == 0) == report["good"]
    return report


def divergence(report: dict, name: str) -> dict:
    return next(d for d in report["divergences"] if d["name"] == name)


def bad(report: dict) -> list[str]:
    return [f"{i['part']}: {i['subject']}: {i['says']}" for i in report["items"] if i["finding"] == "BAD"]


def by_name(model: ov.Model, name: str) -> ov.Node:
    return next(op for op in model.get_ops() if op.get_friendly_name() == name)


def rewrite_constant(node: ov.Node, change) -> None:
    """Puts the constant with changed values in the place of `node`, for all who read it."""
    values = change(np.array(node.get_data()))
    new = ov.op.Constant(node.get_element_type(), ov.Shape(list(values.shape)), values.flatten().tolist())
    new.set_friendly_name(node.get_friendly_name())
    for target in list(node.output(0).get_target_inputs()):
        target.replace_source_output(new.output(0))


def break_export(source: Path, out: Path, fault, name: str = "openvino_model") -> Path:
    """A copy in which `fault` changed the model called `name`."""
    shutil.copytree(source, out)
    model = ov.Core().read_model(source / f"{name}.xml")
    fault(model)
    model.validate_nodes_and_infer_types()
    files = [out / f"{name}.{end}" for end in ("xml", "bin")]
    for file in files:
        file.unlink()
    ov.serialize(model, *map(str, files))
    return out
