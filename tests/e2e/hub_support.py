"""What the tests of Hub ids share: a checkpoint to serve, and the program with a Hugging Face home of its own."""

import json
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from conftest import KJV, run_deltavino
from exported import stored_tensors
from hub_server import HubServer

ID = "acme/kjv-tiny"
USAGE, INPUT, UNSUPPORTED, OUTPUT, NETWORK, STOPPED = 2, 3, 4, 5, 6, 130
SIDE_FILES = [
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
]
NEEDED = sorted([*SIDE_FILES, "model.safetensors"])
UNNEEDED = {
    "README.md": b"# a model\n",
    "pytorch_model.bin": b"\x80\x02pickle",
    "pytorch_model.bin.index.json": b"{}",
    "model.gguf": b"GGUF",
    "onnx/config.json": b"{}",
    "onnx/model.onnx": b"onnx",
    "original/consolidated.00.pth": b"pth",
    "consolidated.safetensors": b"the same weights once more",
}


def checkpoint_files() -> dict[str, bytes]:
    return {name: (KJV / name).read_bytes() for name in NEEDED}


def shards() -> dict[str, bytes]:
    """The bundled weights as three files and an index."""
    tensors = sorted(stored_tensors(KJV).items())
    files, weight_map = {}, {}
    for part in range(3):
        name = f"model-{part + 1:05}-of-00003.safetensors"
        header, data = {}, b""
        for tensor, (dtype, shape, file, begin, end) in tensors[part::3]:
            header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + end - begin]}
            with file.open("rb") as stream:
                stream.seek(begin)
                data += stream.read(end - begin)
            weight_map[tensor] = name
        text = json.dumps(header).encode()
        files[name] = struct.pack("<Q", len(text)) + text + data
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    return {**files, "model.safetensors.index.json": json.dumps(index).encode()}


class Hub:
    """A server, a Hugging Face home of its own, and the program between them."""

    def __init__(self, tmp: Path, server: HubServer):
        self.server = server
        self.home = tmp / "hf"
        self.cache = self.home / "hub"
        theirs = re.compile("HF_|HUGGING|TRANSFORMERS_|SSL_CERT|XDG_|.*proxy", re.IGNORECASE)
        ours = {k: v for k, v in os.environ.items() if not theirs.match(k)}
        self.environment = {**ours, "HF_HOME": str(self.home), "HF_ENDPOINT": server.url, "HOME": str(tmp)}

    def run(self, *arguments: object, command: str = "inspect", **variables: str) -> subprocess.CompletedProcess:
        return run_deltavino(command, *arguments, env={**self.environment, **variables}, timeout=120)

    def ok(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess:
        result = self.run(*(arguments or (ID,)), **variables)
        assert result.returncode == 0, result.stderr
        return result

    def refused(self, code: int, *words: str, arguments: tuple = (ID,), **variables: str) -> str:
        """One error line with these words in it."""
        result = self.run(*arguments, **variables)
        lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
        assert (result.returncode, len(lines)) == (code, 1), result.stderr
        for word in words:
            assert word in lines[0], lines[0]
        return lines[0]

    def folder(self, repository: str = ID) -> Path:
        return self.cache / ("models--" + repository.replace("/", "--"))

    def snapshot(self, commit: str, repository: str = ID) -> list[str]:
        folder = self.folder(repository) / "snapshots" / commit
        return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())

    def partial(self) -> Path:
        """Where the weights of the latest commit grow."""
        file = self.server.repositories[ID][self.server.refs[ID, "main"]]["model.safetensors"]
        return self.folder() / "blobs" / f"{file.etag}.incomplete"


@pytest.fixture
def hub(tmp_path):
    with HubServer() as server:
        yield Hub(tmp_path, server)


@pytest.fixture
def kjv(hub):
    hub.commit = hub.server.add(ID, {**checkpoint_files(), **UNNEEDED})
    return hub
