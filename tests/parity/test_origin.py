"""optimum-intel reads how a directory was made, leaves it as it is, and refuses to compress it twice."""

import json
from pathlib import Path

import openvino as ov
import pytest
from conftest import KJV, run_deltavino
from optimum.intel import OVModelForCausalLM
from optimum.intel.openvino import OVConfig, OVWeightQuantizationConfig
from optimum.intel.openvino.configuration import OVPipelineQuantizationConfig

TEXT = ("--task", "text-generation-with-past")


def export(out: Path, *options: object) -> Path:
    result = run_deltavino("export", "--model", KJV, out, *options)
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("int8",), {"bits": 8, "dtype": "int8", "sym": False, "group_size": -1}),
        (("int8", "--sym"), {"bits": 8, "dtype": "int8", "sym": True, "group_size": -1}),
        (("int4",), {"bits": 4, "dtype": "int4", "sym": False, "group_size": 128, "ratio": 1.0, "all_layers": False}),
        (
            ("int4", "--sym", "--group-size", "64", "--ratio", "0.5", "--backup-precision", "int8_sym", "--all-layers"),
            {
                "bits": 4,
                "sym": True,
                "group_size": 64,
                "ratio": 0.5,
                "backup_precision": "int8_sym",
                "all_layers": True,
            },
        ),
        (("nf4", "--group-size", "-1"), {"bits": 4, "dtype": "nf4", "group_size": -1}),
        (
            ("mxfp4", "--group-size-fallback", "ignore"),
            {"bits": 4, "dtype": "mxfp4", "group_size": 32, "group_size_fallback": "ignore"},
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_weight_quantization_config(tmp_path, options, expected):
    config = OVConfig.from_pretrained(export(tmp_path / "out", *TEXT, "--weight-format", *options))
    assert type(config.quantization_config) is OVWeightQuantizationConfig
    config.quantization_config.post_init()
    assert {key: getattr(config.quantization_config, key) for key in expected} == expected
    assert config.quantization_config.kwargs == {}, "nncf would get what optimum-intel does not know"
    assert config.dtype == options[0]


def test_float_has_no_quantization_config(tmp_path):
    config = OVConfig.from_pretrained(export(tmp_path / "out", *TEXT, "--weight-format", "fp16"))
    assert config.quantization_config is None and config.dtype == "fp16"


def test_one_config_per_model_of_a_vision_language_directory(tmp_path):
    config = OVConfig.from_pretrained(export(tmp_path / "out", "--weight-format", "int4"))
    assert type(config.quantization_config) is OVPipelineQuantizationConfig
    models = config.quantization_config.quantization_configs
    assert {name: (part.bits, part.sym) for name, part in models.items()} == {
        "lm_model": (4, False),
        "text_embeddings_model": (8, True),
        "vision_embeddings_model": (8, True),
        "vision_embeddings_merger_model": (8, True),
    }
    assert config.dtype == "int4_int8_int8_int8"


def types(model: ov.Model) -> dict[str, int]:
    found: dict[str, int] = {}
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant":
            kind = node.get_element_type().to_string()
            found[kind] = found.get(kind, 0) + 1
    return found


def test_loading_does_not_quantize_again(tmp_path):
    out = export(tmp_path / "out", *TEXT, "--weight-format", "int4")
    model = OVModelForCausalLM.from_pretrained(out, compile=False)
    assert types(model.model) == types(ov.Core().read_model(out / "openvino_model.xml"))
    assert types(model.model)["u4"] == 100
    model.save_pretrained(tmp_path / "again")
    assert types(ov.Core().read_model(tmp_path / "again" / "openvino_model.xml")) == types(model.model)
    with pytest.raises(RuntimeError, match="already optimized"):
        OVModelForCausalLM.from_pretrained(out, load_in_8bit=True)


def test_float_directory_can_be_quantized(tmp_path):
    out = export(tmp_path / "out", *TEXT)
    model = OVModelForCausalLM.from_pretrained(out, load_in_8bit=True, compile=False)
    assert types(model.model)["u8"] > 50 or types(model.model)["i8"] > 50
    assert json.loads((out / "openvino_config.json").read_text())["dtype"] == "auto"
