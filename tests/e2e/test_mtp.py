"""The multi-token-prediction model: when it is written, and that drafting with it changes no token.

openvino_genai runs in a process of its own, which a broken directory would end. Run as a program, this file is that
process.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from exported import joined_with_mtp
from PIL import Image

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import make_variants  # noqa: E402
import read_back  # noqa: E402
from stored import Stored, store, values_of, write  # noqa: E402
from writers import float8, gptq  # noqa: E402

USAGE, INPUT = 2, 3
TEXT = ("--task", "text-generation-with-past")
MODEL = "openvino_mtp_model"
QUESTION = "What is in the picture?"
PICTURE = KJV / "pictures" / "red-circle-on-blue.png"
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def export(checkpoint: Path, out: Path, *options: object) -> subprocess.CompletedProcess:
    result = run_deltavino("export", "-m", checkpoint, out, *options)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """The bundled checkpoint with its trained layer."""
    return joined_with_mtp(tmp_path_factory.mktemp("mtp") / "checkpoint")


@pytest.fixture(scope="module")
def vlm(checkpoint) -> Path:
    export(checkpoint, checkpoint.parent / "vlm")
    return checkpoint.parent / "vlm"


@pytest.fixture(scope="module")
def vlm_int4(checkpoint) -> Path:
    export(checkpoint, checkpoint.parent / "int4", "--weight-format", "int4")
    return checkpoint.parent / "int4"


@pytest.fixture(scope="module")
def text(checkpoint) -> Path:
    export(checkpoint, checkpoint.parent / "text", *TEXT)
    return checkpoint.parent / "text"


# --- what is written


def test_nothing_else_changes(checkpoint, vlm, text, tmp_path):
    for out, options in ((vlm, ()), (text, TEXT)):
        result = export(checkpoint, tmp_path / out.name, "--no-mtp", *options)
        assert re.search(r"left out: multi-token prediction, 15 tensors", result.stderr)
        here, there = ({path.name for path in folder.iterdir()} for folder in (out, tmp_path / out.name))
        assert here - there == {MODEL + ".xml", MODEL + ".bin"} and there < here
        for name in there:
            assert (out / name).read_bytes() == (tmp_path / out.name / name).read_bytes(), name


def test_is_reported_and_inspected(checkpoint, tmp_path):
    dry = export(checkpoint, tmp_path / "out", "--dry-run", "--weight-format", "int4")
    assert MODEL + ".bin" in dry.stdout
    export(checkpoint, tmp_path / "out", "--report", tmp_path / "report.json", "--weight-format", "int4")
    entries = [entry for entry in json.loads((tmp_path / "report.json").read_text())["tensors"] if entry["model"] == MODEL]
    assert len(entries) == 15
    assert {entry["stored_as"] for entry in entries if entry["role"] != "vector"} == {"u4 in groups of 128"}
    facts = json.loads(run_deltavino("inspect", tmp_path / "out", "--json").stdout)
    assert facts["missing"] == []
    assert facts["models"][MODEL]["outputs"] == ["last_hidden_state f32 [?,?,128]"]
    assert facts["models"][MODEL]["states"] == {"bytes_fixed": 0, "bytes_per_token": 2 * 2 * 64 * 4, "variables": 2}
    assert facts["origin"]["quantization_config"]["quantization_configs"]["mtp_model"]["bits"] == 4
    (tmp_path / "out" / (MODEL + ".bin")).unlink()
    facts = json.loads(run_deltavino("inspect", tmp_path / "out", "--json").stdout)
    assert [line.split(":")[0] for line in facts["missing"]] == [MODEL + ".bin"]


def test_is_counted_by_inspect(checkpoint):
    with_layer, without = (json.loads(run_deltavino("inspect", path, "--json").stdout) for path in (checkpoint, KJV))
    grown = with_layer["weights"]["parameters"] - without["weights"]["parameters"]
    assert grown == sum(tensor.bits.size for tensor in make_variants.read(checkpoint / "mtp.safetensors").values())
    assert with_layer["weights"]["active_parameters"] == without["weights"]["active_parameters"]


def change_config(**keys):
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["text_config"] |= keys
        (folder / "config.json").write_text(json.dumps(config))

    return change


def change_tensors(change):
    def changed(folder: Path) -> None:
        tensors = make_variants.read(folder / "mtp.safetensors")
        change(tensors)
        write(folder / "mtp.safetensors", tensors)
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        weights = {name: file for name, file in index["weight_map"].items() if file == "model.safetensors"}
        index["weight_map"] = weights | dict.fromkeys(tensors, "mtp.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        if not tensors:
            (folder / "mtp.safetensors").unlink()

    return changed


def cut(tensors) -> None:
    tensors["mtp.fc.weight"] = Stored("BF16", tensors["mtp.fc.weight"].bits[:, :128].copy())


WITHOUT = {
    # what is done, and what the note says
    "no tensors": (change_tensors(lambda tensors: tensors.clear()), "mtp_num_hidden_layers is 1 in config.json, and there is no tensor 'mtp.*'"),
    "not announced": (change_config(mtp_num_hidden_layers=0), "config.json does not announce it (mtp_num_hidden_layers)"),
    "two layers": (change_config(mtp_num_hidden_layers=2), "mtp_num_hidden_layers is 2"),
    "own embeddings": (change_config(mtp_use_dedicated_embeddings=True), "mtp_use_dedicated_embeddings"),
    "one is missing": (change_tensors(lambda tensors: tensors.pop("mtp.norm.weight")), "tensor 'mtp.norm.weight' is missing"),
    "another shape": (change_tensors(cut), "tensor 'mtp.fc.weight' has shape [128, 128], expected [128, 256]"),
    "another type": (
        change_tensors(lambda t: t.update({"mtp.norm.weight": Stored("I32", np.zeros(128, np.int32))})),
        "tensor 'mtp.norm.weight' has type I32",
    ),
    "one too many": (
        change_tensors(lambda t: t.update({"mtp.layers.1.self_attn.q_norm.weight": store("BF16", np.zeros(64, np.float32))})),
        "nothing is known to read tensor 'mtp.layers.1.self_attn.q_norm.weight'",
    ),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_exports_without_and_says_why(checkpoint, text, tmp_path, name):
    change, why = WITHOUT[name]
    shutil.copytree(checkpoint, tmp_path / "in")
    change(tmp_path / "in")
    result = export(tmp_path / "in", tmp_path / "out", *TEXT)
    (note,) = [line for line in result.stderr.splitlines() if "multi-token prediction" in line]
    assert why in note
    assert not list((tmp_path / "out").glob(MODEL + "*"))
    assert (tmp_path / "out" / "openvino_model.bin").read_bytes() == (text / "openvino_model.bin").read_bytes()


def test_a_layer_of_another_type_than_the_body(checkpoint, tmp_path):
    """Tools that merge adapters drop the layer, and what puts it back stores float32. No type is taken for that of all."""
    shutil.copytree(checkpoint, tmp_path / "in")
    change_tensors(
        lambda tensors: tensors.update({name: store("F32", values_of(tensor)) for name, tensor in tensors.items()})
    )(tmp_path / "in")
    assert (tmp_path / "in" / "mtp.safetensors").stat().st_size > 1.9 * (checkpoint / "mtp.safetensors").stat().st_size
    for folder in (checkpoint, tmp_path / "in"):
        export(folder, tmp_path / f"{folder.name}-out", "--weight-format", "int8", *TEXT)
    for model in (MODEL, "openvino_model"):
        made, wanted = ((tmp_path / f"{name}-out" / (model + ".bin")).read_bytes() for name in ("in", "checkpoint"))
        assert made == wanted, model
    export(tmp_path / "in", tmp_path / "as-stored", *TEXT)
    types = (re.findall(r'element_type="(\w+)"', (tmp_path / "as-stored" / f"{model}.xml").read_text()) for model in (MODEL, "openvino_model"))
    assert ["bf16" in found for found in types] == [False, True]


QUANTIZED = {
    "layer stays bf16, fp8": (float8((32, 32), skip=("mtp.*",)), "fp32"),
    "layer quantized, fp8": (float8((32, 32)), "fp32"),
    "layer stays bf16, gptq": (gptq(group=16, skip=("mtp.*",)), "fp32"),
    "layer quantized, gptq": (gptq(group=16, patterns=["*_proj.weight", "mtp.fc.weight"]), "fp32"),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_reads_quantized_sources(tmp_path, name):
    """The same file as from the plain checkpoint of the values that the codes stand for."""
    change, weight_format = QUANTIZED[name]
    base = GOLDEN / "mtp" / "dense"
    tensors, config = make_variants.make(base, change, tmp_path / "variant")
    plain, _ = make_variants.make(base, lambda tensors, config: None, tmp_path / "plain")
    truth = read_back.weights(tensors, config)
    assert any(weight.startswith("mtp.") for weight in truth) == name.startswith("layer quantized")
    for weight, values in truth.items():
        plain[weight] = store("F32", values if isinstance(values, np.ndarray) else values.values())
    write(tmp_path / "plain" / "model.safetensors", plain)
    for folder in ("variant", "plain"):
        export(tmp_path / folder, tmp_path / f"{folder}-out", "--weight-format", weight_format, "--disable-convert-tokenizer")
    for model in (MODEL, "openvino_model"):
        made, wanted = ((tmp_path / f"{folder}-out" / (model + ".bin")).read_bytes() for folder in ("variant", "plain"))
        assert made == wanted, model


def test_keeps_codes_of_the_layer(tmp_path):
    change, _ = QUANTIZED["layer quantized, gptq"]
    make_variants.make(GOLDEN / "mtp" / "dense", change, tmp_path / "variant")
    export(tmp_path / "variant", tmp_path / "out", "--report", tmp_path / "report.json", "--disable-convert-tokenizer")
    entries = json.loads((tmp_path / "report.json").read_text())["tensors"]
    kept = {entry["name"] for entry in entries if entry["stored_as"].startswith("i4") and entry["model"] == MODEL}
    assert len(kept) == 8


# --- openvino_genai


def scheduler() -> genai.SchedulerConfig:
    config = genai.SchedulerConfig()
    config.enable_prefix_caching = False  # refused with this draft by 2026.4.1
    config.cache_size = 1
    return config


def genai_answers(model: str, prompts: list[str], counts: list[int]) -> dict:
    """Tokens of plain greedy decoding, and of drafting so many at a time: of prompts, and of a question on a picture."""
    pictures = [[ov.Tensor(np.asarray(Image.open(PICTURE).convert("RGB"))[None])]]
    answers = {}
    for count in counts:
        # A draft is transformed in place by the pipeline that takes it.
        draft = {"draft_model": genai.draft_model(model, "CPU", **FLOAT32)} if count else {}
        pipeline = genai.ContinuousBatchingPipeline(model, scheduler(), "CPU", FLOAT32 | draft)
        config = genai.GenerationConfig(do_sample=False, max_new_tokens=30, ignore_eos=True, apply_chat_template=False)
        config.num_assistant_tokens = count
        results = [pipeline.generate([prompt], [config])[0] for prompt in prompts]
        asking = genai.GenerationConfig(do_sample=False, max_new_tokens=30)
        asking.num_assistant_tokens = count
        asked = pipeline.generate([QUESTION], images=pictures, generation_config=[asking])[0]
        accepted = [r.extended_perf_metrics.get_num_accepted_tokens() for r in results] if count else []
        answers[str(count)] = {"texts": [r.m_generation_ids[0] for r in results], "asked": asked.texts, "accepted": sum(accepted)}
    return answers


def in_own_process(model: Path, prompts: list[str], counts: list[int]) -> dict:
    wanted = json.dumps({"model": str(model), "prompts": prompts, "counts": counts})
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT / 'tests' / 'e2e'}"}
    result = subprocess.run([sys.executable, __file__, wanted], capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_genai_gives_the_same_tokens(vlm, greedy):
    """ContinuousBatchingPipeline, the paged backend: the tokens of transformers, drafted or not."""
    entries = greedy["single"][1:2] + greedy["batch"]
    answers = in_own_process(vlm, [entry["prompt_text"] for entry in entries], [0, 1, 4])
    for count, answer in answers.items():
        assert answer["texts"] == [entry["continuation_text"] for entry in entries], count
        assert answer["asked"] == ["A red circle on a blue ground."], count
    tokens = 30 * len(entries)
    assert answers["1"]["accepted"] > 0.3 * tokens / 2  # every second token can be an accepted one
    assert answers["4"]["accepted"] > answers["1"]["accepted"]


def test_genai_gives_the_same_tokens_in_int4(vlm_int4, greedy):
    prompts = [entry["prompt_text"] for entry in greedy["single"][1:2] + greedy["batch"][:1]]
    answers = in_own_process(vlm_int4, prompts, [0, 3])
    assert answers["0"]["texts"] == answers["3"]["texts"] and answers["0"]["asked"] == answers["3"]["asked"]
    assert answers["3"]["accepted"] > 0


# --- the runner


def generate(model: Path, *arguments: object, **options: object) -> list[dict]:
    result = run_deltavino("generate", model, "--precision", "f32", "--json", *arguments, **options)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("form", ["vlm", "vlm_int4", "text"])
def test_runner_gives_the_same_tokens(form, greedy, request):
    model = request.getfixturevalue(form)
    entry = greedy["single"][1]
    arguments = ("--raw", "--prompt", entry["prompt_text"], "--ignore-eos", "--max-new-tokens", 120)
    (plain,) = generate(model, *arguments)
    assert plain["drafted_tokens"] == 0
    if form != "vlm_int4":
        assert plain["ids"][:30] == entry["continuation_ids"]
    for count in (1, 3, 8):
        (drafted,) = generate(model, *arguments, "--speculate", count)
        assert drafted["ids"] == plain["ids"] and drafted["text"] == plain["text"], count
        assert 0 < drafted["accepted_tokens"] <= drafted["drafted_tokens"]
        # Every check gives one token besides the accepted ones; the last may have been cut short by the limit.
        checks = drafted["drafted_tokens"] / count
        assert checks + drafted["accepted_tokens"] >= len(drafted["ids"]) - 1


def test_runner_samples_the_same_tokens(vlm, greedy):
    arguments = ("--raw", "--prompt", greedy["single"][1]["prompt_text"], "--ignore-eos", "--max-new-tokens", 60,
                 "--temperature", 0.7, "--top-k", 40, "--repetition-penalty", 1.1, "--seed", 3)  # fmt: skip
    assert generate(vlm, *arguments)[0]["ids"] == generate(vlm, *arguments, "--speculate", 3)[0]["ids"]


def test_runner_goes_on_with_a_conversation(vlm):
    """States, positions and what the drafter read follow when the runner goes back to where an answer was opened."""
    lines = [f"/image {PICTURE}", QUESTION, f"/image {KJV / 'pictures' / 'green-square-on-white.png'}", QUESTION, "And then?"]
    arguments = ("--chat", "--max-new-tokens", 40)
    plain = generate(vlm, *arguments, input="\n".join(lines))
    drafted = generate(vlm, *arguments, "--speculate", 3, input="\n".join(lines))
    assert len(plain) == 3 and plain[0]["text"] == "A red circle on a blue ground."
    for one, other in zip(plain, drafted, strict=True):
        for key in ("text", "ids", "prompt", "prompt_ids", "context_tokens", "finish"):
            assert one[key] == other[key], key


def test_runner_refuses(kjv_text, vlm):
    result = run_deltavino("generate", kjv_text, "--prompt", "a", "--speculate", 2)
    assert result.returncode == INPUT and MODEL in result.stderr
    result = run_deltavino("generate", vlm, "--prompt", "a", "--speculate", 33)
    assert result.returncode == USAGE and "at most 32" in result.stderr


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(genai_answers(given["model"], given["prompts"], given["counts"])))
