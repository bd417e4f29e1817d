"""The commands that documents show after a `$` run as they stand, in their order, in one folder.

The models that the guides name stand on a small Hub of this test: the bundled checkpoint, also in formats of quantized
downloads, and a mixture of experts with its tokenizer. What a guide shows for openvino_genai runs after its commands.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN, KJV, ROOT
from hub_server import HubServer
from hub_support import SIDE_FILES, Hub, checkpoint_files
from lora_support import factors_of, write_adapter

sys.path.insert(0, str(ROOT / "tests" / "sources"))
import make_variants  # noqa: E402
import stored  # noqa: E402

PROGRAM = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "guides").glob("*.md"))
WITHOUT_COMMANDS = ["docs/guides/not_yet.md"]
PICTURES = {"cat.png": "red-circle-on-blue.png", "dog.png": "red-circle-on-blue.png"}


def blocks(document: str, language: str = r"\w*") -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(document: str) -> list[str]:
    """Lines of code blocks that begin with `$ deltavino` or `$ build/deltavino`, without comments.

    A backslash at the end of a line takes the next one to it.
    """
    lines = [line for block in blocks(document) for line in block.replace("\\\n", " ").splitlines()]
    return [line[2:].split("  #")[0] for line in lines if re.match(r"\$ (build/)?deltavino ", line)]


def run(document: str, folder: Path, environment: dict[str, str]) -> list[str]:
    """What the commands of a document print."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    outputs = []
    for command in commands(document):
        words = shlex.split(command)
        done = subprocess.run([PROGRAM, *words[1:]], cwd=folder, capture_output=True, text=True, env=environment,
                              stdin=subprocess.DEVNULL, check=False)  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        outputs.append(done.stdout)
    return outputs


def variant(name: str, folder: Path) -> dict[str, bytes]:
    """The bundled checkpoint as somebody else quantized it."""
    row = make_variants.VARIANTS[name]
    make_variants.make(KJV, row.change, folder, row.files)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def mixture(folder: Path) -> dict[str, bytes]:
    """A golden mixture of experts with the bundled tokenizer, whose vocabulary it gets."""
    config = json.loads((GOLDEN / "moe-e8k2" / "config.json").read_text())
    config["vocab_size"] = json.loads((KJV / "config.json").read_text())["text_config"]["vocab_size"]
    tensors = stored.read(GOLDEN / "moe-e8k2" / "model.safetensors")
    for name, tensor in tensors.items():
        if "embed_tokens" in name or "lm_head" in name:
            tensor.bits = np.resize(tensor.bits, (config["vocab_size"], tensor.bits.shape[1]))
    folder.mkdir()
    stored.write(folder / "model.safetensors", tensors)
    side = {name: (KJV / name).read_bytes() for name in SIDE_FILES if "processor" not in name}
    return {**side, "config.json": json.dumps(config).encode(),
            "model.safetensors": (folder / "model.safetensors").read_bytes()}  # fmt: skip


def models(folder: Path) -> dict[str, dict[str, bytes]]:
    """Files of every model that a guide names, by its id."""
    return {
        **{f"Qwen/Qwen3.5-{size}": checkpoint_files() for size in ("0.8B", "4B", "9B")},
        "Qwen/Qwen3.6-35B-A3B": mixture(folder / "moe"),
        "Qwen/Qwen3.6-27B-FP8": variant("fp8", folder / "fp8"),
        "RedHatAI/Qwen3.5-9B-quantized.w4a16": variant("compressed", folder / "compressed"),
    }


@pytest.fixture
def hub(tmp_path: Path):
    with HubServer() as server:
        yield Hub(tmp_path, server)


def test_commands_of_readme(tmp_path: Path) -> None:
    assert len(commands("README.md")) >= 5
    outputs = run("README.md", tmp_path, dict(os.environ))
    assert any("A red circle on a blue ground." in output for output in outputs)


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_of_guides(tmp_path: Path, hub: Hub, guide: str) -> None:
    assert bool(commands(guide)) != (guide in WITHOUT_COMMANDS)
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "made").mkdir()
    for name, files in models(tmp_path / "made").items():
        hub.server.add(name, files)
    awq = folder / "Qwen3.5-9B-AWQ"
    awq.mkdir()
    for name, data in variant("awq", tmp_path / "awq").items():
        (awq / name).write_bytes(data)
    for name, picture in PICTURES.items():
        shutil.copy(KJV / "pictures" / picture, folder / name)
    shutil.copy(KJV / "held_out.txt", folder)
    write_adapter(folder / "my-adapter", factors_of(KJV, ("q_proj", "up_proj")))
    if guide.endswith("accuracy_report.md"):  # it goes on where the first guide ended
        for bits in ("int4", "int8"):
            done = hub.run("-m", KJV, folder / f"qwen-{bits}", "--weight-format", bits,
                           "--task", "text-generation-with-past", command="export")  # fmt: skip
            assert done.returncode == 0, done.stderr
    run(guide, folder, hub.environment)
    code = "\n".join(blocks(guide, "python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
