"""`check` says that a right export is right, and names the place when one of twelve things is broken in it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from check_support import bad, break_export, by_name, check, divergence, export, rewrite_constant
from conftest import GOLDEN, KJV, run_deltavino
from openvino import opset13 as ops


@pytest.fixture(scope="module")
def int4(tmp_path_factory) -> Path:
    return export(KJV, tmp_path_factory.mktemp("check") / "int4", "--weight-format", "int4")


def test_a_right_export_is_good(kjv_text):
    report = check(kjv_text)
    assert report["good"] and not bad(report), report["verdict"]
    assert divergence(report, "compression")["mean_kl"] == 0.0
    assert divergence(report, "graph")["largest_difference"] < 1e-4
    assert len(report["layers"]) == 16
    assert len(report["weights"]) == 69


def test_the_cost_of_int4_is_the_weights(int4):
    report = check(int4)
    assert report["good"], report["verdict"]
    assert 1e-3 < divergence(report, "compression")["mean_kl"] < 0.2
    assert divergence(report, "graph")["mean_kl"] < 1e-6


def test_vision_language_directory_and_html(kjv_vlm, tmp_path):
    report = check(kjv_vlm, KJV, "--report", tmp_path / "report.html")
    assert report["good"], report["verdict"]
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2 and "http" not in page and "<script" not in page
    assert report["verdict"] in page.replace("&quot;", '"').replace("&lt;", "<")


def test_without_a_checkpoint(kjv_text):
    report = check(kjv_text, None)
    assert report["good"] and "--against" in report["verdict"]
    assert {d["name"] for d in report["divergences"]} == {"precision"}


# Faults that a hand could make in the graph or its constants. Each changes the logits.


def constant_before(node: ov.Node, port: int) -> ov.Node:
    source = node.input_value(port).get_node()
    while source.get_type_name() == "Convert":
        source = source.input_value(0).get_node()
    assert source.get_type_name() == "Constant"
    return source


LAYER = "model.language_model.layers."


def scale_of_one_tensor(model: ov.Model) -> None:
    rewrite_constant(by_name(model, LAYER + "3.self_attn.v_proj.weight/scale"), lambda v: v * 1.5)


def swapped_gate_and_up(model: ov.Model) -> None:
    gate, up = (by_name(model, f"{LAYER}2.mlp.{name}_proj") for name in ("gate", "up"))
    values = [node.input_value(1) for node in (gate, up)]
    gate.input(1).replace_source_output(values[1])
    up.input(1).replace_source_output(values[0])


def heads_paired_wrongly(model: ov.Model) -> None:
    """Value head h meets key head h % H_k instead of h / (H_v / H_k): all even heads first.

    By Split and Concat: the fused operation swallows every Gather on its way to the projections, whatever
    its indices.
    """
    split = next(op for op in model.get_ordered_ops() if op.get_type_name() == "VariadicSplit" and op.get_output_size() == 3)
    heads = next(iter(split.output(2).get_target_inputs())).get_node()  # [B, S, H_v, V]
    readers = list(heads.output(0).get_target_inputs())
    single = ops.split(heads, ops.constant(np.int64(2)), 8)
    order = ops.concat([single.output(h) for h in [0, 2, 4, 6, 1, 3, 5, 7]], 2)
    for target in readers:
        target.replace_source_output(order.output(0))


def norm_without_one_plus(model: ov.Model) -> None:
    rewrite_constant(constant_before(by_name(model, LAYER + "5.post_attention_layernorm"), 1), lambda v: v - 1)


def state_that_drifts(model: ov.Model) -> None:
    """What is kept for the next call is not what this one ended with."""
    keep = next(op for op in model.get_ops() if op.get_type_name() == "Assign" and ".ssm.2" in op.get_friendly_name())
    scaled = ops.multiply(keep.input_value(0), ops.constant(np.float32(1.5)))
    keep.input(0).replace_source_output(scaled.output(0))


def conv_taps_reversed(model: ov.Model) -> None:
    rewrite_constant(by_name(model, LAYER + "1.linear_attn.conv1d.weight/stored"), lambda v: v[..., ::-1])


def positions_that_forget_the_past(model: ov.Model) -> None:
    ranges = [op for op in model.get_ops() if op.get_type_name() == "Range" and op.input_value(0).get_node().get_type_name() == "Gather"]
    assert len(ranges) == 1
    length = ranges[0].input_value(1).get_node().input_value(1)
    ranges[0].input(0).replace_source_output(ops.constant(np.int64(0)).output(0))
    ranges[0].input(1).replace_source_output(length)


def state_not_gathered(model: ov.Model) -> None:
    read = next(op for op in model.get_ops() if op.get_type_name() == "ReadValue" and ".conv.0" in op.get_friendly_name())
    gather = next(iter(read.output(0).get_target_inputs())).get_node()
    for target in list(gather.output(0).get_target_inputs()):
        target.replace_source_output(read.output(0))


def constant_query_scale(model: ov.Model) -> None:
    """Right numbers, but the delta rule is not fused any more."""
    for node in [op for op in model.get_ops() if op.get_type_name() == "Divide" and op.input_value(1).get_node().get_type_name() == "Power"]:
        node.input(1).replace_source_output(ops.constant(np.float32(np.sqrt(32.0))).output(0))


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (scale_of_one_tensor, r"the weights are wrong: 'model\.layers\.3\.self_attn\.v_proj\.weight'"),
        (swapped_gate_and_up, r"graph .* first place to go wrong is layer 2, feed-forward"),
        (heads_paired_wrongly, r"graph .* first place to go wrong is layer 0, mixer"),
        (norm_without_one_plus, r"graph .* first place to go wrong is layer 5, feed-forward"),
        (conv_taps_reversed, r"the weights are wrong: 'model\.layers\.1\.linear_attn\.conv1d\.weight'"),
        (positions_that_forget_the_past, r"prompt in pieces is wrong"),
        (state_not_gathered, r"beam search|paged form"),
    ],
)
def test_fault_is_named(fault, verdict, int4, tmp_path):
    report = check(break_export(int4, tmp_path / "broken", fault))
    assert not report["good"]
    assert re.search(verdict, report["verdict"]), report["verdict"]


def test_wrong_state_shows_in_the_forms(kjv_text, tmp_path):
    report = check(break_export(kjv_text, tmp_path / "broken", state_that_drifts))
    assert not report["good"]
    assert any("prompt in pieces" in line or "fusions" in line for line in bad(report)), bad(report)


def test_lost_fusion_is_named(kjv_text, tmp_path):
    report = check(break_export(kjv_text, tmp_path / "broken", constant_query_scale))
    assert not report["good"]
    assert any("GatedDeltaNet" in line for line in bad(report)), bad(report)


# Faults of an exporter that reads the configuration wrongly: the weights are right, the graph is another.


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"rms_norm_eps": 0.01}, "layer 0, mixer"),
        ({"partial_rotary_factor": 1.0}, "layer 3, mixer"),
        ({"rope_theta": 100.0}, "layer 3, mixer"),
    ],
)
def test_configuration_read_wrongly(change, place, tmp_path):
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(KJV, checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    text = config["text_config"]
    for key, value in change.items():
        section = text["rope_parameters"] if key != "rms_norm_eps" else text
        section[key] = value
        section.pop("mrope_section", None)
    (checkpoint / "config.json").write_text(json.dumps(config))
    report = check(export(checkpoint, tmp_path / "out"))
    assert re.search(f"graph .* first place to go wrong is {place}", report["verdict"]), report["verdict"]


def test_one_expert_exchanged(kjv_text, tmp_path):
    case = GOLDEN / "moe-e8k2"
    out = export(case, tmp_path / "out", "--disable-convert-tokenizer")
    for name in ["openvino_tokenizer", "openvino_detokenizer"]:  # an export refuses more tokens than embeddings
        for end in [".xml", ".bin"]:
            shutil.copy(kjv_text / (name + end), out)
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]:
        shutil.copy(KJV / name, out)
    # Ids below 128, all that this checkpoint embeds.
    prompt = "314159265358979323846264338327950288"
    good = check(out, case, "--prompt", prompt)
    assert good["good"], good["verdict"]

    def exchange(model: ov.Model) -> None:
        node = next(op for op in model.get_ops() if "layers.1.mlp.experts.up_proj.weight" in op.get_friendly_name() and op.get_type_name() == "Constant")
        rewrite_constant(node, lambda v: v[[1, 0, *range(2, len(v))]])

    report = check(break_export(out, tmp_path / "broken", exchange), case, "--prompt", prompt)
    assert "model.layers.1.mlp.experts.up_proj.weight" in report["verdict"]


def test_tokenizer_of_another_model(kjv_text, tmp_path):
    other = tmp_path / "checkpoint"
    shutil.copytree(KJV, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    names = list(vocab)
    names[300], names[301] = names[301], names[300]
    tokenizer["model"]["vocab"] = {name: i for i, name in enumerate(sorted(names[:256]) + names[256:])}
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    foreign = export(other, tmp_path / "foreign")
    mixed = tmp_path / "mixed"
    shutil.copytree(kjv_text, mixed)
    for name in ["openvino_tokenizer", "openvino_detokenizer"]:
        for end in [".xml", ".bin"]:
            shutil.copy(foreign / (name + end), mixed)
    report = check(mixed)
    assert not report["good"]
    assert any(line.startswith("tokenizer: vocabulary") for line in bad(report)), bad(report)


def test_missing_model_is_an_input_error(tmp_path):
    result = run_deltavino("check", tmp_path)
    assert result.returncode == 3 and result.stderr.count("\n") == 1
