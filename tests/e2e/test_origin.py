"""How an exported directory was made, as it says itself: openvino_config.json, rt_info and `inspect`.

The numbers of `inspect --json` are counted again here, from headers, config.json and the .xml files.
"""

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openvino as ov
import pytest
from conftest import GOLDEN, KJV, run_deltavino
from exported import stored_bytes, stored_tensors

INPUT = 3
TEXT = ("--task", "text-generation-with-past", "--disable-convert-tokenizer")
VERSION = re.search(
    r"VERSION ([0-9.]+)", (KJV.parent.parent / "CMakeLists.txt").read_text().split("project(")[1]
).group(1)
OPENVINO = ov.__version__
MODELS = [
    "openvino_language_model",
    "openvino_text_embeddings_model",
    "openvino_vision_embeddings_model",
    "openvino_vision_embeddings_merger_model",
    "openvino_vision_embeddings_pos_model",
]


def export(checkpoint: Path, out: Path, *options: object) -> Path:
    result = run_deltavino("export", "--model", checkpoint, out, *options)
    assert result.returncode == 0, result.stderr
    return out


def inspect(path: Path) -> dict:
    return json.loads(run_deltavino("inspect", path, "--json").stdout)


def rt_info(xml: Path) -> dict[str, str]:
    """{'a/b': value} of the model, not of its layers."""
    found = {}

    def walk(element, path):
        for child in element:
            name = f"{path}/{child.tag}" if path else child.tag
            if child.get("value") is not None:
                found[name] = child.get("value")
            walk(child, name)

    walk(ElementTree.parse(xml).getroot().find("rt_info"), "")
    return found


def origin(source: str, weight_format: str) -> dict[str, str]:
    return {
        "Runtime_version": OPENVINO,
        "deltavino/version": VERSION,
        "deltavino/openvino_version": OPENVINO,
        "deltavino/source": source,
        "deltavino/weight_format": weight_format,
    }


def compression(
    mode: str, group_size: str, ratio: str = "1", search: str = "least-error", all_layers: str = "False"
) -> dict[str, str]:
    keys = {"mode": mode, "group_size": group_size, "ratio": ratio, "all_layers": all_layers}
    return {
        "deltavino/scale_search": search,
        **{f"nncf/weight_compression/{key}": value for key, value in keys.items()},
    }


SCALE = {"runtime_options/ACTIVATIONS_SCALE_FACTOR": "8.0"}
FLOAT_CACHE = {"runtime_options/KV_CACHE_PRECISION": "f16"}


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ((), "as stored", FLOAT_CACHE),
        (("--weight-format", "fp16"), "fp16", FLOAT_CACHE),
        (("--weight-format", "int8"), "int8", compression("int8_asym", "-1")),
        (("--weight-format", "int8", "--sym"), "int8", compression("int8_sym", "-1")),
        (("--weight-format", "int4"), "int4", compression("int4_asym", "128")),
        (
            ("--weight-format", "int4", "--sym", "--group-size", "-1", "--all-layers"),
            "int4",
            compression("int4_sym", "-1", all_layers="True"),
        ),
        (
            ("--weight-format", "int4", "--group-size", "32", "--ratio", "0.75", "--scale-search", "nncf"),
            "int4",
            compression("int4_asym", "32", "0.75", "nncf"),
        ),
        (("--weight-format", "nf4", "--group-size", "64"), "nf4", compression("nf4", "64")),
        (("--weight-format", "mxfp4"), "mxfp4", compression("mxfp4", "32")),
    ],
)
def test_rt_info_of_the_text_model(tmp_path, options, name, expected):
    info = rt_info(export(KJV, tmp_path / "out", *TEXT, *options) / "openvino_model.xml")
    layers = json.loads(info.pop("hidden_states_decoder_layers"))
    assert info == {**origin("kjv-tiny", name), **SCALE, **expected}
    prefix = "model.language_model"
    producers = [f"{prefix}.layers.{i}/residual" for i in range(8)] + [f"{prefix}.norm"]
    assert layers == {
        "layers": {str(i): {"producer": producer, "output_index": 0} for i, producer in enumerate(producers)}
    }


def test_rt_info_of_the_vision_language_models(tmp_path):
    out = export(KJV, tmp_path / "out", "--weight-format", "int4")
    assert {path.stem for path in out.glob("*model.xml")} == set(MODELS)
    for model in MODELS:
        info = rt_info(out / f"{model}.xml")
        assert bool(info.pop("hidden_states_decoder_layers", None)) == (model == MODELS[0])
        own = {
            MODELS[0]: {**SCALE, **compression("int4_asym", "128")},
            MODELS[3]: {**SCALE, **compression("int8_sym", "-1")},
            MODELS[4]: {},
        }.get(model, compression("int8_sym", "-1"))
        assert info == {**origin("kjv-tiny", "int4"), **own}, model


def test_config_of_a_vision_language_directory(tmp_path):
    """What consumers look for where the checkpoint does not have it."""
    stored = json.loads((KJV / "config.json").read_text())
    stored["vision_config"].pop("deepstack_visual_indexes", None)
    shutil.copytree(KJV, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "config.json").write_text(json.dumps(stored))
    config = json.loads((export(tmp_path / "checkpoint", tmp_path / "out") / "config.json").read_text())
    assert config["vision_config"].pop("deepstack_visual_indexes") == []
    assert config.pop("max_position_embeddings") == stored["text_config"]["max_position_embeddings"]
    assert config["architectures"] == ["Qwen3_5ForConditionalGeneration"] and config["model_type"] == "qwen3_5"
    assert config["tie_word_embeddings"] is config["text_config"]["tie_word_embeddings"] is True
    changed = {key for key in stored if key not in {"text_config", "vision_config"} and config[key] != stored[key]}
    assert changed == set()


def test_a_plugin_can_read_the_group_size(tmp_path):
    """As the NPU plugin asks for it, which decides from -1."""
    model = ov.Core().read_model(
        str(
            export(KJV, tmp_path / "out", *TEXT, "--weight-format", "int4", "--group-size", "-1") / "openvino_model.xml"
        )
    )
    assert int(model.get_rt_info(["nncf", "weight_compression", "group_size"]).astype(str)) == -1


@pytest.mark.parametrize("case", ["kjv-tiny", "moe-e16k4", "next-r2", "moe-split"])
def test_hidden_states_are_where_rt_info_says(tmp_path, case):
    """Every producer is a node of the model that gives hidden states; the last one feeds the head."""
    checkpoint = KJV if case == "kjv-tiny" else GOLDEN / case
    config = json.loads((checkpoint / "config.json").read_text())
    config = config.get("text_config", config)
    model = ov.Core().read_model(str(export(checkpoint, tmp_path / "out", *TEXT) / "openvino_model.xml"))
    layers = json.loads(rt_info(tmp_path / "out" / "openvino_model.xml")["hidden_states_decoder_layers"])["layers"]
    nodes = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    order = [node.get_friendly_name() for node in model.get_ordered_ops()]
    producers = [layers[str(i)]["producer"] for i in range(config["num_hidden_layers"] + 1)]
    assert len(layers) == len(producers) == len(set(producers))
    for producer in producers:
        assert (
            nodes[producer].get_output_partial_shape(layers["0"]["output_index"])[2].get_length()
            == config["hidden_size"]
        )
    assert sorted(producers, key=order.index) == producers
    head = model.output("logits").get_node().input_value(0).get_node()
    assert head.input_value(0).get_node().get_friendly_name() == producers[-1]


# openvino_config.json

WHOLE_INT4 = {
    "bits": 4,
    "dtype": "int4",
    "sym": False,
    "group_size": 128,
    "ratio": 1.0,
    "all_layers": False,
    "backup_precision": None,
    "group_size_fallback": "adjust",
    "quant_method": "default",
}
WHOLE_INT8 = {
    **WHOLE_INT4,
    "bits": 8,
    "dtype": "int8",
    "group_size": -1,
    "all_layers": None,
    "group_size_fallback": None,
}


def own(**values: object) -> dict:
    return {
        "version": VERSION,
        "openvino_version": OPENVINO,
        "source": "kjv-tiny",
        "source_revision": None,
        "model_type": "qwen3_5_text",
        "task": "text-generation-with-past",
        "scale_search": "least-error",
        "keep": [],
        **values,
    }


@pytest.mark.parametrize(
    ("options", "dtype", "quantization", "facts"),
    [
        (
            (),
            "auto",
            None,
            own(
                weight_format="as stored",
                scale_search=None,
                recipe=["every weight: the checkpoint's own type", "norms, A_log, dt_bias: float32"],
            ),
        ),
        (
            ("--weight-format", "bf16"),
            "bf16",
            None,
            own(
                weight_format="bf16", scale_search=None, recipe=["every weight: bf16", "norms, A_log, dt_bias: float32"]
            ),
        ),
        (("--weight-format", "int8"), "int8", WHOLE_INT8, own(weight_format="int8")),
        (("--weight-format", "int4"), "int4", WHOLE_INT4, own(weight_format="int4", recipe_name="balanced")),
        (
            (
                "--weight-format",
                "nf4",
                "--group-size",
                "64",
                "--ratio",
                "0.5",
                "--backup-precision",
                "int8_sym",
                "--all-layers",
                "--group-size-fallback",
                "ignore",
                "--keep",
                "*layers.0.*=stored",
                "--scale-search",
                "nncf",
            ),
            "nf4",
            {
                **WHOLE_INT4,
                "dtype": "nf4",
                "group_size": 64,
                "ratio": 0.5,
                "backup_precision": "int8_sym",
                "all_layers": True,
                "group_size_fallback": "ignore",
            },
            own(weight_format="nf4", keep=["*layers.0.*=stored"], scale_search="nncf"),
        ),
    ],
    ids=["as-stored", "bf16", "int8", "int4", "nf4-all-options"],
)
def test_openvino_config(tmp_path, options, dtype, quantization, facts):
    out = export(KJV, tmp_path / "out", *TEXT, *options)
    config = json.loads((out / "openvino_config.json").read_text())
    recipe = config["deltavino"].pop("recipe")
    assert recipe == facts.pop("recipe", recipe) and len(recipe) >= 2
    assert config == {
        "dtype": dtype,
        "input_info": None,
        "save_onnx_model": False,
        "quantization_config": quantization,
        "deltavino": facts,
    }
    shown = run_deltavino("inspect", out).stdout
    made = f"made by deltavino {VERSION} (OpenVINO {OPENVINO}) from 'kjv-tiny', for text-generation-with-past; "
    assert f"{made}weights: {facts['weight_format']}\n" in shown
    assert all(f"  {sentence}\n" in shown for sentence in recipe)
    origin_shown = inspect(out)["origin"]
    assert origin_shown == {
        "dtype": dtype,
        "quantization_config": quantization,
        "deltavino": {**facts, "recipe": recipe},
    }


def test_no_path_of_this_machine_and_no_date_is_written(tmp_path):
    """A folder in a place with a name that would show, moved between two exports."""
    marker = "some-private-place"
    for number in ["1", "2"]:
        shutil.copytree(KJV, tmp_path / marker / number / "model")
        export(tmp_path / marker / number / "model", tmp_path / number)
    for path in sorted((tmp_path / "1").iterdir()):
        assert marker.encode() not in path.read_bytes(), path.name
        assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes(), path.name


def test_a_snapshot_of_the_hub_is_named_by_its_repository(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "hub" / "models--Some-Org--Tiny-0.1B" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(GOLDEN / "dense-v1", snapshot)
    out = export(snapshot, tmp_path / "out", *TEXT)
    facts = inspect(out)["origin"]["deltavino"]
    assert (facts["source"], facts["source_revision"]) == ("Some-Org/Tiny-0.1B", commit)
    info = rt_info(out / "openvino_model.xml")
    assert (info["deltavino/source"], info["deltavino/source_revision"]) == ("Some-Org/Tiny-0.1B", commit)
    assert f"from 'Some-Org/Tiny-0.1B' at {commit}" in run_deltavino("inspect", out).stdout


@pytest.mark.parametrize(
    "name", ["a <b> & \"c\" 'd'", "zwei\nZeilen\x01", "größer", b"not \xff utf-8".decode(errors="surrogateescape")]
)
def test_any_folder_name(tmp_path, name):
    shutil.copytree(GOLDEN / "dense-v1", tmp_path / name)
    out = export(tmp_path / name, tmp_path / "out", *TEXT)
    shown = inspect(out)["origin"]["deltavino"]["source"]
    assert shown == rt_info(out / "openvino_model.xml")["deltavino/source"]
    assert shown == {
        "zwei\nZeilen\x01": "zwei?Zeilen?",
        b"not \xff utf-8".decode(errors="surrogateescape"): "not \ufffd utf-8",
    }.get(name, name)
    ov.Core().read_model(str(out / "openvino_model.xml"))


def test_inspect_without_or_with_a_foreign_openvino_config(tmp_path):
    out = export(KJV, tmp_path / "out", *TEXT)
    (out / "openvino_config.json").unlink()
    assert inspect(out)["origin"] == {"dtype": None, "quantization_config": None, "deltavino": None}
    assert "made by" not in run_deltavino("inspect", out).stdout
    (out / "openvino_config.json").write_text(json.dumps({"dtype": "int4", "quantization_config": {"bits": 4}}))
    assert inspect(out)["origin"]["quantization_config"] == {"bits": 4}
    assert '{"bits":4}' in run_deltavino("inspect", out).stdout
    for broken in ["{", '{"deltavino": {"version": 3}}']:
        (out / "openvino_config.json").write_text(broken)
        result = run_deltavino("inspect", out)
        assert result.returncode == INPUT and "openvino_config.json" in result.stderr


# The numbers of `inspect --json`


def constants(xml: Path) -> list[tuple[str, list[int], int, list[str]]]:
    """Type, shape, bytes and reading operations, past those that widen, of every constant outside Loop bodies."""
    root = ElementTree.parse(xml).getroot()
    layers = {layer.get("id"): layer for layer in root.find("layers")}
    readers: dict[str, list[str]] = {}
    for edge in root.find("edges"):
        readers.setdefault(edge.get("from-layer"), []).append(edge.get("to-layer"))

    def ends(layer: str) -> list[str]:
        found = []
        for reader in readers.get(layer, []):
            kind = layers[reader].get("type")
            dims = [dim.text for dim in layers[reader].findall("output/port/dim")]
            found += (
                ends(reader) if kind in {"Convert", "Subtract", "Multiply", "Reshape"} and "-1" not in dims else [kind]
            )
        return found

    found = []
    for number, layer in layers.items():
        if layer.get("type") == "Const":
            data = layer.find("data")
            shape = [int(part) for part in data.get("shape").split(",") if part.strip()]
            found.append((data.get("element_type"), shape, int(data.get("size")), ends(number)))
    return found


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("kjv-tiny", ()),
        ("kjv-tiny", ("--weight-format", "int4")),
        ("dense-v2", ("--weight-format", "int8")),
        ("dense-v3", ()),
    ],
)
def test_inspect_exported_numbers(tmp_path, case, options):
    checkpoint = KJV if case == "kjv-tiny" else GOLDEN / case
    config = json.loads((checkpoint / "config.json").read_text())
    config = config.get("text_config", config)
    out = export(checkpoint, tmp_path / "out", *TEXT, *options)
    facts = inspect(out)["models"]["openvino_model"]
    expected: dict[str, dict] = {}
    per_token = 0
    for kind, shape, size, readers in constants(out / "openvino_model.xml"):
        total = expected.setdefault(kind, {"tensors": 0, "bytes": 0})
        total["tensors"] += 1
        total["bytes"] += size
        looked_up = len(shape) >= 2 and size >= 65536 and set(readers) == {"Gather"}
        per_token += size // shape[0] if looked_up else size
    assert facts["types"] == expected
    assert facts["weight_bytes_per_token"] == per_token
    kinds = layer_types(config)
    full, linear = kinds.count("full_attention"), kinds.count("linear_attention")
    assert facts["states"] == {**state_bytes(config, full, linear), "variables": 2 * full + 2 * linear}
    assert facts["outputs"] == [f"logits f32 [?,?,{config['vocab_size']}]"]
    assert {port.split(" ")[0] for port in facts["inputs"]} == {"input_ids", "attention_mask", "beam_idx"}


def layer_types(config: dict) -> list[str]:
    interval = config.get("full_attention_interval", 4)
    default = [
        "linear_attention" if (i + 1) % interval else "full_attention" for i in range(config["num_hidden_layers"])
    ]
    return config.get("layer_types") or default


def state_bytes(config: dict, full: int, linear: int) -> dict[str, int]:
    """In float32: keys and values per token; the delta rule's matrix and the convolution's window once."""
    keys = config["linear_num_key_heads"] * config["linear_key_head_dim"]
    values = config["linear_num_value_heads"] * config["linear_value_head_dim"]
    window = (2 * keys + values) * config["linear_conv_kernel_dim"]
    return {
        "bytes_per_token": full * 2 * config["num_key_value_heads"] * config["head_dim"] * 4,
        "bytes_fixed": linear * 4 * (values * config["linear_key_head_dim"] + window),
    }


@pytest.mark.parametrize("case", ["kjv-tiny", "dense-v1", "dense-v2", "dense-v3", "moe-e8k2", "moe-split", "next-r2"])
def test_inspect_checkpoint_numbers(case):
    checkpoint = KJV if case == "kjv-tiny" else GOLDEN / case
    config = json.loads((checkpoint / "config.json").read_text())
    text = config.get("text_config", config)
    stored = stored_tensors(checkpoint)
    facts = inspect(checkpoint)
    types: dict[str, dict] = {}
    for tensor in stored.values():
        total = types.setdefault(tensor[0], {"tensors": 0, "bytes": 0})
        total["tensors"] += 1
        total["bytes"] += stored_bytes(tensor)
    assert facts["types"] == types
    assert facts["tensors"] == len(stored)
    assert facts["bytes"] == sum(map(stored_bytes, stored.values()))
    assert facts["files"] == len(list(checkpoint.glob("model*.safetensors")))
    kinds = layer_types(text)
    full, linear = kinds.count("full_attention"), kinds.count("linear_attention")
    assert facts["states"] == state_bytes(text, full, linear)
    for key in [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "linear_num_value_heads",
    ]:
        assert facts["geometry"][key] == text[key], key
    assert (facts["geometry"]["full_attention_layers"], facts["geometry"]["linear_attention_layers"]) == (full, linear)

    used = {name: tensor for name, tensor in stored.items() if not name.startswith(("mtp.", "model.mtp."))}
    size = {name: int(np.prod(tensor[1])) for name, tensor in used.items()}
    assert facts["weights"]["parameters"] == sum(size.values())
    active = {}
    for name, elements in size.items():
        if "visual." in name:
            continue
        if ".experts." in name:
            elements = elements * text["num_experts_per_tok"] / text["num_experts"]
        elif name.endswith("embed_tokens.weight") and not facts["tied_head"]:
            elements = text["hidden_size"]
        active[name] = elements
    assert facts["weights"]["active_parameters"] == round(sum(active.values()))
    width = {"F32": 4, "F16": 2, "BF16": 2}
    assert facts["weights"]["bytes_per_token"] == round(
        sum(elements * width[used[name][0]] for name, elements in active.items())
    )
