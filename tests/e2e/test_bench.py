"""`deltavino bench`: which processes run and in which order, what is said of them, and errors. No test depends on a time."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import openvino as ov
import pytest
from conftest import KJV, ROOT, run_deltavino

USAGE, INPUT, UNSUPPORTED, CANCELLED = 2, 3, 4, 130
SHORT = ("--prompt-tokens", "5,600", "--new-tokens", 2)
PROGRAM = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))


@pytest.fixture(scope="module")
def int4(tmp_path_factory):
    out = tmp_path_factory.mktemp("int4") / "out"
    options = ("--task", "text-generation-with-past", "--weight-format", "int4")
    assert run_deltavino("export", "-m", KJV, out, *options).returncode == 0
    return out


def bench(*arguments: object) -> dict:
    result = run_deltavino("bench", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def refused(code: int, words: str, *arguments: object) -> None:
    result = run_deltavino("bench", *arguments)
    assert result.returncode == code and words in result.stderr, result.stderr
    assert result.stdout == ""


def test_processes_alternate_and_each_measures_every_length(kjv_text, kjv_vlm, int4):
    report = bench(int4, "--against", kjv_text, "--against", kjv_vlm, *SHORT, "--rounds", 2)
    assert report["order"] == [0, 1, 2, 2, 1, 0]
    assert [model["model"] for model in report["models"]] == [str(int4), str(kjv_text), str(kjv_vlm)]
    for model in report["models"]:
        assert len(model["processes"]) == 2
        assert model["peak_memory_bytes"]["median"] > 1e7 and not model["random_embeddings"]
        assert [length["prompt_tokens"] for length in model["lengths"]] == [5, 600]
        for process in model["processes"]:
            for length in process["lengths"]:
                assert length["new_tokens"] == 2 and min(length["prefill_seconds"], length["decode_seconds"]) > 0
    first = report["models"][0]
    assert all(first["lengths"][0][ratio] == {"median": 1, "least": 1, "most": 1} for ratio in ("prefill_ratio", "decode_ratio"))


def test_what_the_device_chose_is_what_openvino_says(kjv_text, int4):
    compiled = ov.Core().compile_model(str(kjv_text / "openvino_model.xml"), "CPU")
    report = bench(kjv_text, *SHORT, "--rounds", 1)
    model = report["models"][0]
    for key, name in {
        "precision": "INFERENCE_PRECISION_HINT",
        "kv_cache": "KV_CACHE_PRECISION",
        "dynamic_quantization_group": "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    }.items():
        value = compiled.get_property(name)
        assert model[key] == (value.to_string() if hasattr(value, "to_string") else str(value))
    facts = json.loads(run_deltavino("inspect", kjv_text, "--json").stdout)
    assert model["weight_bytes_per_token"] == facts["models"]["openvino_model"]["weight_bytes_per_token"]
    share = model["weight_bytes_per_token"] * model["lengths"][0]["decode_tokens_per_second"]["median"] / report["read_bytes_per_second"]
    assert model["lengths"][0]["bandwidth_share"] == pytest.approx(share)
    exact = bench(int4, *SHORT, "--rounds", 1, "--precision", "f32", "--threads", 1)["models"][0]
    assert (exact["precision"], exact["kv_cache"], exact["dynamic_quantization_group"]) == ("f32", "f32", "0")
    assert exact["inference_threads"] == "1"


def test_profile_names_the_operations_that_the_plugin_made(kjv_text):
    # "Reference": an operation of ours that the plugin calls.
    for more, rule, other in ([], "Reference", "GatedDeltaNet"), (["--plugin-only"], "GatedDeltaNet", "Reference"):
        model = bench(kjv_text, *SHORT, "--rounds", 1, "--profile", *more)["models"][0]
        for length in model["lengths"]:
            for phase in ("prefill", "decode"):
                operations = length[f"{phase}_microseconds_by_operation"]
                assert {rule, "FullyConnected"} <= set(operations) and other not in operations
                assert all(value >= 0 for value in operations.values())
        assert all("prefill_operations" not in x for process in model["processes"] for x in process["lengths"])


def test_activations_are_quantized_in_groups_of_the_weights(int4):
    """Larger ones than the plugin's own choice; with f32, or by the plugin alone, as it is."""
    group = {name: bench(int4, *SHORT, "--rounds", 1, *more)["models"][0]["dynamic_quantization_group"]
             for name, more in {"own": [], "plugin": ["--plugin-only"], "f32": ["--precision", "f32"]}.items()}  # fmt: skip
    assert group == {"own": "128", "plugin": "32", "f32": "0"}


def test_table_for_people(kjv_text, int4):
    result = run_deltavino("bench", int4, "--against", kjv_text, *SHORT, "--rounds", 1, "--profile")
    assert result.returncode == 0, result.stderr
    for words in ("processor", "weights per token", "of the bandwidth", "A: new tokens", "B, new tokens after 600: "):
        assert words in result.stdout


def test_a_directory_of_embeddings_without_what_makes_them(kjv_vlm, tmp_path):
    """As some exporters write a text model: openvino_model with inputs_embeds."""
    for suffix in ("xml", "bin"):
        shutil.copy(kjv_vlm / f"openvino_language_model.{suffix}", tmp_path / f"openvino_model.{suffix}")
    assert bench(tmp_path, *SHORT, "--rounds", 1)["models"][0]["random_embeddings"]


def test_what_cannot_be_measured_is_one_clear_line(kjv_text, tmp_path):
    refused(USAGE, "the directory must be given")
    refused(USAGE, "--prompt-tokens is '', expected", kjv_text, "--prompt-tokens", "5,,6")
    refused(USAGE, "--prompt-tokens is '0', expected", kjv_text, "--prompt-tokens", "0")
    refused(USAGE, "expected 1 to", kjv_text, "--new-tokens", 1 << 40)
    refused(USAGE, "--rounds is '0'", kjv_text, "--rounds", 0)
    refused(INPUT, f"cannot measure '{tmp_path}': it has neither", kjv_text, "--against", tmp_path)
    refused(UNSUPPORTED, "there is no device 'NONE'", kjv_text, *SHORT, "--device", "NONE")
    refused(UNSUPPORTED, "--profile with device 'GPU'", kjv_text, "--profile", "--device", "GPU")
    refused(USAGE, "precision 'f31' is not known", kjv_text, *SHORT, "--precision", "f31")


def test_an_error_of_a_process_keeps_its_kind_and_text(kjv_text, tmp_path):
    shutil.copytree(kjv_text, tmp_path / "broken")
    broken = tmp_path / "broken" / "openvino_model.xml"
    broken.write_text(broken.read_text().replace('names="beam_idx"', 'names="beam"'))
    result = run_deltavino("bench", kjv_text, "--against", tmp_path / "broken", *SHORT, "--rounds", 1)
    assert result.returncode == UNSUPPORTED and "its input 'beam' is not known" in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_a_directory_without_its_weights(kjv_text, tmp_path):
    shutil.copytree(kjv_text, tmp_path / "broken")
    (tmp_path / "broken" / "openvino_model.bin").write_bytes(b"")
    result = run_deltavino("bench", kjv_text, "--against", tmp_path / "broken", *SHORT, "--rounds", 1)
    assert result.returncode == INPUT and "openvino_model" in result.stderr and result.stderr.count("\n") == 1


def children_of(process: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if f"\nPPid:\t{process}\n" in status.read_text():
                found.append(int(status.parent.name))
        except OSError:
            pass  # it ended meanwhile
    return found


def test_ctrl_c_ends_the_measuring_process_too(kjv_text):
    running = subprocess.Popen([PROGRAM, "bench", kjv_text, "--prompt-tokens", "100000", "--rounds", "10"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (children := children_of(running.pid)):
            assert running.poll() is None, running.communicate()[1]
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == CANCELLED and errors == "error: stopped\n"
    assert not os.path.exists(f"/proc/{children[0]}")
