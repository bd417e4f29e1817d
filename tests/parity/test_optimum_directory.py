"""`deltavino generate` runs what optimum-intel exports, and its command line knows optimum-cli's options."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from optimum.commands.export.openvino import parse_args_openvino

sys.path.insert(0, str(ROOT / "bench"))
from quality import text_only_checkpoint  # noqa: E402

# What becomes of each option of optimum-cli here.
OURS = {"--model", "--task", "--weight-format", "--ratio", "--sym", "--group-size", "--group-size-fallback", "--backup-precision", "--all-layers", "--disable-convert-tokenizer", "--cache_dir"}
NOTED = {"--framework": "pt", "--library": "transformers", "--trust-remote-code": None, "--pad-token-id": "1", "--model-kwargs": "{}"}
REFUSED = {
    "--dataset": "wikitext2",
    "--num-samples": "8",
    "--awq": None,
    "--scale-estimation": None,
    "--gptq": None,
    "--lora-correction": None,
    "--sensitivity-metric": "hessian_input_activation",
    "--quantization-statistics-path": "x",
    "--quant-mode": "int8",
    "--smooth-quant-alpha": "0.5",
    "--disable-stateful": None,
    "--variant": "fp16",
}


def export_with_optimum(checkpoint: Path, target: Path, task: str) -> Path:
    command = [sys.executable, "-m", "optimum.commands.optimum_cli", "export", "openvino", "-m", str(checkpoint), "--task", task, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return target


def require_names(checkpoint: Path, theirs: Path, task: str, more: set[str]) -> None:
    """`ovms --pull` leaves what optimum-intel writes, and graph.pbtxt; ours has the same names and `more`."""
    ours = theirs.parent / "served"
    assert run_deltavino("export", "-m", checkpoint, ours, "--task", task, "--ovms").returncode == 0
    names, wanted = ({path.name for path in folder.iterdir()} for folder in (ours, theirs))
    assert names == wanted | {"graph.pbtxt"} | more


def test_a_text_directory_runs(greedy, tmp_path):
    text_only_checkpoint(tmp_path / "checkpoint")
    model = export_with_optimum(tmp_path / "checkpoint", tmp_path / "model", "text-generation-with-past")
    require_names(tmp_path / "checkpoint", model, "text-generation-with-past", {"openvino_config.json"})
    for entry in greedy["single"]:
        result = run_deltavino("generate", model, "--raw", "--json", "--precision", "f32", "--ignore-eos", "--max-new-tokens", greedy["new_tokens"], "--prompt", entry["prompt_text"])
        assert result.returncode == 0, result.stderr
        answer = json.loads(result.stdout)
        assert answer["prompt_ids"] == entry["prompt_ids"]
        assert answer["ids"] == entry["continuation_ids"]


def test_a_vision_language_directory_runs(tmp_path):
    chats = json.loads((GOLDEN / "kjv-tiny" / "vision.json").read_text())["chats"]
    model = export_with_optimum(KJV, tmp_path / "model", "image-text-to-text")
    require_names(KJV, model, "image-text-to-text", {"openvino_config.json", "video_preprocessor_config.json"})
    checked = 0
    for chat in chats:
        if len(chat["messages"]) > 1:
            continue
        content = chat["messages"][0]["content"]
        question = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        images = [argument for picture in chat["pictures"] for argument in ("--image", KJV / picture)]
        result = run_deltavino("generate", model, *images, "--prompt", question, "--json", "--precision", "f32")
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["ids"] == chat["answer_ids"], chat["name"]
        checked += 1
    assert checked > 2


def test_every_option_of_optimum_is_known():
    parser = argparse.ArgumentParser(add_help=False)
    parse_args_openvino(parser)
    theirs = {next(name for name in action.option_strings if name.startswith("--")) for action in parser._actions if action.option_strings}
    assert theirs == OURS | set(NOTED) | set(REFUSED)


@pytest.mark.parametrize("option", [*NOTED, *REFUSED])
def test_an_option_is_noted_or_refused(option, tmp_path):
    value = {**NOTED, **REFUSED}[option]
    words = [option] if value is None else [option, value]
    result = run_deltavino("export", "-m", GOLDEN / "dense-v1", tmp_path / "out", "--disable-convert-tokenizer", *words)
    if option in NOTED:
        assert result.returncode == 0, result.stderr
        assert f"note: {option} changes nothing here" in result.stderr
    else:
        assert result.returncode == 4, result.stderr
        assert f"  - {option} " in result.stderr
        assert not (tmp_path / "out").exists()


def test_our_names_are_in_the_help():
    text = run_deltavino("export", "--help").stdout
    assert all(f"{name}" in text for name in OURS)
