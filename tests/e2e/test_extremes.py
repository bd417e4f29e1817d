"""Values and names at the edge of what is possible, which are right all the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from conftest import GOLDEN, KJV, run_deltavino

TEXT = ("--task", "text-generation-with-past")


def fill(checkpoint: Path, name: str, value: float) -> None:
    """Sets all values of an F32 tensor."""
    for file in checkpoint.glob("model*.safetensors"):
        data = bytearray(file.read_bytes())
        begin = 8 + int.from_bytes(data[:8], "little")
        about = json.loads(data[8:begin]).get(name)
        if about is not None:
            assert about["dtype"] == "F32"
            first, last = (begin + offset for offset in about["data_offsets"])
            data[first:last] = np.full(about["shape"], value, np.float32).tobytes()
            file.write_bytes(data)
            return
    raise AssertionError(f"no {name}")


def logits(checkpoint: Path, out: Path) -> np.ndarray:
    run = run_deltavino("export", "-m", checkpoint, out, "--weight-format", "fp32", "--disable-convert-tokenizer")
    assert run.returncode == 0, run.stderr
    compiled = ov.Core().compile_model(out / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request, ids = compiled.create_infer_request(), np.array([[1, 2, 3, 4, 5]])
    request.infer({"input_ids": ids, "attention_mask": np.ones_like(ids), "beam_idx": np.zeros(1, np.int32)}
                  | ({"position_ids": np.arange(5)[None]} if len(compiled.inputs) > 3 else {}))  # fmt: skip
    return request.get_tensor("logits").data.copy()


def test_a_rate_of_decay_beyond_float32(tmp_path):
    """exp(A_log) overflows, and softplus is 0: nothing decays. That is what a rate gives that does not overflow."""
    found = {}
    for a_log in (80, 100, 1e30):
        checkpoint = Path(shutil.copytree(GOLDEN / "dense-v1", tmp_path / f"at-{a_log}"))
        fill(checkpoint, "model.layers.0.linear_attn.A_log", a_log)
        fill(checkpoint, "model.layers.0.linear_attn.dt_bias", -200)
        found[a_log] = logits(checkpoint, tmp_path / f"out-{a_log}")
    assert np.isfinite(found[80]).all()
    assert np.array_equal(found[80], found[100]) and np.array_equal(found[80], found[1e30])


NAMES = ("\u043c\u043e\u0434\u0435\u043b\u044c", "\u6a21\u578b", "\u0646\u0645\u0648\u0630\u062c", "with  spaces", "dot.", "\U0001f40d", "-m", "a'b\"c", "new\nline")


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_of_folders_change_nothing(name, tmp_path, kjv_text):
    """Neither their letters nor what a recipe could read out of them."""
    checkpoint = Path(shutil.copytree(KJV, tmp_path / name / f"Qwen3.5-35B-A3B {name}"))
    out = tmp_path / name / "out"
    run = run_deltavino("export", "--model", checkpoint, out, *TEXT)
    assert run.returncode == 0, run.stderr
    for file in kjv_text.glob("openvino_*.bin"):
        assert (out / file.name).read_bytes() == file.read_bytes(), file.name

    def graph(directory: Path) -> str:
        return (directory / "openvino_model.xml").read_text().split("</layers>")[0]

    assert graph(out) == graph(kjv_text)
    answer = [run_deltavino("generate", model, "--raw", "--prompt", "And", "--max-new-tokens", "3") for model in (out, kjv_text)]
    assert answer[0].returncode == 0 and answer[0].stdout == answer[1].stdout, answer[0].stderr
