"""openvino_genai on the exported vision-language model gives the answers of transformers.

Every pipeline runs in a process of its own: VISION_PREPROCESS is read from the environment, and one of
the broken directories ends the process. Run as a program, this file is that process.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from PIL import Image

FLOAT32 = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}
INPUT = 3
CHATS = json.loads((GOLDEN / "kjv-tiny" / "vision.json").read_text())["chats"]
PIPELINES = ["VLM-PA", "VLM-SDPA", "CB"]


def picture(path: str) -> ov.Tensor:
    return ov.Tensor(np.asarray(Image.open(KJV / path).convert("RGB"))[None])


def question(message: dict) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")


def greedy() -> genai.GenerationConfig:
    config = genai.GenerationConfig()
    config.max_new_tokens = 30
    config.do_sample = False
    return config


def answer(result) -> list:
    return [result.texts[0], result.perf_metrics.get_num_generated_tokens()]


def vlm_answers(model: str, backend: str) -> dict:
    pipeline = genai.VLMPipeline(model, "CPU", ATTENTION_BACKEND=backend, **FLOAT32)
    answers = {}
    for chat in CHATS:
        pictures = list(map(picture, chat["pictures"]))
        users = [message for message in chat["messages"] if message["role"] == "user"]
        if len(users) > 1:
            # the golden's earlier answer is what the model says itself
            history = genai.ChatHistory()
            for user, image in zip(users, pictures, strict=True):
                history.append({"role": "user", "content": question(user)})
                answers[chat["name"]] = answer(pipeline.generate(history, images=[image], generation_config=greedy()))
                history.append({"role": "assistant", "content": answers[chat["name"]][0]})
        else:
            answers[chat["name"]] = answer(pipeline.generate(question(users[0]), images=pictures, generation_config=greedy()))
    frames = np.concatenate([picture(name).data for name in ["pictures/red-circle-on-blue.png"] * 4])
    answers["video"] = answer(pipeline.generate("What is in the picture?", videos=[ov.Tensor(frames)], generation_config=greedy()))
    return answers


def continuous_batching_answers(model: str) -> dict:
    """All chats of one turn at once, prompts cut into pieces of 16 tokens."""
    scheduler = genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = 16
    scheduler.dynamic_split_fuse = True
    scheduler.cache_size = 1
    pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", FLOAT32)
    chats = [chat for chat in CHATS if len(chat["messages"]) == 1]
    results = pipeline.generate(
        [question(chat["messages"][0]) for chat in chats],
        images=[list(map(picture, chat["pictures"])) for chat in chats],
        generation_config=[greedy()] * len(chats),
    )
    answers = {chat["name"]: [result.texts[0]] for chat, result in zip(chats, results, strict=True)}
    answers["tokens of all"] = results[0].perf_metrics.get_num_generated_tokens()
    return answers


def run_pipeline(model: Path, pipeline: str, vision_preprocess: str | None = None) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "VISION_PREPROCESS"}
    if vision_preprocess is not None:
        environment["VISION_PREPROCESS"] = vision_preprocess
    environment["PYTHONPATH"] = str(ROOT / "tests")
    return subprocess.run([sys.executable, __file__, str(model), pipeline], capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module", params=["in the graph", "CPP"])
def answers_by_pipeline(request, kjv_vlm) -> dict:
    """The answers with one place of preprocessing."""
    found = {}
    for pipeline in PIPELINES:
        result = run_pipeline(kjv_vlm, pipeline, None if request.param == "in the graph" else request.param)
        assert result.returncode == 0, result.stderr
        found[pipeline] = json.loads(result.stdout.splitlines()[-1])
    return found


def expected(chat: dict) -> list:
    return [chat["answer_text"].removesuffix("<|im_end|>"), len(chat["answer_ids"])]


@pytest.mark.parametrize("backend", ["PA", "SDPA"])
def test_answers_of_transformers(answers_by_pipeline, backend):
    answers = answers_by_pipeline[f"VLM-{backend}"]
    assert {chat["name"]: answers[chat["name"]] for chat in CHATS} == {chat["name"]: expected(chat) for chat in CHATS}


def test_continuous_batching(answers_by_pipeline):
    answers = answers_by_pipeline["CB"]
    chats = [chat for chat in CHATS if len(chat["messages"]) == 1]
    assert len(chats) == 7
    assert {chat["name"]: answers[chat["name"]] for chat in chats} == {chat["name"]: expected(chat)[:1] for chat in chats}
    assert answers["tokens of all"] == sum(expected(chat)[1] for chat in chats)


def assert_pictures_are_named(answers: dict) -> None:
    for name in ["green-square-on-white", "red-circle-on-blue", "yellow-triangle-on-black"]:
        colour, shape, _, ground = name.split("-")
        assert answers[name][0] == f"A {colour} {shape} on a {ground} ground."


def test_pictures_are_named_correctly(answers_by_pipeline):
    for answers in answers_by_pipeline.values():
        assert_pictures_are_named(answers)


@pytest.mark.parametrize("weight_format", ["fp16", "int8", "int4"])
def test_pictures_with_smaller_weights(tmp_path, weight_format):
    result = run_deltavino("export", "-m", KJV, tmp_path / "out", "--weight-format", weight_format)
    assert result.returncode == 0, result.stderr
    result = run_pipeline(tmp_path / "out", "VLM-PA")
    assert result.returncode == 0, result.stderr
    assert_pictures_are_named(json.loads(result.stdout.splitlines()[-1]))


def test_video_is_the_same_on_both_backends(answers_by_pipeline):
    """The model was not trained on videos; whatever it says must not depend on the backend."""
    text, tokens = answers_by_pipeline["VLM-PA"]["video"]
    assert [text, tokens] == answers_by_pipeline["VLM-SDPA"]["video"]
    assert text and tokens > 1


REQUIRED = [
    ("openvino_language_model.xml", "GenAI, optimum-intel and OVMS"),
    ("openvino_language_model.bin", "GenAI, optimum-intel and OVMS"),
    ("openvino_text_embeddings_model.xml", "GenAI"),
    ("openvino_vision_embeddings_model.xml", "VLMPipeline and optimum-intel"),
    ("openvino_vision_embeddings_model.bin", "OVMS"),
    ("openvino_vision_embeddings_pos_model.xml", "VLMPipeline and optimum-intel"),
    ("openvino_vision_embeddings_merger_model.xml", "VLMPipeline ends the process"),
    ("openvino_tokenizer.xml", "GenAI and OVMS"),
    ("openvino_detokenizer.xml", "GenAI and OVMS"),
    ("config.json", "optimum-intel"),
]


def broken(kjv_vlm: Path, tmp_path: Path, *names: str) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(kjv_vlm, copy)
    for name in names:
        (copy / name).unlink()
    return copy


def missing(model: Path) -> tuple[int, list[str]]:
    result = run_deltavino("inspect", model, "--json")
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)["missing"]


def test_complete_directory(kjv_vlm):
    assert missing(kjv_vlm) == (0, [])


@pytest.mark.parametrize(("name", "who"), REQUIRED, ids=[name for name, _ in REQUIRED])
def test_missing_file(kjv_vlm, tmp_path, name, who):
    """GenAI fails without it, and `inspect` says what is missing and who needs it."""
    copy = broken(kjv_vlm, tmp_path, name)
    code, found = missing(copy)
    assert code == INPUT
    assert [entry for entry in found if entry.startswith(f"{name}: ") and who in entry] == found
    assert len(found) == 1
    assert run_pipeline(copy, "VLM-PA").returncode != 0


def test_missing_processor_settings(kjv_vlm, tmp_path):
    copy = broken(kjv_vlm, tmp_path, "processor_config.json", "preprocessor_config.json")
    code, found = missing(copy)
    assert code == INPUT and len(found) == 1
    assert found[0].startswith("preprocessor_config.json: ") and "GenAI" in found[0]
    assert run_pipeline(copy, "VLM-PA").returncode != 0


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_optional_file(kjv_vlm, tmp_path, name):
    copy = broken(kjv_vlm, tmp_path, name)
    code, found = missing(copy)
    assert code == 0
    assert [entry.split(": ")[0] for entry in found] == [name]


@pytest.mark.parametrize("names", [["processor_config.json"], ["preprocessor_config.json", "video_preprocessor_config.json"]], ids=["older", "newer"])
def test_either_form_of_processor_settings(kjv_vlm, tmp_path, names):
    copy = broken(kjv_vlm, tmp_path, *names)
    assert missing(copy) == (0, [])
    result = run_pipeline(copy, "VLM-PA")
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    assert {chat["name"]: answers[chat["name"]] for chat in CHATS} == {chat["name"]: expected(chat) for chat in CHATS}


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A copy of the bundled checkpoint that a test may break."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(KJV, copy, ignore=shutil.ignore_patterns("pictures", "*.txt"))
    return copy


def export(checkpoint: Path, *options: str) -> subprocess.CompletedProcess:
    return run_deltavino("export", "-m", checkpoint, checkpoint.parent / "out", "--disable-convert-tokenizer", *options)


def edit_json(path: Path, edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_checkpoint_without_processor_settings(checkpoint):
    (checkpoint / "preprocessor_config.json").unlink()
    result = export(checkpoint)
    assert result.returncode == INPUT
    assert "preprocessor_config.json" in result.stderr and "--task text-generation-with-past" in result.stderr
    assert not (checkpoint.parent / "out").exists()
    assert export(checkpoint, "--task", "text-generation-with-past").returncode == 0


def test_checkpoint_without_video_settings(checkpoint):
    (checkpoint / "video_preprocessor_config.json").unlink()
    result = export(checkpoint)
    assert result.returncode == 0 and "video_preprocessor_config.json" in result.stderr
    settings = json.loads((checkpoint.parent / "out" / "processor_config.json").read_text())
    assert settings["video_processor"]["size"] == settings["image_processor"]["size"]


def test_checkpoint_with_the_newer_settings_only(checkpoint):
    image = json.loads((checkpoint / "preprocessor_config.json").read_text())
    video = json.loads((checkpoint / "video_preprocessor_config.json").read_text())
    (checkpoint / "processor_config.json").write_text(json.dumps({"processor_class": "Qwen3VLProcessor", "image_processor": image, "video_processor": video}))
    (checkpoint / "preprocessor_config.json").unlink()
    (checkpoint / "video_preprocessor_config.json").unlink()
    assert export(checkpoint).returncode == 0
    out = checkpoint.parent / "out"
    assert json.loads((out / "preprocessor_config.json").read_text())["size"] == image["size"]
    assert json.loads((out / "video_preprocessor_config.json").read_text())["size"] == video["size"]


def test_older_spelling_of_the_limits(checkpoint):
    edit_json(checkpoint / "preprocessor_config.json", lambda c: (c.pop("size"), c.update(min_pixels=1024, max_pixels=4096)))
    assert export(checkpoint).returncode == 0
    settings = json.loads((checkpoint.parent / "out" / "processor_config.json").read_text())
    assert settings["image_processor"]["size"] == {"shortest_edge": 1024, "longest_edge": 4096}


@pytest.mark.parametrize("key", ["patch_size", "temporal_patch_size", "merge_size"])
def test_patches_of_another_size_than_the_tower(checkpoint, key):
    edit_json(checkpoint / "preprocessor_config.json", lambda c: c.update({key: 3}))
    result = export(checkpoint)
    assert result.returncode == INPUT and f"{key} of the settings for pictures is 3" in result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_processor_settings_are_not_json(checkpoint, text):
    (checkpoint / "video_preprocessor_config.json").write_text(text)
    result = export(checkpoint)
    assert result.returncode == INPUT and "video_preprocessor_config.json" in result.stderr


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (lambda c: c["vision_config"].update(hidden_act="gelu"), 4, ["hidden_act"]),
        (lambda c: c["vision_config"].update(deepstack_visual_indexes=[1]), 4, ["deepstack_visual_indexes"]),
        (lambda c: c["vision_config"].update(out_hidden_size=64), INPUT, ["out_hidden_size", "128"]),
        (lambda c: c["vision_config"].update(num_position_embeddings=63), INPUT, ["num_position_embeddings", "square"]),
        (lambda c: c["vision_config"].update(depth=4), INPUT, ["depth is 4", "only 3 vision blocks", "none is of vision block 3"]),
        (lambda c: c["vision_config"].update(depth=2), INPUT, ["depth is 2", "there is vision block 2", "visual.blocks.2."]),
        (lambda c: c["text_config"]["rope_parameters"].update(mrope_interleaved=False), 4, ["mrope_interleaved"]),
    ],
    ids=["activation", "deepstack", "width", "positions", "deeper", "shallower", "positions-in-blocks"],
)
def test_contradictory_vision_config(checkpoint, edit, code, words):
    edit_json(checkpoint / "config.json", edit)
    result = export(checkpoint)
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in result.stderr


def test_names_of_a_later_generation(checkpoint):
    """GenAI refuses a model_type it does not know; the architecture is the same."""

    def rename(config):
        config.update(model_type="qwen3_8", architectures=["Qwen3_8ForConditionalGeneration"])
        config["text_config"]["model_type"] = "qwen3_8_text"
        config["vision_config"].pop("deepstack_visual_indexes")

    edit_json(checkpoint / "config.json", rename)
    assert export(checkpoint).returncode == 0
    config = json.loads((checkpoint.parent / "out" / "config.json").read_text())
    assert (config["model_type"], config["text_config"]["model_type"]) == ("qwen3_5", "qwen3_5_text")
    assert config["architectures"] == ["Qwen3_5ForConditionalGeneration"]
    assert config["vision_config"]["deepstack_visual_indexes"] == []


if __name__ == "__main__":
    model_directory, pipeline_name = sys.argv[1:]
    all_answers = continuous_batching_answers(model_directory) if pipeline_name == "CB" else vlm_answers(model_directory, pipeline_name.removeprefix("VLM-"))
    print(json.dumps(all_answers))
