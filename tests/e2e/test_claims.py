"""What README and --help promise about an export, checked in the files through OpenVINO and numpy."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from exported import (
    Constants,
    relative_error,
    stored_bytes,
    stored_tensors,
    stored_values,
)
from test_cli import edit_config, edit_tensors, load_bytes, refuse, write_bytes

USAGE, INPUT, UNSUPPORTED = 2, 3, 4
TEXT = ("--task", "text-generation-with-past", "--disable-convert-tokenizer")
EMBEDDING = "model.language_model.embed_tokens.weight"  # of the bundled checkpoint, tied
FORMATS = {
    "as-stored": (),
    "fp16": ("--weight-format", "fp16"),
    "int8": ("--weight-format", "int8"),
    "int4": ("--weight-format", "int4"),
    "int4-sym": ("--weight-format", "int4", "--sym"),
    "int4-ratio": ("--weight-format", "int4", "--ratio", "0.5"),
    "int4-nncf": ("--weight-format", "int4", "--scale-search", "nncf", "--group-size", "16"),
    "nf4": ("--weight-format", "nf4"),
    "mxfp4": ("--weight-format", "mxfp4"),
}


def export(checkpoint: Path, out: Path, *options: object) -> Path:
    result = run_deltavino("export", "--model", checkpoint, out, *options)
    assert result.returncode == 0, result.stderr
    return out


def export_text(checkpoint: Path, out: Path, *options: object) -> Constants:
    return Constants(export(checkpoint, out, *TEXT, *options) / "openvino_model.xml")


def reported(checkpoint: Path, out: Path, *options: object) -> dict:
    export(checkpoint, out, "--report", f"{out}.json", *options)
    return json.loads(Path(f"{out}.json").read_text())


# Two exports of one checkpoint are equal byte for byte


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*"))}


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(
    "case", ["kjv-vl", "kjv-text", "dense-v1", "dense-v3", "moe-e16k4", "moe-split", "moe-vl", "next-r2"]
)
def test_exports_are_equal_byte_for_byte(tmp_path, case, options):
    checkpoint = KJV if case.startswith("kjv") else GOLDEN / case
    options = options if case == "kjv-vl" else (*options, "--task", "text-generation-with-past")
    options = options if case.startswith("kjv") else (*options, "--disable-convert-tokenizer")
    first = content(export(checkpoint, tmp_path / "first", *options, "--threads", "1"))
    assert {"config.json", "openvino_config.json"} <= set(first)
    for threads in ["0", "3"]:
        again = content(export(checkpoint, tmp_path / f"threads-{threads}", *options, "--threads", threads))
        assert list(again) == list(first)
        assert [name for name in first if again[name] != first[name]] == []


# What is refused


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A copy of a small checkpoint that a test may break."""
    shutil.copytree(GOLDEN / "dense-vl", tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "expected.safetensors").unlink()
    return tmp_path / "checkpoint"


def mark_as_mlx(checkpoint: Path) -> None:
    for shard in checkpoint.glob("model*.safetensors"):
        tensors = load_bytes(shard)
        write_bytes(shard, tensors)
        size = int.from_bytes(shard.read_bytes()[:8], "little")
        header = json.loads(shard.read_bytes()[8 : 8 + size])
        text = json.dumps({"__metadata__": {"format": "mlx"}, **header}).encode()
        shard.write_bytes(len(text).to_bytes(8, "little") + text + shard.read_bytes()[8 + size :])


def test_mlx_folder_is_refused(deltavino, checkpoint):
    mark_as_mlx(checkpoint)
    refuse(deltavino, checkpoint, UNSUPPORTED, "MLX", "original checkpoint")


def test_quantized_mlx_folder_is_refused(deltavino, checkpoint):
    mark_as_mlx(checkpoint)
    edit_config(checkpoint, lambda config: config.update(quantization={"group_size": 64, "bits": 4, "mode": "affine"}))
    refuse(deltavino, checkpoint, UNSUPPORTED, "MLX")


def test_lora_folder_is_refused(deltavino, tmp_path):
    """As peft writes one: no config.json, no weights of the model."""
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3.5-0.8B", "r": 16})
    )
    write_bytes(
        folder / "adapter_model.safetensors",
        {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": ("F32", [1, 1], b"\0" * 4)},
    )
    refuse(deltavino, folder, UNSUPPORTED, "LoRA adapter", "merge")


def test_adapter_beside_a_model_is_refused(deltavino, checkpoint):
    """transformers would load the adapter on top."""
    (checkpoint / "adapter_config.json").write_text("{}")
    refuse(deltavino, checkpoint, UNSUPPORTED, "LoRA adapter", "adapter_config.json")


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda index: [], "weight_map"),
        (lambda index: {"metadata": {}}, "weight_map"),
        (lambda index: {"weight_map": []}, "weight_map"),
        (lambda index: {"weight_map": {**index["weight_map"], "x.weight": 3}}, "'x.weight' is mapped to 3"),
        (
            lambda index: {"weight_map": {**index["weight_map"], "x.weight": "../model.safetensors"}},
            "expected a file name",
        ),
        (lambda index: {"weight_map": {**index["weight_map"], "x.weight": "/etc/passwd"}}, "expected a file name"),
        (lambda index: {"weight_map": {**index["weight_map"], "x.weight": ""}}, "expected a file name"),
        (lambda index: {"weight_map": {**index["weight_map"], "x.weight": "a\0b.safetensors"}}, "expected a file name"),
        (lambda index: {"weight_map": {**index["weight_map"], "x.weight": "a\\b.safetensors"}}, "expected a file name"),
        (lambda index: {"weight_map": {**index["weight_map"], "x.weight": ".."}}, "expected a file name"),
        (
            lambda index: {"weight_map": {**index["weight_map"], "x.weight": "model-00009-of-00003.safetensors"}},
            "it should hold 1 tensors",
        ),
    ],
    ids=["list", "no map", "map is a list", "number", "path", "absolute path", "empty", "NUL", "backslash", "parent", "absent file"],
)
def test_bad_index(deltavino, checkpoint, edit, words):
    index = json.loads((checkpoint / INDEX).read_text())
    (checkpoint / INDEX).write_text(json.dumps(edit(index)))
    refuse(deltavino, checkpoint, INPUT, words)


def test_index_that_is_not_json(deltavino, checkpoint):
    (checkpoint / INDEX).write_text('{"weight_map": {')
    refuse(deltavino, checkpoint, INPUT, INDEX)


def test_tensor_that_the_index_promises_is_missing(deltavino, checkpoint):
    name = next(name for name in stored_tensors(checkpoint) if name.endswith("layers.0.mlp.up_proj.weight"))

    def drop(tensors):
        return tensors.pop(name, None) is not None

    edit_tensors(checkpoint, drop)
    assert name.removeprefix("model.language_model.") in refuse(deltavino, checkpoint, INPUT, "missing")


# --report


WIDTH = {"F32": 4, "F16": 2, "BF16": 2}


def original(stored: dict, name: str) -> np.ndarray | None:
    """A weight as the checkpoint has it: a tensor, or a stack of experts that is part of one or made of many."""
    if name in stored:
        return stored_values(stored[name])
    found = re.fullmatch(r"(.*\.experts)\.(gate|up|down)_proj\.weight", name)
    if found is None:
        return None
    experts, projection = found.groups()
    if f"{experts}.gate_up_proj" in stored:
        if projection == "down":
            return stored_values(stored[f"{experts}.down_proj"])
        return np.split(stored_values(stored[f"{experts}.gate_up_proj"]), 2, axis=1)[projection == "up"]
    names = [f"{experts}.{number}.{projection}_proj.weight" for number in range(1024)]
    return np.stack([stored_values(stored[name]) for name in names if name in stored])


@pytest.mark.parametrize("name", ["as-stored", "fp16", "int8", "int4", "int4-sym", "int4-ratio", "nf4", "mxfp4"])
@pytest.mark.parametrize("case", ["kjv-vl", "moe-e16k4", "moe-split", "next-r2", "dense-v3"])
def test_report(tmp_path, case, name):
    checkpoint = KJV if case == "kjv-vl" else GOLDEN / case
    report = reported(checkpoint, tmp_path / "out", *FORMATS[name], *(() if case == "kjv-vl" else TEXT))
    stored = stored_tensors(checkpoint)
    models = {path.stem: Constants(path) for path in (tmp_path / "out").glob("*model.xml")}
    assert {entry["model"] for entry in report["tensors"]} == set(models)

    files = [path for path in (tmp_path / "out").iterdir() if path.suffix in {".xml", ".bin"}]
    assert report["bytes_written"] == sum(path.stat().st_size for path in files)
    assert report["bytes_read"] == sum(entry["bytes_read"] for entry in report["tensors"])

    for model, constants in models.items():
        entries = [entry for entry in report["tensors"] if entry["model"] == model]
        names = [entry["name"] for entry in entries]
        assert len(set(names)) == len(names), "a tensor stands twice"
        for entry in entries:
            if entry["role"] != "vector":
                assert entry["bytes_written"] == constants.stored_bytes(entry["name"])
                types = {"mxfp4": "f4e2m1"}
                told = entry["stored_as"].split(" ")[0]
                assert constants.type(entry["name"]) == types.get(told, told)

    # Every tensor of the checkpoint is read once, but for the embedding that two files have, and what is left out.
    weights = {}
    for entry in report["tensors"]:
        weights.setdefault(entry["name"], []).append(entry)
    left_out = [tensor for tensor in stored if tensor.startswith(("mtp.", "model.mtp."))]
    once = sum(entries[0]["bytes_read"] for entries in weights.values())
    assert once == sum(stored_bytes(tensor) for tensor_name, tensor in stored.items() if tensor_name not in left_out)
    assert {name for name, entries in weights.items() if len(entries) > 1} <= {EMBEDDING}

    # The errors are those of the values in the file.
    compared = 0
    for tensor_name, entries in weights.items():
        truth = original(stored, tensor_name)
        if truth is not None:
            for entry in entries:
                assert entry["bytes_read"] == truth.size * WIDTH[next(iter(stored.values()))[0]]
                if entry["role"] == "vector":
                    assert entry["relative_error"] == 0 and entry["bytes_written"] == 4 * truth.size
                    continue
                assert int(np.prod(entry["shape"])) == truth.size
                found = models[entry["model"]].values(tensor_name, entry["shape"])
                error = relative_error(found, truth.reshape(entry["shape"]))
                compressed = entry["stored_as"] not in {"f32", "f16", "bf16"}
                # The program computes what comes back in float32, as a plugin does at best.
                assert entry["relative_error"] == pytest.approx(error if compressed else 0, rel=1e-5), tensor_name
                assert (entry["relative_error"] > 0) == compressed
                assert compressed or error <= (2**-11 if entry["stored_as"] == "f16" else 0), tensor_name
                compared += 1
    assert compared > 20


def test_the_table_sums_the_report_up(tmp_path):
    """One row per role and storage; errors weighed by elements."""
    options = ("--weight-format", "int4", "--keep", "*layers.0.mlp.down_proj*=int4_sym")
    result = run_deltavino("export", "--model", KJV, tmp_path / "out", *options, "--report", tmp_path / "report.json")
    assert result.returncode == 0, result.stderr
    kinds: dict[tuple, list[dict]] = {}
    for entry in json.loads((tmp_path / "report.json").read_text())["tensors"]:
        kinds.setdefault((entry["role"], entry["stored_as"]), []).append(entry)
    shown = {tuple(re.split(r" {2,}", line.strip())[0:3]): line for line in result.stdout.splitlines()}
    assert len(kinds) > 8
    for (role, stored_as), entries in kinds.items():
        line = shown[(role, str(len(entries)), stored_as)]
        sizes = [int(np.prod(entry["shape"])) for entry in entries]
        errors = [entry["relative_error"] for entry in entries]
        mean = np.average(errors, weights=sizes)
        assert line.split("  ")[-1].strip() == (f"{100 * mean:.2f} %" if mean else "-"), line
        for key in ["bytes_read", "bytes_written"]:
            assert human_bytes(sum(entry[key] for entry in entries)) in line


def human_bytes(number: int) -> str:
    for unit, size in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)]:
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"


# --ratio


def sampled_errors(constants: Constants, stored: dict, names: list[str]) -> dict[str, float]:
    """Error of each weight in 4 bit over 64 rows spread over all of it."""
    errors = {}
    for name in names:
        truth = stored_values(stored[name])
        rows = min(len(truth), 64) // 2 * 2
        chosen = [i * len(truth) // rows for i in range(rows)]
        errors[name] = relative_error(constants.values(name, truth.shape)[chosen], truth[chosen])
    return errors


@pytest.fixture(scope="module")
def sensitivities(tmp_path_factory) -> dict:
    """Sizes and 4-bit errors of the weights of the bundled model that --ratio chooses among."""
    constants = export_text(KJV, tmp_path_factory.mktemp("ratio") / "all", "--weight-format", "int4")
    stored = stored_tensors(KJV)
    names = [name for name in stored if name in constants.nodes and constants.type(name) == "u4"]
    assert len(names) == 50
    return {
        "errors": sampled_errors(constants, stored, names),
        "sizes": {name: int(np.prod(stored[name][1])) for name in names},
    }


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.8, 0.95, 1.0])
def test_ratio_keeps_the_least_sensitive_up_to_the_share(tmp_path, sensitivities, ratio):
    constants = export_text(KJV, tmp_path / "out", "--weight-format", "int4", "--ratio", ratio)
    errors, sizes = sensitivities["errors"], sensitivities["sizes"]
    total = sum(sizes.values())
    in_four_bit = {name for name in errors if constants.type(name) == "u4"}
    assert {constants.type(name) for name in errors.keys() - in_four_bit} <= {"u8"}, "the backup precision"
    ascending = sorted(errors, key=errors.get)
    assert set(ascending[: len(in_four_bit)]) == in_four_bit
    share = sum(sizes[name] for name in in_four_bit)
    assert share <= ratio * total
    if len(in_four_bit) < len(ascending):
        assert share + sizes[ascending[len(in_four_bit)]] > ratio * total, "one more would still fit"


def expert_errors(out: Path) -> dict[str, tuple[float, int]]:
    """Error and size of the experts of each layer, which --ratio takes as one, over rows of all experts."""
    constants = export_text(GOLDEN / "moe-e16k4", out, "--weight-format", "int4", "--group-size", "16")
    stored = stored_tensors(GOLDEN / "moe-e16k4")
    found = {}
    for layer in range(4):
        experts = f"model.layers.{layer}.mlp.experts"
        gate, up = np.split(stored_values(stored[f"{experts}.gate_up_proj"]), 2, axis=1)
        down = stored_values(stored[f"{experts}.down_proj"])
        errors, sizes = [], []
        for name, truth in [("gate_proj", gate), ("up_proj", up), ("down_proj", down)]:
            rows = [i * truth.shape[1] // 4 for i in range(4)]  # 64 rows over 16 experts
            values = constants.values(f"{experts}.{name}.weight", truth.shape)
            errors.append(relative_error(values[:, rows], truth[:, rows]))
            sizes.append(truth.size)
        found[experts] = (float(np.average(errors, weights=sizes)), sum(sizes))
    return found


def test_ratio_takes_the_experts_of_a_layer_as_one(tmp_path):
    stored = stored_tensors(GOLDEN / "moe-e16k4")
    whole = export_text(GOLDEN / "moe-e16k4", tmp_path / "whole", "--weight-format", "int4", "--group-size", "16")
    dense = [name for name in stored if name in whole.nodes and whole.type(name) == "u4" and ".experts." not in name]
    candidates = {
        name: (error, int(np.prod(stored[name][1]))) for name, error in sampled_errors(whole, stored, dense).items()
    }
    candidates |= expert_errors(tmp_path / "experts")
    total = sum(size for _, size in candidates.values())
    ascending = sorted(candidates, key=lambda name: candidates[name][0])
    seen = set()
    for ratio in [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]:
        options = ("--weight-format", "int4", "--group-size", "16", "--ratio", ratio)
        constants = export_text(GOLDEN / "moe-e16k4", tmp_path / str(ratio), *options)
        kinds = {name: constants.type(name if name in stored else name + ".gate_proj.weight") for name in candidates}
        for experts in [name for name in candidates if name.endswith(".experts")]:
            products = {constants.type(f"{experts}.{product}_proj.weight") for product in ["gate", "up", "down"]}
            assert products == {kinds[experts]}
            seen |= products
        kept = [name for name in ascending if kinds[name] == "u4"]
        assert kept == ascending[: len(kept)]
        assert sum(candidates[name][1] for name in kept) <= ratio * total
    assert seen == {"u4", "u8"}


def test_ratio_is_monotone(tmp_path, sensitivities):
    before: set[str] = set()
    for ratio in [0.0, 0.25, 0.4, 0.6, 0.75, 1.0]:
        constants = export_text(KJV, tmp_path / str(ratio), "--weight-format", "int4", "--ratio", ratio)
        now = {name for name in sensitivities["errors"] if constants.type(name) == "u4"}
        assert before < now or ratio == 0.0
        before = now
    assert before == set(sensitivities["errors"])


# Options of compression, as they stand in the file

PROJECTION = "model.language_model.layers.0.mlp.down_proj.weight"  # [128, 384]


@pytest.mark.parametrize(("backup", "kind"), [("none", "bf16"), ("int8_sym", "i8"), ("int8_asym", "u8")])
def test_backup_precision(tmp_path, sensitivities, backup, kind):
    constants = export_text(
        KJV, tmp_path / "out", "--weight-format", "int4", "--ratio", "0.5", "--backup-precision", backup
    )
    kinds = [constants.type(name) for name in sensitivities["errors"]]
    assert set(kinds) == {"u4", kind}
    assert constants.type(EMBEDDING) == kind
    rows = constants.node(EMBEDDING).get_output_shape(0)[0]
    assert constants.shape(EMBEDDING + "/scale") == (None if backup == "none" else [rows, 1])
    assert constants.shape(EMBEDDING + "/zero_point") == ([rows, 1] if backup == "int8_asym" else None)


def test_default_backup(tmp_path):
    """The embedding symmetric, what --ratio takes out asymmetric."""
    constants = export_text(KJV, tmp_path / "out", "--weight-format", "int4", "--ratio", "0")
    assert constants.type(EMBEDDING) == "i8" and constants.type(PROJECTION) == "u8"


@pytest.mark.parametrize(
    ("options", "kind", "values", "scales", "zero_points"),
    [
        (("int4",), "u4", [128, 3, 128], [128, 3, 1], [128, 3, 1]),
        (("int4", "--group-size", "32"), "u4", [128, 12, 32], [128, 12, 1], [128, 12, 1]),
        (("int4", "--group-size", "-1"), "u4", [128, 384], [128, 1], [128, 1]),
        (("int4", "--group-size", "-1", "--sym"), "i4", [128, 384], [128, 1], None),
        (("int4", "--sym", "--group-size", "64"), "i4", [128, 6, 64], [128, 6, 1], None),
        (("nf4", "--group-size", "-1"), "nf4", [128, 384], [128, 1], None),
        (("mxfp4",), "f4e2m1", [128, 12, 32], [128, 12, 1], None),
        (("int8",), "u8", [128, 384], [128, 1], [128, 1]),
        (("int8", "--sym"), "i8", [128, 384], [128, 1], None),
    ],
    ids=lambda value: "-".join(value).replace("--", "") if isinstance(value, tuple) else None,
)
def test_storage(tmp_path, options, kind, values, scales, zero_points):
    constants = export_text(KJV, tmp_path / "out", "--weight-format", *options)
    assert constants.type(PROJECTION) == kind
    assert constants.shape(PROJECTION) == values
    assert constants.shape(PROJECTION + "/scale") == scales
    assert constants.shape(PROJECTION + "/zero_point") == zero_points
    assert constants.type(PROJECTION + "/scale") == ("f8e8m0" if options[0] == "mxfp4" else "f16")


@pytest.mark.parametrize(
    ("case", "options", "embedding", "head"),
    [
        ("kjv", ("int4",), "i4", None),  # tied: one table, which must not have zero points
        ("kjv", ("int4", "--sym"), "i4", None),
        ("kjv", ("nf4",), "i8", None),  # the plugin would widen an nf4 table
        ("dense-v2", ("int4", "--group-size", "32"), "u4", "u4"),
        ("dense-v2", ("int4", "--sym", "--group-size", "32"), "i4", "i4"),
        ("dense-v2", ("nf4", "--group-size", "32"), "i8", "nf4"),
    ],
)
def test_all_layers(tmp_path, case, options, embedding, head):
    checkpoint = KJV if case == "kjv" else GOLDEN / case
    names = [EMBEDDING] if case == "kjv" else ["model.embed_tokens.weight", "lm_head.weight"]
    without = export_text(checkpoint, tmp_path / "without", "--weight-format", *options)
    assert {without.type(name) for name in names} == {"i8"}
    constants = export_text(checkpoint, tmp_path / "out", "--weight-format", *options, "--all-layers")
    assert [constants.type(name) for name in names] == [kind for kind in [embedding, head] if kind]


def test_the_first_keep_that_matches_wins(tmp_path):
    rules = [
        "*layers.0.mlp.down_proj*=stored",
        "*layers.0.mlp.*=int8_sym",
        "*.mlp.up_proj*=fp16",
        "*layers.1.mlp.*=int8_asym",
        "*layers.2.mlp.gate_proj*=int4_sym",
    ]
    options = [word for rule in rules for word in ("--keep", rule)]
    constants = export_text(KJV, tmp_path / "out", "--weight-format", "int4", *options)

    def types(layer: int) -> list[str]:
        return [
            constants.type(f"model.language_model.layers.{layer}.mlp.{name}_proj.weight")
            for name in ["down", "up", "gate"]
        ]

    assert types(0) == ["bf16", "i8", "i8"]
    assert types(1) == ["u8", "f16", "u8"]
    assert types(2) == ["u4", "f16", "i4"]
    assert types(3) == ["u4", "f16", "u4"]
    swapped = [rules[1], rules[0], *rules[2:]]
    options = [word for rule in swapped for word in ("--keep", rule)]
    result = run_deltavino("export", "--model", KJV, tmp_path / "swapped", *TEXT, "--weight-format", "int4", *options)
    assert result.returncode == USAGE
    assert f"--keep '{rules[0]}' never applies" in result.stderr


DOWN = "model.layers.0.mlp.down_proj.weight"  # dense-v3: 80 columns, which no power of two from 32 up divides
UP = "model.layers.0.mlp.up_proj.weight"  # 64 columns


@pytest.mark.parametrize(("rule", "up", "down"), [("adjust", "u4", "i8"), ("ignore", "f32", "f32"), (None, "u4", "i8")])
def test_group_size_fallback(tmp_path, rule, up, down):
    stored = stored_tensors(GOLDEN / "dense-v3")[UP][0].lower()
    option = () if rule is None else ("--group-size-fallback", rule)
    constants = export_text(GOLDEN / "dense-v3", tmp_path / "out", "--weight-format", "int4", *option)
    expected = [stored if kind == "f32" else kind for kind in [up, down]]
    assert [constants.type(UP), constants.type(DOWN)] == expected
    assert constants.shape(UP + "/scale") == (None if rule == "ignore" else [80, 1, 1])


def test_group_size_fallback_error(deltavino, tmp_path):
    shutil.copytree(GOLDEN / "dense-v3", tmp_path / "checkpoint")
    text = refuse(
        deltavino,
        tmp_path / "checkpoint",
        USAGE,
        UP,
        "--group-size-fallback",
        options=(*TEXT, "--weight-format", "int4", "--group-size-fallback", "error"),
    )
    assert "128" in text


def test_assume_tied_head(deltavino, tmp_path):
    """config.json says untied, and there is no head: the option makes what a copy of the embedding would."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN / "dense-v2", checkpoint)
    (checkpoint / "expected.safetensors").unlink()
    embedding: list[tuple] = []

    def drop_head(tensors):
        embedding.append(tensors["model.embed_tokens.weight"])
        return tensors.pop("lm_head.weight", None) is not None

    edit_tensors(checkpoint, drop_head)
    refuse(deltavino, checkpoint, INPUT, "lm_head.weight", "--assume-tied-head")
    tied = export(checkpoint, tmp_path / "tied", *TEXT, "--assume-tied-head")
    assert json.loads((tied / "config.json").read_text())["tie_word_embeddings"] is True
    assert "lm_head.weight" not in Constants(tied / "openvino_model.xml").nodes
    edit_tensors(checkpoint, lambda tensors: tensors.update({"lm_head.weight": embedding[0]}) is None)
    untied = export(checkpoint, tmp_path / "untied", *TEXT)
    assert json.loads((untied / "config.json").read_text())["tie_word_embeddings"] is False
    assert np.array_equal(first_logits(tied), first_logits(untied))
    shutil.rmtree(tmp_path / "untied")
    assert not np.array_equal(first_logits(tied), first_logits(export(GOLDEN / "dense-v2", tmp_path / "untied", *TEXT)))


def first_logits(directory: Path) -> np.ndarray:
    request = (
        ov.Core()
        .compile_model(str(directory / "openvino_model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        .create_infer_request()
    )
    ids = np.array([[3, 1, 4, 1, 5]], np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "beam_idx": np.zeros(1, np.int32)}
    return request.infer(inputs)["logits"].copy()


# What no golden shows


def test_the_l2_norm_has_an_epsilon_of_its_own(tmp_path):
    """1e-6 for queries and keys of the delta rule, whatever rms_norm_eps says."""
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN / "dense-v2", checkpoint)
    edit_config(checkpoint, lambda config: config.update(rms_norm_eps=0.25))
    constants = export_text(checkpoint, tmp_path / "out")
    added = []
    for node in constants.model.get_ordered_ops():
        if node.get_type_name() == "Sqrt":
            inputs = [value.get_node() for value in node.input_value(0).get_node().input_values()]
            added += [float(value.data.ravel()[0]) for value in inputs if value.get_type_name() == "Constant"]
    assert set(added) == {float(np.float32(1e-6)), 0.25}
    assert added.count(0.25) > added.count(float(np.float32(1e-6))) == 2 * 6


@pytest.fixture
def experts(tmp_path) -> Path:
    """A checkpoint with one tensor per expert."""
    shutil.copytree(GOLDEN / "moe-split", tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "expected.safetensors").unlink()
    return tmp_path / "checkpoint"


def test_experts_of_different_types_lose_nothing(experts, tmp_path):
    """The first in bfloat16, the others in float32."""
    name = "model.layers.0.mlp.experts.0.gate_proj.weight"

    def narrow(tensors):
        dtype, shape, values = tensors[name]
        assert dtype == "F32"
        tensors[name] = ("BF16", shape, np.frombuffer(values, np.uint16)[1::2].tobytes())
        return True

    edit_tensors(experts, narrow)
    constants = export_text(experts, tmp_path / "out")
    stack = "model.layers.0.mlp.experts.gate_proj.weight"
    truth = original(stored_tensors(experts), stack)
    assert constants.type(stack) == "f32"
    assert np.array_equal(constants.values(stack, truth.shape), truth)


def test_zero_points_that_would_share_a_byte_between_experts_are_refused(deltavino, experts, tmp_path):
    """Experts of 15 rows, one zero point of four bits each."""

    def cut(tensors):
        for name, (dtype, shape, values) in tensors.items():
            if ".experts." in name:
                matrix = np.frombuffer(values, np.uint32).reshape(shape)
                matrix = matrix[:, :15] if "down_proj" in name else matrix[:15]
                tensors[name] = (dtype, list(matrix.shape), matrix.tobytes())
        return True

    edit_tensors(experts, cut)
    edit_config(experts, lambda config: config.update(moe_intermediate_size=15))
    options = (*TEXT, "--weight-format", "int4", "--group-size", "-1")
    refuse(deltavino, experts, UNSUPPORTED, "odd number of rows", "up_proj.weight", options=options)
    constants = Constants(export(experts, tmp_path / "out", *options, "--sym") / "openvino_model.xml")
    assert constants.type("model.layers.0.mlp.experts.gate_proj.weight") == "i4"


def test_the_program_runs_with_one_openvino_only(deltavino):
    """The system's loader refuses any other: the number in the library's name is the version."""
    program = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino"))
    needed = re.findall(rb"libopenvino\.so\.(\d+)\0", program.read_bytes())
    year, minor, patch = re.search(r"OpenVINO 20(\d\d)\.(\d+)\.(\d+)", deltavino("--version").stdout).groups()
    assert set(needed) == {f"{year}{minor}{patch}".encode()}
