"""`check` looks at a picture: right towers are good, and each part that is broken is named."""

import re

import numpy as np
import openvino as ov
import pytest
from check_support import bad, break_export, by_name, check, divergence, rewrite_constant
from conftest import GOLDEN, KJV, run_deltavino
from openvino import opset13 as ops

BLOCK = "model.visual.blocks."


def test_a_right_tower_is_good(kjv_vlm):
    report = check(kjv_vlm)
    assert report["good"] and not bad(report), report["verdict"]
    (tower,) = (item for item in report["items"] if item["part"] == "vision tower")
    assert tower["finding"] == "good" and tower["says"].startswith("14 x 20 patches: the reference's within ")
    assert divergence(report, "with a picture")["largest_difference"] < 1e-4
    assert divergence(report, "all with a picture")["mean_kl"] < 1e-9
    assert len([w for w in report["weights"] if w["name"].startswith("visual.")]) == 16


def test_a_picture_of_the_user(kjv_vlm):
    report = check(kjv_vlm, KJV, "--image", KJV / "pictures" / "red-circle-on-blue.png")
    assert report["good"], report["verdict"]
    missing = run_deltavino("check", kjv_vlm, "--against", KJV, "--tokens", "8", "--image", KJV / "none.png")
    assert missing.returncode == 3 and missing.stderr.count("\n") == 1


def test_the_cost_of_a_compressed_tower_is_its_weights(tmp_path):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", "--weight-format", "int8")
    assert result.returncode == 0, result.stderr
    report = check(tmp_path / "out")
    assert report["good"], report["verdict"]
    (tower,) = (item for item in report["items"] if item["part"] == "vision tower")
    cost = float(re.search(r"weights cost (\S+) of", tower["says"])[1])
    assert 1e-4 < cost < 0.1


def exchange_inputs(first: ov.Node, second: ov.Node, port: int = 1) -> None:
    values = [node.input_value(port) for node in (first, second)]
    first.input(port).replace_source_output(values[1])
    second.input(port).replace_source_output(values[0])


def swapped_weights_of_blocks(model: ov.Model) -> None:
    exchange_inputs(*(by_name(model, f"{BLOCK}{block}.mlp.linear_fc1") for block in (1, 2)))


def swapped_constants_of_the_merger(model: ov.Model) -> None:
    """Scale and shift of its norm."""
    shift = by_name(model, "model.visual.merger.norm")
    exchange_inputs(shift.input_value(0).get_node(), shift)


def swapped_halves_of_rotation(model: ov.Model) -> None:
    """Rows turn as columns and columns as rows."""
    angles = next(node for node in model.get_parameters() if "rotary_pos_emb" in node.output(0).get_names())
    readers = list(angles.output(0).get_target_inputs())
    halves = ops.split(angles, ops.constant(np.int64(1)), 2)
    turned = ops.concat([halves.output(1), halves.output(0)], 1)
    for reader in readers:
        reader.replace_source_output(turned.output(0))


def corners_in_another_order(model: ov.Model) -> None:
    """The interpolation gives each corner's weight to another one."""
    lookup = by_name(model, "model.visual.pos_embed/lookup")
    readers = list(lookup.output(0).get_target_inputs())
    order = ops.gather(lookup, ops.constant(np.array([0, 2, 1, 3])), ops.constant(np.int64(0)))
    for reader in readers:
        reader.replace_source_output(order.output(0))


def patches_without_bias(model: ov.Model) -> None:
    bias = by_name(model, "model.visual.patch_embed.proj/bias")
    for reader in list(bias.output(0).get_target_inputs()):
        reader.replace_source_output(bias.input_value(0))


def one_wrong_weight(model: ov.Model) -> None:
    rewrite_constant(by_name(model, f"{BLOCK}1.attn.proj.weight"), lambda values: values[::-1])


def rows_and_columns_exchanged(model: ov.Model) -> None:
    """In the language model: text stands at the same place on all axes, a picture does not."""
    positions = next(node for node in model.get_parameters() if "position_ids" in node.output(0).get_names())
    readers = list(positions.output(0).get_target_inputs())
    order = ops.gather(positions, ops.constant(np.array([0, 1, 3, 2])), ops.constant(np.int64(0)))
    for reader in readers:
        reader.replace_source_output(order.output(0))


@pytest.mark.parametrize(
    ("part", "fault", "verdict"),
    [
        ("vision_embeddings", patches_without_bias, r"vision tower is wrong: patch embeddings: .* differs from the reference"),
        ("vision_embeddings_pos", corners_in_another_order, "vision tower is wrong: position embeddings: "),
        ("vision_embeddings_merger", swapped_halves_of_rotation, "vision tower is wrong: block 0: "),
        ("vision_embeddings_merger", swapped_weights_of_blocks, "vision tower is wrong: block 1: "),
        ("vision_embeddings_merger", swapped_constants_of_the_merger, "vision tower is wrong: merger: "),
        ("vision_embeddings_merger", one_wrong_weight, r"weights are wrong: 'visual\.blocks\.1\.attn\.proj\.weight'"),
        ("language", rows_and_columns_exchanged, "language model is wrong with a picture"),
    ],
)
def test_fault_is_named(part, fault, verdict, vlm_float, tmp_path):
    report = check(break_export(vlm_float, tmp_path / "broken", fault, f"openvino_{part}_model"))
    assert not report["good"]
    assert re.search(verdict, report["verdict"]), report["verdict"]


@pytest.fixture(scope="module")
def vlm_float(tmp_path_factory):
    """In float32, whose constants Python can rewrite."""
    out = tmp_path_factory.mktemp("vision") / "float"
    result = run_deltavino("export", "-m", KJV, out, "--weight-format", "fp32")
    assert result.returncode == 0, result.stderr
    return out


def test_a_checkpoint_without_the_tower(kjv_vlm, tmp_path):
    """Against the language model alone there is nothing to hold the tower against."""
    report = run_deltavino("check", kjv_vlm, "--against", GOLDEN / "dense-v1", "--tokens", "8")
    assert report.returncode == 3 and report.stderr.count("\n") == 1
