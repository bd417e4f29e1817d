"""`check` holds the multi-token-prediction model against the reference, and names what is broken in it."""

import re
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from check_support import bad, break_export, by_name, check, divergence, rewrite_constant
from conftest import KJV, run_deltavino
from exported import joined_with_mtp
from openvino import opset13 as ops

PART = "multi-token prediction"
MODEL = "openvino_mtp_model"
TEXT = ("--task", "text-generation-with-past")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return joined_with_mtp(tmp_path_factory.mktemp("check-mtp") / "checkpoint")


@pytest.fixture(scope="module")
def exported(checkpoint) -> Path:
    """In float32, whose constants Python can rewrite."""
    out = checkpoint.parent / "float"
    result = run_deltavino("export", "-m", checkpoint, out, *TEXT, "--weight-format", "fp32")
    assert result.returncode == 0, result.stderr
    return out


def items(report: dict) -> dict[str, dict]:
    return {item["subject"]: item for item in report["items"] if item["part"] == PART}


def test_a_right_layer_is_good(exported, checkpoint):
    report = check(exported, checkpoint)
    assert report["good"] and not bad(report), report["verdict"]
    found = items(report)
    assert set(found) == {"inputs", "output", "states", "hidden states", "pieces of three tokens"}
    assert {item["finding"] for item in found.values()} == {"good"}
    assert divergence(report, "drafts, graph")["largest_difference"] < 1e-4
    assert divergence(report, "drafts, compression")["mean_kl"] < 1e-9
    assert len([w for w in report["weights"] if w["name"].startswith("mtp.")]) == 8


def test_the_cost_of_a_compressed_layer_is_its_weights(checkpoint, tmp_path):
    result = run_deltavino("export", "-m", checkpoint, tmp_path / "out", "--weight-format", "int4")
    assert result.returncode == 0, result.stderr
    report = check(tmp_path / "out", checkpoint)
    assert report["good"], report["verdict"]
    assert 1e-5 < divergence(report, "drafts, compression")["mean_kl"] < 1
    assert divergence(report, "drafts, graph")["largest_difference"] < 1e-4
    cost = float(re.search(r"weights cost (\S+) of", items(report)["hidden states"]["says"])[1])
    assert 0.01 < cost < 0.5


def test_a_checkpoint_without_the_layer(exported):
    report = check(exported, KJV)
    assert items(report)["drafts"]["finding"] == "note" and report["good"], report["verdict"]


def swapped_inputs(model: ov.Model) -> None:
    """Hidden states are taken for embeddings and embeddings for hidden states."""
    ports = {name: next(node for node in model.get_parameters() if name in node.output(0).get_names()) for name in ("hidden_states", "inputs_embeds")}
    readers = {name: [reader for reader in port.output(0).get_target_inputs() if reader.get_node().get_type_name() != "ShapeOf"] for name, port in ports.items()}
    for name, other in (("hidden_states", "inputs_embeds"), ("inputs_embeds", "hidden_states")):
        for reader in readers[name]:
            reader.replace_source_output(ports[other].output(0))


def doubled_positions(model: ov.Model) -> None:
    """Twice as far apart as they are."""
    positions = next(node for node in model.get_parameters() if "position_ids" in node.output(0).get_names())
    readers = list(positions.output(0).get_target_inputs())
    doubled = ops.multiply(positions, ops.constant(np.int64(2)))
    for reader in readers:
        reader.replace_source_output(doubled.output(0))


def doubled_output(model: ov.Model) -> None:
    result = model.get_results()[0]
    value = result.input_value(0)
    doubled = ops.multiply(value, ops.constant(np.float32(2)))
    names = value.get_names()
    value.get_tensor().set_names(set())
    doubled.output(0).get_tensor().set_names(names)
    result.input(0).replace_source_output(doubled.output(0))


def one_wrong_weight(model: ov.Model) -> None:
    rewrite_constant(by_name(model, "mtp.layers.0.mlp.down_proj.weight"), lambda values: values[::-1])


def renamed_output(model: ov.Model) -> None:
    model.output(0).get_tensor().set_names({"hidden"})


FAULTS = [
    (swapped_inputs, r"multi-token prediction is wrong: hidden states: .*first stage to go wrong is the projection"),
    (doubled_positions, r"multi-token prediction is wrong: hidden states: .*first stage to go wrong is the attention"),
    (doubled_output, r"multi-token prediction is wrong: hidden states: .*every stage before the final norm is right"),
    (one_wrong_weight, r"weights are wrong: 'mtp\.layers\.0\.mlp\.down_proj\.weight'"),
]


@pytest.mark.parametrize(("fault", "verdict"), FAULTS)
def test_fault_is_named(fault, verdict, exported, checkpoint, tmp_path):
    report = check(break_export(exported, tmp_path / "broken", fault, MODEL), checkpoint)
    assert not report["good"]
    assert re.search(verdict, report["verdict"]), report["verdict"]
    assert divergence(report, "graph")["largest_difference"] < 1e-4


def test_ports_are_looked_at_without_a_checkpoint(exported, tmp_path):
    report = check(break_export(exported, tmp_path / "broken", renamed_output, MODEL), None)
    assert re.search("multi-token prediction is wrong: output: expected one output 'last_hidden_state'", report["verdict"])
    assert set(items(report)) == {"inputs", "output", "states"}
