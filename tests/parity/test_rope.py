"""Rotary positions read from config.json against transformers: frequencies, attention factor, sections."""

import copy
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import transformers
from conftest import ROOT
from transformers.models.qwen3_5.modeling_qwen3_5 import Qwen3_5TextRotaryEmbedding
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeTextRotaryEmbedding
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextRotaryEmbedding

CONFIGS = ROOT / "tests" / "data" / "configs"
FAMILIES = {
    "qwen3_5": (transformers.Qwen3_5TextConfig, Qwen3_5TextRotaryEmbedding),
    "qwen3_5_text": (transformers.Qwen3_5TextConfig, Qwen3_5TextRotaryEmbedding),
    "qwen3_5_moe_text": (transformers.Qwen3_5MoeTextConfig, Qwen3_5MoeTextRotaryEmbedding),
    "qwen3_next": (transformers.Qwen3NextConfig, Qwen3NextRotaryEmbedding),
}
# transformers 5.2 knows no rope_type 'mrope'; the repository that has it means the default.
NOT_IN_TRANSFORMERS = {"Qwen3.6-35B-A3B-FP8"}
PUBLISHED = sorted(
    p.stem for p in CONFIGS.glob("*.json") if "Flash-Next" not in p.name and p.stem not in NOT_IN_TRANSFORMERS
)

SECTION = {"mrope_section": [11, 11, 10], "mrope_interleaved": True}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 262144}
VARIANTS = {
    # keys of text_config; None removes
    "yarn beside": {"rope_scaling": YARN},
    "yarn beside, key type": {"rope_scaling": {**YARN, "rope_type": None, "type": "yarn"}},
    "yarn beside, theta outside": {"rope_scaling": YARN, "rope_theta": 5e6},
    "yarn beside, theta inside": {"rope_scaling": {**YARN, "rope_theta": 5e6}, "rope_theta": 7e6},
    "yarn in rope_parameters": {"rope_parameters": {**YARN, **SECTION, "rope_theta": 1e7}},
    "yarn, no original length": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e7}},
    "yarn, original length outside": {
        "rope_parameters": {**YARN, "rope_theta": 1e7},
        "original_max_position_embeddings": 4096,
    },
    "yarn, short": {"rope_parameters": {**YARN, "rope_theta": 100.0, "original_max_position_embeddings": 64}},
    "yarn, not truncated": {"rope_parameters": {**YARN, "rope_theta": 1e7, "truncate": False}},
    "yarn, betas": {"rope_parameters": {**YARN, "rope_theta": 1e7, "beta_fast": 16.0, "beta_slow": 2.0}},
    "yarn, attention factor": {"rope_parameters": {**YARN, "rope_theta": 1e7, "attention_factor": 1.5}},
    "yarn, mscale": {"rope_parameters": {**YARN, "rope_theta": 1e7, "mscale": 0.7, "mscale_all_dim": 0.3}},
    "yarn, one mscale": {"rope_parameters": {**YARN, "rope_theta": 1e7, "mscale": 0.7}},
    "yarn, factor is null": {
        "rope_parameters": {**YARN, "rope_theta": 1e7, "factor": "null"},
        "max_position_embeddings": 1048576,
    },
    "yarn, factor below 1": {"rope_parameters": {**YARN, "rope_theta": 1e7, "factor": 0.5}},
    "yarn, half of the head": {"rope_parameters": {**YARN, "rope_theta": 1e7, "partial_rotary_factor": 0.5}},
    "yarn, half of the head, outside": {"rope_parameters": {**YARN, "rope_theta": 1e7}, "partial_rotary_factor": 0.5},
    "other theta beside": {"rope_scaling": {"rope_type": "default", "rope_theta": 5e3}},
    "default beside": {"rope_scaling": {"rope_type": "default", **SECTION}},
    "empty rope_scaling": {"rope_scaling": {}},
    "no rope_scaling": {"rope_scaling": "null"},
    "theta at both places": {"rope_theta": 12345.0},
    "theta outside": {"rope_parameters": {"rope_type": "default"}, "rope_theta": 12345.0},
    "no theta": {"rope_parameters": {"rope_type": "default", **SECTION}},
    "no rope keys": {"rope_parameters": None},
    "half of the head": {"rope_parameters": {"rope_theta": 1e7, "partial_rotary_factor": 0.5}},
    "half of the head, outside": {"rope_parameters": {"rope_theta": 1e7}, "partial_rotary_factor": 0.5},
    "two partial factors": {
        "rope_parameters": {"rope_theta": 1e7, "partial_rotary_factor": 0.5},
        "partial_rotary_factor": 1.0,
    },
}


def ours(path: Path) -> dict:
    tool = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).with_name("deltavino_test_tool")
    return json.loads(subprocess.run([tool, "rope", path], capture_output=True, text=True, check=True).stdout)


def theirs(config: dict) -> tuple[np.ndarray, float, list[int] | None]:
    text = copy.deepcopy(config.get("text_config", config))
    config_class, rotary_class = FAMILIES[text["model_type"]]
    rotary = rotary_class(config_class.from_dict(text))
    return rotary.inv_freq.numpy(), float(rotary.attention_scaling), getattr(rotary, "mrope_section", None)


def compare(path: Path) -> None:
    found = ours(path)
    frequencies, attention_factor, section = theirs(json.loads(path.read_text()))
    assert len(found["inverse_frequencies"]) == len(frequencies)
    np.testing.assert_allclose(found["inverse_frequencies"], frequencies, rtol=2e-6)
    assert found["attention_factor"] == pytest.approx(attention_factor, rel=1e-12)
    if section is not None and found["mrope_section"]:  # [11, 11, 10] is the default of both
        assert found["mrope_section"] == section


@pytest.mark.parametrize("name", PUBLISHED)
def test_published(name):
    compare(CONFIGS / f"{name}.json")


def edited(keys: dict) -> dict:
    """None removes a key, "null" is null."""
    return {
        key: edited(value) if isinstance(value, dict) else None if value == "null" else value
        for key, value in keys.items()
        if value is not None
    }


@pytest.mark.parametrize("name", VARIANTS)
def test_variant(name, tmp_path):
    config = json.loads((CONFIGS / "Qwen3.6-27B.json").read_text())
    text = config["text_config"]
    text.pop("partial_rotary_factor", None)
    for key in VARIANTS[name]:
        text.pop(key, None)
    text.update(edited(VARIANTS[name]))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    compare(path)
