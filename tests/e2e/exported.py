"""What an exported directory and a checkpoint hold, read through OpenVINO and numpy only."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import openvino as ov


class Constants:
    """The constants of one model, by name."""

    def __init__(self, xml: Path):
        self.model = ov.Core().read_model(str(xml))
        self.all = [node for node in self.model.get_ordered_ops() if node.get_type_name() == "Constant"]
        self.nodes = {node.get_friendly_name(): node for node in self.all}

    def type(self, weight: str) -> str:
        """'u4', 'bf16', 'f32', ... of the stored bytes."""
        return self.node(weight).get_element_type().to_string()

    def node(self, weight: str):
        return self.nodes[weight] if weight in self.nodes else self.nodes[weight + "/stored"]

    def shape(self, name: str) -> list[int] | None:
        return list(self.nodes[name].get_output_shape(0)) if name in self.nodes else None

    def stored_bytes(self, weight: str) -> int:
        """Bytes of a weight with its zero points and scales."""
        names = [weight, weight + "/stored", weight + "/zero_point", weight + "/scale"]
        return sum(self.nodes[name].get_byte_size() for name in names if name in self.nodes)

    def data(self, name: str) -> np.ndarray:
        return self.nodes[name].get_data(dtype=np.float32).astype(np.float64)

    def values(self, weight: str, shape: list[int]) -> np.ndarray:
        """A weight as it comes back, in double: (codes - zero points) * scales."""
        values = self.data(weight if weight in self.nodes else weight + "/stored")
        if weight + "/zero_point" in self.nodes:
            values = values - self.data(weight + "/zero_point")
        if weight + "/scale" in self.nodes:
            values = values * self.data(weight + "/scale")
        return values.reshape(shape)


def stored_tensors(checkpoint: Path) -> dict[str, tuple[str, list[int], Path, int, int]]:
    """Type, shape, file, first and last byte of every tensor of a checkpoint, from the headers."""
    found = {}
    for file in sorted(checkpoint.glob("model*.safetensors")):
        with file.open("rb") as stream:
            size = struct.unpack("<Q", stream.read(8))[0]
            header = json.loads(stream.read(size))
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                found[name] = (entry["dtype"], entry["shape"], file, 8 + size + begin, 8 + size + end)
    return found


def stored_bytes(tensor: tuple) -> int:
    return tensor[4] - tensor[3]


def stored_values(tensor: tuple) -> np.ndarray:
    """The values of a tensor in double."""
    dtype, shape, file, begin, end = tensor
    raw = file.read_bytes()[begin:end]
    if dtype == "BF16":
        values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(raw, np.float32 if dtype == "F32" else np.float16)
    return values.astype(np.float64).reshape(shape)


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.square(found - truth).sum() / np.square(truth).sum()))


def joined_with_mtp(out: Path) -> Path:
    """The bundled checkpoint and the multi-token-prediction layer that was trained for it (tools/train_mtp.py)."""
    root = Path(__file__).resolve().parents[2]
    shutil.copytree(root / "examples" / "kjv-tiny", out)
    shutil.copy(root / "tests" / "data" / "kjv-tiny-mtp" / "mtp.safetensors", out)
    weights = {}
    for file in ("model.safetensors", "mtp.safetensors"):
        with (out / file).open("rb") as stream:
            header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        weights |= {name: file for name in header if name != "__metadata__"}
    (out / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    config = json.loads((out / "config.json").read_text())
    config["text_config"]["mtp_num_hidden_layers"] = 1
    (out / "config.json").write_text(json.dumps(config))
    return out
