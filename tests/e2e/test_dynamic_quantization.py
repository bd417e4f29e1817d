"""`export --dynamic-quantization`: what the models say, and that the runtime heeds it."""

import json

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from conftest import KJV, run_deltavino

TEXT = ("--task", "text-generation-with-past")
NAME = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}


def export(out, *options):
    result = run_deltavino("export", "-m", KJV, out, *options)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Exports of int8 text models by what was asked for."""
    folder = tmp_path_factory.mktemp("made")
    wanted = {"nothing": (), "64": ("--dynamic-quantization", "64"), "off": ("--dynamic-quantization", "off")}
    said = {name: export(folder / name, *TEXT, "--weight-format", "int8", *options) for name, options in wanted.items()}
    assert "activations: quantized in groups of 64" in said["64"] and "activations: never quantized" in said["off"]
    assert "activations" not in said["nothing"]
    return {name: folder / name for name in wanted}


def compiled(directory, **more):
    return ov.Core().compile_model(directory / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32", **more})


def logits(directory, **more):
    request, ids = compiled(directory, KV_CACHE_PRECISION="f32", **more).create_infer_request(), np.arange(1, 65)[None]
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "beam_idx": np.zeros(1, np.int32),
              "position_ids": np.arange(64)[None]}  # fmt: skip
    request.infer({name: value for name, value in inputs.items() if any(name in p.names for p in request.model_inputs)})
    return request.get_tensor("logits").data.copy()


def test_the_plugin_takes_what_the_model_says(made):
    groups = {name: compiled(directory).get_property(NAME) for name, directory in made.items()}
    assert groups["64"] == 64 and groups["off"] == 0 and groups["nothing"] not in (0, 64)
    assert compiled(made["64"], **{NAME: 32}).get_property(NAME) == 32  # the caller's word goes before


def test_weights_and_graph_stay_the_same(made):
    for name in ("64", "off"):
        assert (made[name] / "openvino_model.bin").read_bytes() == (made["nothing"] / "openvino_model.bin").read_bytes()
        ours, other = ((made[n] / "openvino_model.xml").read_text().split("<rt_info>\n\t\t<")[0] for n in (name, "nothing"))
        assert ours.split("</layers>")[0] == other.split("</layers>")[0]


def test_off_gives_the_numbers_of_float_activations(made):
    """The sums of 8-bit codes differ from those of floats by far more than rounding does."""
    exact = logits(made["nothing"], **{NAME: 0})
    assert np.array_equal(logits(made["off"]), exact)
    coarse = np.abs(logits(made["64"]) - exact).max() / np.abs(exact).max()
    assert coarse == 0 or coarse > 1e-5  # 0 where the processor has no such products


@pytest.mark.parametrize("backend", ["SDPA", "PA"])
def test_genai_takes_the_file(made, backend, greedy):
    prompt = np.array([greedy["single"][0]["prompt_ids"]])
    texts = []
    for directory in (made["nothing"], made["off"]):
        more = {NAME: "0"} if directory == made["nothing"] else {}
        pipeline = genai.LLMPipeline(directory, "CPU", ATTENTION_BACKEND=backend, **FLOAT32, **more)
        config = genai.GenerationConfig(do_sample=False, max_new_tokens=20, ignore_eos=True)
        texts.append(pipeline.generate(ov.Tensor(prompt), config).tokens[0])
    assert texts[0] == texts[1]


def test_only_models_with_compressed_weights_say_it(tmp_path):
    export(tmp_path / "vlm", "--weight-format", "int4", "--dynamic-quantization", "128")
    for file in (tmp_path / "vlm").glob("openvino_*model.xml"):
        text = file.read_text()
        assert (NAME in text) == ('element_type="u4"' in text or 'element_type="i8"' in text or 'element_type="u8"' in text
                                  and "tokenizer" not in file.name), file.name  # fmt: skip
    assert NAME in (tmp_path / "vlm" / "openvino_language_model.xml").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--weight-format", "fp16", "--dynamic-quantization", "64"), "it does not go with --weight-format fp16"),
     (("--weight-format", "int4", "--dynamic-quantization", "100"), "is 100, expected off or a power of two from 16 to 65536"),
     (("--weight-format", "int4", "--dynamic-quantization", "8"), "is 8, expected off or a power of two"),
     (("--weight-format", "int4", "--dynamic-quantization", "0"), "--dynamic-quantization"),
     (("--weight-format", "int4", "--dynamic-quantization", "on"), "--dynamic-quantization")],
)  # fmt: skip
def test_refused(options, said, tmp_path):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", *options)
    assert result.returncode == 2 and said in result.stderr, result.stderr
    assert not (tmp_path / "out").exists()


def test_is_told_in_the_directory(made):
    about = json.loads((made["64"] / "openvino_config.json").read_text())["deltavino"]
    assert any("groups of 64" in line for line in about["recipe"])
