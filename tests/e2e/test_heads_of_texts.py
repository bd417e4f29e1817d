"""--task feature-extraction and text-classification: what is written, and what it is worth beside the text model."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from conftest import KJV, ROOT, run_deltavino
from exported import Constants
from test_ovms import fields, read

sys.path.insert(0, str(ROOT / "tests" / "sources"))
from stored import store, write  # noqa: E402

USAGE, INPUT, UNSUPPORTED = 2, 3, 4
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
FEATURES, SCORES = ("--task", "feature-extraction"), ("--task", "text-classification")


@pytest.fixture(scope="module")
def score() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((2, 128)).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoint(score, tmp_path_factory) -> Path:
    """The bundled checkpoint, whose head is its embedding, with a score for two labels."""
    out = tmp_path_factory.mktemp("heads") / "checkpoint"
    shutil.copytree(KJV, out, ignore=shutil.ignore_patterns("pictures"))
    write(out / "score.safetensors", {"score.weight": store("F32", score)})
    names = json.loads((out / "model.safetensors").read_bytes()[8 : 8 + int.from_bytes((out / "model.safetensors").read_bytes()[:8], "little")])
    weights = {name: "model.safetensors" for name in names if name != "__metadata__"} | {"score.weight": "score.safetensors"}
    (out / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    config = json.loads((out / "config.json").read_text()) | {"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}
    (out / "config.json").write_text(json.dumps(config))
    return out


@pytest.fixture(scope="module")
def folders(checkpoint) -> dict[str, Path]:
    made = {}
    for name, words in (("features", FEATURES), ("scores", ())):  # auto: a score and no head
        made[name] = checkpoint.parent / name
        result = run_deltavino("export", "-m", checkpoint, made[name], "--ovms", "--num_streams", 2, *words)
        assert result.returncode == 0, result.stderr
        assert "left out: the vision tower" in result.stderr
    return made


def ports(model: ov.Model) -> tuple[list[str], list[str]]:
    return tuple([f"{p.any_name} {p.element_type.to_string()} {p.partial_shape}" for p in side] for side in (model.inputs, model.outputs))


def test_ports(folders):
    inputs = ["input_ids i64 [?,?]", "attention_mask i64 [?,?]"]
    read_model = ov.Core().read_model
    assert ports(read_model(folders["features"] / "openvino_model.xml")) == (inputs, ["last_hidden_state f32 [?,?,128]"])
    assert ports(read_model(folders["scores"] / "openvino_model.xml")) == (inputs, ["logits f32 [?,2]"])
    for folder in folders.values():
        model = read_model(folder / "openvino_model.xml")
        assert not model.get_sinks() and not [op for op in model.get_ops() if op.get_type_name() == "ReadValue"]
        facts = json.loads(run_deltavino("inspect", folder, "--json").stdout)
        assert facts["missing"] == []


def test_the_delta_rule_is_one_operation(folders):
    compiled = ov.Core().compile_model(folders["scores"] / "openvino_model.xml", "CPU", FLOAT32)
    kinds = [node.get_rt_info()["layerType"] for node in compiled.get_runtime_model().get_ordered_ops()]
    assert kinds.count("GatedDeltaNet") == 6 and "Loop" not in kinds and "TensorIterator" not in kinds


@pytest.mark.parametrize("side", ["left", "right"])
def test_they_are_of_the_text_model(side, folders, kjv_text, score):
    """Hidden states give its logits by the embedding, and the score of the last one is the classifier's."""
    core = ov.Core()
    text = core.compile_model(kjv_text / "openvino_model.xml", "CPU", FLOAT32)
    features, scores = (core.compile_model(folders[name] / "openvino_model.xml", "CPU", FLOAT32) for name in ("features", "scores"))
    rows = [[5, 9, 200, 31, 7, 64, 90, 1], [300, 2, 17]]
    width = max(map(len, rows))
    ids, mask = np.zeros((2, width), np.int64), np.zeros((2, width), np.int64)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[i, place], mask[i, place] = row, 1
    hidden, found = features([ids, mask])[0], scores([ids, mask])[0]
    constants = Constants(kjv_text / "openvino_model.xml")
    head = constants.data(next(name for name in constants.nodes if name.removesuffix("/stored").endswith("embed_tokens.weight")))
    for i, row in enumerate(rows):
        request = text.create_infer_request()
        logits = request.infer({"input_ids": [row], "attention_mask": np.ones((1, len(row)), np.int64), "beam_idx": np.zeros(1, np.int32)})[0][0]
        own = hidden[i][mask[i] == 1]
        assert np.abs(own @ head.T - logits).max() / np.abs(logits).max() < 1e-5
        assert np.abs(found[i] - own[-1] @ score.T).max() / np.abs(found[i]).max() < 1e-5


def test_files_around_them(folders, checkpoint, tmp_path):
    for name, architecture in (("features", "Qwen3_5TextModel"), ("scores", "Qwen3_5ForSequenceClassification")):
        config = json.loads((folders[name] / "config.json").read_text())
        assert config["architectures"] == [architecture] and config["model_type"] == "qwen3_5_text"
        assert config["id2label"] == {"0": "no", "1": "yes"} and config["max_position_embeddings"] > 0
        assert 'pad_right="true"' in (folders[name] / "openvino_tokenizer.xml").read_text()
        assert "KV_CACHE_PRECISION" not in (folders[name] / "openvino_model.xml").read_text()
    assert json.loads((folders["scores"] / "tokenizer_config.json").read_text())["add_bos_token"] is False


def test_graphs_for_the_server(folders):
    for name, message, options in (
        ("features", "EmbeddingsCalculatorOVOptions", {"models_path": "./", "pooling": 1, "normalize_embeddings": True, "truncate": False}),
        ("scores", "RerankCalculatorOVOptions", {"models_path": "./", "max_allowed_chunks": 10000}),
    ):
        graph, found = read(folders[name])
        assert type(found).DESCRIPTOR.name == message
        assert fields(found) == options | {"plugin_config": '{"NUM_STREAMS":"2"}'}
        assert list(graph.input_stream) == ["REQUEST_PAYLOAD:input"] and list(graph.node[0].output_stream) == ["RESPONSE_PAYLOAD:output"]
        assert graph.node[0].calculator == message.removesuffix("Options")


def test_options_of_the_other_graphs(checkpoint, tmp_path):
    words = ("--target_device", "GPU", "--pooling", "MEAN", "--normalize", "false", "--truncate", "true", "--plugin_config", '{"NUM_STREAMS": "3"}')
    result = run_deltavino("export", "-m", checkpoint, tmp_path / "out", *FEATURES, "--ovms", *words)
    assert result.returncode == 0, result.stderr
    found = fields(read(tmp_path / "out")[1])
    assert found == {"models_path": "./", "target_device": "GPU", "pooling": 2, "normalize_embeddings": False, "truncate": True, "plugin_config": '{"NUM_STREAMS":"3"}'}
    result = run_deltavino("export", "-m", checkpoint, tmp_path / "two", *SCORES, "--ovms", "--max_allowed_chunks", 5, "--cache_size", 1)
    assert result.returncode == USAGE and "cache_size is not for a model that ranks texts" in result.stderr


@pytest.mark.parametrize(("words", "code", "said"), [
    (SCORES, INPUT, "there is no tensor 'score.weight' [labels, hidden_size]"),
    (("--task", "fill-mask"), USAGE, "unknown task 'fill-mask', expected auto, text-generation-with-past"),
    ((*FEATURES, "--weight-format", "int4", "--calibrate", "self"), USAGE, "lets the model write a text"),
])  # fmt: skip
def test_what_cannot_be_exported(words, code, said, tmp_path):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", *words)
    assert result.returncode == code and said in result.stderr, result.stderr


@pytest.mark.parametrize("command", ["check", "generate"])
def test_commands_that_want_a_language_model_say_so(command, folders):
    words = ("--prompt", "x") if command == "generate" else ()
    result = run_deltavino(command, folders["features"], *words)
    assert result.returncode in (INPUT, UNSUPPORTED) and result.stderr.count("\n") == 1, result.stderr
    assert "feature-extraction" in result.stderr, result.stderr
