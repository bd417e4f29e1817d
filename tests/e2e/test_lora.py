"""`export --lora` against sums made with numpy, and adapters that must be refused. tests/parity has peft's merge."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from exported import Constants, stored_tensors, stored_values
from lora_support import factors_of, write_adapter

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import make_variants  # noqa: E402
import read_back  # noqa: E402

INPUT, UNSUPPORTED = 3, 4
TEXT = ("--task", "text-generation-with-past", "--disable-convert-tokenizer")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "in_proj_qkv", "in_proj_z",
               "in_proj_a", "in_proj_b", "out_proj")  # fmt: skip


def export(checkpoint: Path, out: Path, *options: object) -> Path:
    result = run_deltavino("export", "-m", checkpoint, out, *TEXT, *options)
    assert result.returncode == 0, result.stderr
    return out


def text_factors(*ends: str):
    return {module: pair for module, pair in factors_of(KJV, ends or PROJECTIONS).items() if "language_model" in module}


def assert_merged(out: Path, factors: dict, scale: float) -> None:
    constants = Constants(out / "openvino_model.xml")
    base = stored_tensors(KJV)
    for module, (a, b) in factors.items():
        weight = module + ".weight"
        values = stored_values(base[weight])
        expected = values + scale * (b.astype(np.float64) @ a.astype(np.float64))
        found = constants.values(weight, list(values.shape))
        assert np.abs(found - expected).max() < 2e-6, module
        assert np.abs(found - values).max() > 0.01, module


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"prefix": "base_model.model.base_model.model."},
        {"end": ".default"},
        {"prefix": ""},
        {"use_rslora": True, "scale": 4.0},
        {"lora_alpha": 3, "scale": 0.75},
    ],
    ids=["peft", "twice", "default", "bare", "rslora", "alpha"],
)
def test_merged_values(form, tmp_path):
    form = dict(form)
    scale = form.pop("scale", 2.0)
    factors = text_factors()
    adapter = write_adapter(tmp_path / "adapter", factors, **form)
    assert_merged(export(KJV, tmp_path / "out", "--lora", adapter, "--weight-format", "fp32"), factors, scale)


def test_names_without_language_model(tmp_path):
    factors = text_factors("q_proj")
    short = {module.replace("language_model.", ""): pair for module, pair in factors.items()}
    adapter = write_adapter(tmp_path / "adapter", short)
    assert_merged(export(KJV, tmp_path / "out", "--lora", adapter, "--weight-format", "fp32"), factors, 2.0)


def test_other_weights_stay_bit_for_bit_and_the_adapter_is_named(tmp_path):
    factors = text_factors("q_proj")
    adapter = write_adapter(tmp_path / "my-adapter", factors)
    out = export(KJV, tmp_path / "out", "--lora", adapter, "--report", tmp_path / "report.json")
    plain = export(KJV, tmp_path / "plain")
    origin = json.loads((out / "openvino_config.json").read_text())["deltavino"]["adapter"]
    assert origin == {
        "source": "my-adapter",
        "source_revision": None,
        "text": "rank 4, scale 2",
        "weights": len(factors),
        "replaced": 0,
    }
    assert "adapter" not in json.loads((plain / "openvino_config.json").read_text())["deltavino"]
    named = {t["name"] for t in json.loads((tmp_path / "report.json").read_text())["tensors"] if "adapter" in t}
    assert named == {module + ".weight" for module in factors}
    ours, base = Constants(out / "openvino_model.xml"), Constants(plain / "openvino_model.xml")
    assert ours.model.get_rt_info(["deltavino", "adapter"]).astype(str) == "my-adapter"
    changed = {
        name.removesuffix("/stored").removesuffix(".weight")
        for name, node in base.nodes.items()
        if "Constant_" not in name and node.get_data().tobytes() != ours.nodes[name].get_data().tobytes()
    }
    assert changed == set(factors)


def test_whole_tensors_replace(tmp_path):
    name = "model.language_model.norm"
    values = np.linspace(0.5, 1.5, stored_tensors(KJV)[name + ".weight"][1][0], dtype=np.float32)
    forms = (f"{name}.weight", f"{name}.modules_to_save.weight", f"{name}.modules_to_save.default.weight")
    made = []
    for i, form in enumerate(forms):
        adapter = write_adapter(tmp_path / f"adapter{i}", {}, more={form: values}, modules_to_save=["norm"])
        made.append(export(KJV, tmp_path / f"out{i}", "--lora", adapter))
    plain = export(KJV, tmp_path / "plain")
    bins = [(out / "openvino_model.bin").read_bytes() for out in (*made, plain)]
    assert bins[0] == bins[1] == bins[2] != bins[3]


def test_verify_and_check(tmp_path):
    """The reference merges on its own way; without the adapter it finds the weights off."""
    adapter = write_adapter(tmp_path / "adapter", text_factors())
    options = ("--task", "text-generation-with-past", "--lora", adapter, "--weight-format", "int4")
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", *options, "--verify")
    assert result.returncode == 0, result.stderr
    checked = run_deltavino("check", tmp_path / "out", "--against", KJV, "--lora", adapter, "--tokens", 20)
    assert checked.returncode == 0, checked.stdout
    assert run_deltavino("check", tmp_path / "out", "--against", KJV, "--tokens", 20).returncode != 0


def test_experts_of_their_own(tmp_path):
    """A checkpoint with one tensor per expert; of a fused one the names match nothing."""
    factors = factors_of(GOLDEN / "moe-split", ("experts.1.up_proj",))
    adapter = write_adapter(tmp_path / "adapter", factors)
    export(GOLDEN / "moe-split", tmp_path / "out", "--lora", adapter)
    result = run_deltavino("export", "-m", GOLDEN / "moe-e8k2", tmp_path / "no", *TEXT, "--lora", adapter)
    assert result.returncode == INPUT and "holds the experts of a layer in one tensor" in result.stderr


def refused(tmp_path: Path, adapter: Path, code: int, *words: str) -> None:
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", *TEXT, "--lora", adapter)
    assert result.returncode == code, result.stderr
    assert all(word in result.stderr for word in words), result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ({"use_dora": True}, UNSUPPORTED, ["/use_dora", "DoRA"]),
        ({"peft_type": "LOHA"}, UNSUPPORTED, ["/peft_type", "LOHA"]),
        ({"bias": "all"}, UNSUPPORTED, ["/bias", "all"]),
        ({"fan_in_fan_out": True}, UNSUPPORTED, ["/fan_in_fan_out"]),
        ({"lora_bias": True}, UNSUPPORTED, ["/lora_bias"]),
        ({"target_parameters": ["mlp.experts.down_proj"]}, UNSUPPORTED, ["/target_parameters"]),
        ({"init_lora_weights": "pissa_niter_4"}, UNSUPPORTED, ["/init_lora_weights", "pissa_niter_4"]),
        ({"of_the_future": 3}, UNSUPPORTED, ["/of_the_future", "not known"]),
        ({"r": 5}, INPUT, ["not rank 5"]),
        ({"r": -1}, INPUT, ["/r is -1"]),
        ({"lora_alpha": "8"}, INPUT, ["/lora_alpha"]),
        ({"alpha_pattern": {"(a*)*b": 4}}, INPUT, ["(a*)*b", "repeated groups"]),
        ({"rank_pattern": {"q_proj": 0}}, INPUT, ["/rank_pattern/q_proj"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_configuration_refused(config, code, words, tmp_path):
    refused(tmp_path, write_adapter(tmp_path / "adapter", text_factors("q_proj"), **config), code, *words)


def test_tensors_refused(tmp_path):
    factors = text_factors("q_proj")
    module, (a, b) = next(iter(factors.items()))
    other = module.replace("q_proj", "z_proj")
    cases = {
        "unmatched": ({other: (a, b)}, {}, INPUT, ["z_proj.weight' is not there"]),
        "rows": ({module: (a, b[:-1])}, {}, INPUT, ["make a matrix"]),
        "half": ({}, {f"{module}.lora_A.weight": a}, INPUT, ["one of its two factors"]),
        "nan": ({module: (a * np.nan, b)}, {}, INPUT, ["lora_A.weight", "NaN"]),
        "magnitude": ({}, {f"{module}.lora_magnitude_vector": b}, UNSUPPORTED, ["lora_magnitude_vector"]),
        "tied": ({}, {"model.language_model.embed_tokens.weight": None}, UNSUPPORTED, ["ensure_weight_tying"]),
        "shape": ({}, {"model.language_model.norm.weight": a}, INPUT, ["the same shape"]),
        "nothing": ({}, {}, INPUT, ["holds no tensors"]),
    }  # fmt: skip
    for name, (pairs, more, code, words) in cases.items():
        if name == "tied":
            shape = stored_tensors(KJV)["model.language_model.embed_tokens.weight"][1]
            more = dict.fromkeys(more, np.zeros(shape, np.float32))
        refused(tmp_path, write_adapter(tmp_path / name, pairs, more=more), code, *words)


def test_folders_refused(tmp_path):
    adapter = write_adapter(tmp_path / "adapter", text_factors("q_proj"))
    refused(tmp_path, KJV, INPUT, "adapter_config.json", "a checkpoint, not an adapter")
    refused(tmp_path, tmp_path / "absent", INPUT, "not a directory")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    refused(tmp_path, adapter, UNSUPPORTED, "pickle")
    (adapter / "adapter_model.bin").unlink()
    refused(tmp_path, adapter, INPUT, "adapter_model.safetensors")


def test_codes_are_not_kept_where_something_is_added(tmp_path):
    """Of a checkpoint in 4 bit, the other weights keep theirs."""
    row = make_variants.VARIANTS["gptq"]
    checkpoint = tmp_path / "gptq"
    tensors, config = make_variants.make(KJV, row.change, checkpoint, row.files)
    truth = read_back.weights(tensors, config)
    factors = {m: pair for m, pair in text_factors("o_proj").items() if m + ".weight" in truth}
    adapter = write_adapter(tmp_path / "adapter", factors)
    out = tmp_path / "out"
    result = run_deltavino("export", "-m", checkpoint, out, *TEXT, "--lora", adapter, "--keep", "*.o_proj.*=fp32")
    assert result.returncode == 0, result.stderr
    assert "with an adapter merged in" in result.stdout
    constants = Constants(out / "openvino_model.xml")
    for module, (a, b) in factors.items():
        expected = truth[module + ".weight"].values() + 2.0 * (b.astype(np.float64) @ a.astype(np.float64))
        assert np.abs(constants.values(module + ".weight", list(expected.shape)) - expected).max() < 2e-6
    kept = next(name for name in constants.nodes if name.endswith("mlp.up_proj.weight"))
    assert constants.type(kept) in ("i4", "u4")
    shutil.rmtree(out)
