"""Bad input: one clear message, an exit code by kind, and nothing at the target."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from conftest import GOLDEN, KJV, ROOT
from safetensors.numpy import load_file, save_file

USAGE, INPUT, UNSUPPORTED, OUTPUT, CANCELLED = 2, 3, 4, 5, 130
TEXT = ("--task", "text-generation-with-past", "--disable-convert-tokenizer")


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A copy of a small checkpoint that a test may break."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN / "dense-vl", copy)
    return copy


def refuse(deltavino, checkpoint: Path, code: int, *words: str, options: tuple = TEXT) -> str:
    """Exports, expects failure with `code` and a text that has all `words`; returns the text."""
    out = checkpoint.parent / "out"
    before = sorted(os.listdir(checkpoint.parent))
    result = deltavino("export", "-m", checkpoint, out, *options)
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in result.stderr
    assert sorted(os.listdir(checkpoint.parent)) == before, "something was left behind"
    assert "Traceback" not in result.stderr and result.stdout == ""
    return result.stderr


def edit_config(checkpoint: Path, edit) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    edit(config)
    (checkpoint / "config.json").write_text(json.dumps(config))


def shards(checkpoint: Path) -> list[Path]:
    return sorted(checkpoint.glob("*.safetensors"), key=lambda path: path.name)


def edit_tensors(checkpoint: Path, edit) -> None:
    """Rewrites the first shard that `edit` changes (it returns True)."""
    for shard in shards(checkpoint):
        if shard.name == "expected.safetensors":
            continue
        tensors = load_bytes(shard)
        if edit(tensors):
            write_bytes(shard, tensors)
            return
    raise AssertionError("no shard was changed")


def load_bytes(path: Path) -> dict:
    """{name: (dtype, shape, bytes)} without interpreting the values, which may be bfloat16."""
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + size])
    data = raw[8 + size :]
    return {k: (v["dtype"], v["shape"], data[slice(*v["data_offsets"])]) for k, v in header.items() if k != "__metadata__"}


def write_bytes(path: Path, tensors: dict) -> None:
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_good_checkpoint_is_exported(deltavino, checkpoint):
    result = deltavino("export", "-m", checkpoint, checkpoint.parent / "out", *TEXT)
    assert result.returncode == 0, result.stderr
    assert "vision tower" in result.stderr and "multi-token prediction" in result.stderr
    config = json.loads((checkpoint.parent / "out" / "config.json").read_text())
    assert config["model_type"] == "qwen3_5_text" and config["architectures"] == ["Qwen3_5ForCausalLM"]


def test_missing_shard(deltavino, checkpoint):
    victim = [s for s in shards(checkpoint) if s.name != "expected.safetensors"][1]
    victim.unlink()
    refuse(deltavino, checkpoint, INPUT, victim.name, "incomplete download")


def test_truncated_shard(deltavino, checkpoint):
    victim = [s for s in shards(checkpoint) if s.name != "expected.safetensors"][0]
    victim.write_bytes(victim.read_bytes()[:-100])
    refuse(deltavino, checkpoint, INPUT, victim.name, "incomplete download")


@pytest.mark.parametrize(
    "junk",
    [b"", b"\x00" * 7, b"\xff" * 64, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 5) + b'{"a":', b"version https://git-lfs\n" * 4],
    ids=["empty", "short", "huge-header", "no-object", "cut-json", "lfs-pointer"],
)
def test_not_safetensors(deltavino, checkpoint, junk):
    victim = [s for s in shards(checkpoint) if s.name != "expected.safetensors"][0]
    victim.write_bytes(junk)
    refuse(deltavino, checkpoint, INPUT, victim.name)


def test_missing_and_misshapen_and_unexpected_are_all_named(deltavino, checkpoint):
    def edit(tensors):
        missing = [k for k in tensors if k.endswith("mlp.up_proj.weight")]
        wrong = [k for k in tensors if k.endswith("mlp.down_proj.weight")]
        if not missing or not wrong:
            return False
        dtype, shape, values = tensors.pop(missing[0])
        tensors[missing[0].replace("up_proj", "upp_proj")] = (dtype, shape, values)
        dtype, shape, values = tensors[wrong[0]]
        tensors[wrong[0]] = (dtype, shape[::-1], values)
        return True

    edit_tensors(checkpoint, edit)
    refuse(deltavino, checkpoint, INPUT, "up_proj.weight' [", "is missing", "has shape", "is unexpected", "3 problems")


def test_lora_leftover(deltavino, checkpoint):
    def edit(tensors):
        tensors["model.language_model.layers.0.mlp.up_proj.lora_A.weight"] = ("F32", [1], b"\0" * 4)
        return True

    edit_tensors(checkpoint, edit)
    refuse(deltavino, checkpoint, UNSUPPORTED, "LoRA")


def test_quantized_source(deltavino, checkpoint):
    def edit(tensors):
        name = next((k for k in tensors if k.endswith("mlp.up_proj.weight")), None)
        if name is None:
            return False
        dtype, shape, values = tensors[name]
        tensors[name] = ("F8_E4M3", shape, values[: len(values) // 2])
        return True

    edit_tensors(checkpoint, edit)
    refuse(deltavino, checkpoint, INPUT, "F8_E4M3", "has no scale")


@pytest.mark.parametrize("compression", [(), ("--weight-format", "int4")])
def test_nan_is_named_and_allowed_on_request(deltavino, checkpoint, compression):
    def edit(tensors):
        name = next((k for k in tensors if k.endswith("mlp.up_proj.weight")), None)
        if name is None:
            return False
        dtype, shape, values = tensors[name]
        tensors[name] = (dtype, shape, b"\xff\x7f" + values[2:] if dtype != "F32" else b"\0\0\xc0\x7f" + values[4:])
        return True

    edit_tensors(checkpoint, edit)
    options = (*TEXT, *compression)
    refuse(deltavino, checkpoint, INPUT, "up_proj.weight", "NaN", options=options)
    result = deltavino("export", "-m", checkpoint, checkpoint.parent / "out", *options, "--allow-nonfinite")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        (lambda c: c.update(model_type="qwen9_9", text_config=None), UNSUPPORTED, ["qwen9_9", "qwen3_5_moe_text"]),
        (lambda c: c["text_config"].update(linear_num_value_heads=3), INPUT, ["linear_num_value_heads", "multiple"]),
        (lambda c: c["text_config"].update(layer_types=["full_attention"]), INPUT, ["layer_types", "num_hidden_layers"]),
        (lambda c: c["text_config"].update(hidden_size="64"), INPUT, ["/text_config/hidden_size"]),
        (lambda c: c["text_config"].update(hidden_size=-1), INPUT, ["/text_config/hidden_size"]),
        (lambda c: c["text_config"].update(hidden_size=2**40), INPUT, ["/text_config/hidden_size"]),
        (lambda c: c["text_config"].pop("num_attention_heads"), INPUT, ["num_attention_heads", "missing"]),
        (lambda c: c["text_config"]["rope_parameters"].update(rope_type="longrope"), UNSUPPORTED, ["longrope"]),
        (lambda c: c["text_config"].update(hidden_act="gelu"), UNSUPPORTED, ["hidden_act"]),
        (lambda c: (c.update(tie_word_embeddings=False), c["text_config"].update(tie_word_embeddings=False)), INPUT, ["tie_word_embeddings", "lm_head.weight"]),
    ],
    ids=["model-type", "heads", "layer-types", "string", "negative", "huge", "missing", "longrope", "activation", "untied"],
)
def test_contradictory_config(deltavino, checkpoint, edit, code, words):
    edit_config(checkpoint, edit)
    refuse(deltavino, checkpoint, code, *words)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": "qwen3_5", "model_type": "qwen3_5"}', "[" * 10000])
def test_config_is_not_json(deltavino, checkpoint, text):
    (checkpoint / "config.json").write_text(text)
    refuse(deltavino, checkpoint, INPUT, "config.json")


def test_no_such_checkpoint(deltavino, tmp_path):
    (tmp_path / "x").mkdir()
    refuse(deltavino, tmp_path / "x" / "nothing", INPUT, "nothing", "no such folder")


def test_target_is_not_empty(deltavino, checkpoint):
    out = checkpoint.parent / "out"
    out.mkdir()
    (out / "openvino_model.xml").write_text("an older export")
    (out / "mine.txt").write_text("beside it")
    result = deltavino("export", "-m", checkpoint, out, *TEXT)
    assert result.returncode == OUTPUT and "--force" in result.stderr
    assert sorted(os.listdir(out)) == ["mine.txt", "openvino_model.xml"]
    result = deltavino("export", "-m", checkpoint, out, *TEXT, "--force")
    assert result.returncode == 0, result.stderr
    assert "mine.txt" not in os.listdir(out) and "openvino_model.xml" in os.listdir(out)
    assert sorted(os.listdir(checkpoint.parent)) == ["checkpoint", "out"]


def test_failed_force_keeps_the_old_output(deltavino, checkpoint):
    out = checkpoint.parent / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep me")
    edit_config(checkpoint, lambda c: c["text_config"].update(hidden_size=32))
    result = deltavino("export", "-m", checkpoint, out, *TEXT, "--force")
    assert result.returncode == INPUT and os.listdir(out) == ["mine.txt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--weight-format", "int5"], ["int5", "int4"]),
        (["--weight-format", "int4", "--group-size", "0"], ["--group-size 0"]),
        (["--weight-format", "int4", "--group-size", "7"], ["--group-size 7"]),
        (["--weight-format", "int4", "--ratio", "2"], ["--ratio is 2"]),
        (["--weight-format", "int8", "--group-size", "64"], ["--group-size is for int4"]),
        (["--weight-format", "fp16", "--sym"], ["--sym"]),
        (["--weight-format", "int4", "--keep", "nothing*=fp16"], ["nothing*", "matches no weight"]),
        (["--weight-format", "int4", "--keep", "*=int3"], ["int3"]),
        (["--weight-format", "int4", "--group-size", "128", "--group-size-fallback", "error"], ["does not divide"]),
        (["--task", "fill-mask"], ["fill-mask"]),
        (["--no-such-option"], ["--no-such-option"]),
    ],
)
def test_wrong_usage(deltavino, checkpoint, options, words):
    refuse(deltavino, checkpoint, USAGE, *words, options=("--disable-convert-tokenizer", *TEXT[:2], *options) if "--task" not in options else tuple(options))


def small_disk(tmp_path: Path, size: str) -> Path:
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    return disk


def test_full_disk(deltavino, tmp_path):
    disk = small_disk(tmp_path, "3m")
    try:
        result = deltavino("export", "-m", KJV, disk / "out", *TEXT)
        assert result.returncode == OUTPUT, result.stderr
        assert "out" in result.stderr and "needed" in result.stderr
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def big_checkpoint(path: Path) -> Path:
    """The bundled model with a sparse embedding of some gigabytes, so that the export takes a while."""
    path.mkdir()
    for file in KJV.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            shutil.copy(file, path)
    rows = 8_000_000
    edit_config(path, lambda c: c["text_config"].update(vocab_size=rows))
    tensors = load_bytes(KJV / "model.safetensors")
    name = "model.language_model.embed_tokens.weight"
    header, offset = {}, 0
    del tensors[name]
    for key, (dtype, shape, values) in tensors.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(values)]}
        offset += len(values)
    header[name] = {"dtype": "BF16", "shape": [rows, 128], "data_offsets": [offset, offset + rows * 256]}
    text = json.dumps(header).encode()
    with open(path / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(v for _, _, v in tensors.values()))
        file.truncate(8 + len(text) + offset + rows * 256)
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(tmp_path, number):
    checkpoint = big_checkpoint(tmp_path / "checkpoint")
    program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
    process = subprocess.Popen([program, "export", "-m", str(checkpoint), str(tmp_path / "out"), *TEXT, "--weight-format", "fp32"], stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 20
    while not list(tmp_path.glob(".out.deltavino-*/new/openvino_model.bin")) and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == CANCELLED, error
    assert "stopped" in error
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_leftovers_of_a_killed_run_are_removed(deltavino, checkpoint):
    leftover = checkpoint.parent / ".out.deltavino-export"
    (leftover / "new").mkdir(parents=True)
    (leftover / "new" / "openvino_model.bin").write_bytes(b"half")
    (leftover / "lock").touch()
    result = deltavino("export", "-m", checkpoint, checkpoint.parent / "out", *TEXT)
    assert result.returncode == 0, result.stderr
    assert not leftover.exists()


def test_prefixes_of_other_trainers(deltavino, checkpoint, tmp_path):
    """The same tensors under other prefixes give the same weights."""
    digests = set()
    for name, rename in {
        "published": lambda k: k,
        "text": lambda k: k.replace("model.language_model.", "model."),
        "reversed": lambda k: k.replace("model.language_model.", "language_model.model."),
        "bare": lambda k: k.replace("model.language_model.", ""),
    }.items():
        copy = tmp_path / name
        copy.mkdir()
        shutil.copy(checkpoint / "config.json", copy)
        tensors = {}
        for shard in shards(checkpoint):
            if shard.name != "expected.safetensors":
                tensors.update({rename(k): v for k, v in load_bytes(shard).items()})
        write_bytes(copy / "model.safetensors", tensors)
        out = tmp_path / f"out-{name}"
        result = deltavino("export", "-m", copy, out, *TEXT)
        assert result.returncode == 0, result.stderr
        digests.add((out / "openvino_model.bin").read_bytes())
    assert len(digests) == 1


def test_inspect_checkpoint(deltavino):
    facts = json.loads(deltavino("inspect", KJV, "--json").stdout)
    assert facts["geometry"]["hidden_size"] == 128
    assert facts["geometry"]["linear_attention_layers"] == 6
    assert facts["types"]["BF16"]["bytes"] == facts["bytes"]
    assert facts["states"]["bytes_per_token"] == 2 * 2 * 2 * 64 * 4


def test_inspect_counts_the_memory_of_a_device(deltavino, kjv_text):
    """The widths of the bundled model: 2 layers of keys and values with 2 heads of 64, weights in bf16."""
    for path in (KJV, kjv_text):
        memory = json.loads(deltavino("inspect", path, "--device", "GPU", "--json").stdout)["memory"]
        config = json.loads((KJV / "config.json").read_text())["text_config"]
        layers = config["num_hidden_layers"] // config["full_attention_interval"]
        per_token = 2 * layers * config["num_key_value_heads"] * config["head_dim"]
        context = memory["contexts"][0]
        assert context["f16"] == 2 * per_token * context["tokens"]
        scales = 4 * 2 * layers * config["num_key_value_heads"]
        assert context["u8"] == (per_token + scales) * context["tokens"]
        assert memory["buffer_limit"] == 4 << 30
        on_cpu = json.loads(deltavino("inspect", path, "--device", "CPU", "--json").stdout)["memory"]
        assert on_cpu["fixed_states"] == 2 * memory["fixed_states"] > 0
        assert on_cpu["weights"] > 1.5 * memory["weights"]
    result = deltavino("inspect", KJV, "--device", "NPU")
    assert (result.returncode, result.stdout) == (2, "")
    assert "--device is 'NPU', expected CPU or GPU" in result.stderr
    assert "largest buffer: 67.1 MB, keys of a layer at 262144 tokens" in deltavino("inspect", KJV, "--device", "GPU").stdout


def test_inspect_exported(deltavino, kjv_text):
    result = deltavino("inspect", kjv_text, "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    model = facts["models"]["openvino_model"]
    assert model["states"] == {"bytes_per_token": 2048, "bytes_fixed": 6 * 4 * (8 * 32 * 32 + 512 * 4), "variables": 16}
    assert facts["missing"] == []


@pytest.mark.parametrize("name", ["openvino_tokenizer.xml", "openvino_detokenizer.bin", "openvino_model.bin", "config.json"])
def test_inspect_names_a_missing_file(deltavino, kjv_text, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(kjv_text, copy)
    (copy / name).unlink()
    result = deltavino("inspect", copy)
    assert result.returncode == INPUT
    assert name in result.stdout + result.stderr


def test_unused_golden_helpers_read_the_same_tensors(tmp_path):
    """The byte reader of this file agrees with the safetensors library."""
    path = tmp_path / "x.safetensors"
    expected = load_file(GOLDEN / "dense-v1" / "model.safetensors")
    save_file(expected, path)
    ours = load_bytes(path)
    assert {k: v.tobytes() for k, v in expected.items()} == {k: v[2] for k, v in ours.items()}


def test_force_never_replaces_the_checkpoint(deltavino, checkpoint):
    before = sorted(os.listdir(checkpoint))
    for target in (checkpoint, checkpoint.parent, checkpoint / "..", checkpoint / "."):
        result = deltavino("export", "-m", checkpoint, target, *TEXT, "--force")
        assert result.returncode == OUTPUT, result.stderr
        assert "lies in it" in result.stderr
        assert sorted(os.listdir(checkpoint)) == before
        assert os.listdir(checkpoint.parent) == ["checkpoint"]


def test_force_never_replaces_the_current_folder(deltavino, checkpoint, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "mine.txt").write_text("keep me")
    result = deltavino("export", "-m", checkpoint, ".", *TEXT, "--force", cwd=work)
    assert result.returncode == OUTPUT and "the current folder" in result.stderr
    assert os.listdir(work) == ["mine.txt"]


def test_report_without_a_folder_is_refused_before_the_work(deltavino, checkpoint):
    refuse(deltavino, checkpoint, OUTPUT, "nowhere", options=(*TEXT, "--report", str(checkpoint.parent / "nowhere" / "report.json")))


COMMANDS = ("export", "generate", "inspect", "eval", "bench")


def test_alone_it_prints_the_help(deltavino):
    alone = deltavino()
    assert alone.returncode == 0 and alone.stderr == ""
    assert alone.stdout == deltavino("--help").stdout == deltavino("help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in alone.stdout and f"deltavino {command} " in alone.stdout
    assert "Exit codes: 0 done" in alone.stdout


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [50, 80, 200])
def test_help_of_a_command(deltavino, command, columns):
    result = deltavino(command, "--help", env={**os.environ, "COLUMNS": str(columns)})
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout == deltavino("help", command, env={**os.environ, "COLUMNS": str(columns)}).stdout
    options, examples = result.stdout.split("\nExamples:\n")
    assert all(line.startswith(f"  deltavino {command} ") for line in examples.splitlines())
    assert max(len(line) for line in options.splitlines()) <= columns
    if columns == 200 and command != "inspect":
        assert max(len(line) for line in options.splitlines()) > 80
    for word in ("{false}", "{true}", "TEXT:", "REQUIRED", " :"):
        assert word not in options
    assert "-m, --model DIR" in options


def test_wrong_words_are_named_in_order(deltavino):
    result = deltavino("exprot", "-m", "x")
    assert result.returncode == USAGE and "'exprot' is not a command of deltavino; did you mean 'export'?" in result.stderr
    result = deltavino("--modle", "x")
    assert result.returncode == USAGE and "'--modle' is not an option before the command" in result.stderr
    result = deltavino("export", "--weigth-format", "int4", "--zzz", "--modle", "x", "--ratio", "half", "--group-size", "many", "out")
    assert result.returncode == USAGE
    wrong = ["'--weigth-format' is not an option of export; did you mean '--weight-format'?", "'--zzz' is not an option of export\n", "'--modle' is not an option of export; did you mean '--model'?", "--ratio is 'half', expected a number", "--group-size is 'many', expected a whole number"]
    places = [result.stderr.find(text) for text in wrong]
    assert -1 not in places and places == sorted(places), result.stderr
    assert "run `deltavino export --help`" in result.stderr
    result = deltavino("inspect", "a", "b")
    assert result.returncode == USAGE and "'b' is one argument too many" in result.stderr
    result = deltavino("export", "-m")
    assert result.returncode == USAGE and "--model needs a value" in result.stderr


@pytest.mark.parametrize(("arguments", "words"), [(["export"], ["the checkpoint (-m DIR) and the directory to write"]), (["inspect"], ["the directory must be given"]), (["eval", "--text", "x"], ["a model directory must be given"]), (["eval", "x"], ["--text FILE"])])
def test_what_is_missing_is_named(deltavino, arguments, words):
    result = deltavino(*arguments)
    assert result.returncode == USAGE
    assert all(word in result.stderr for word in words), result.stderr


def test_the_model_may_be_named(deltavino, kjv_text):
    assert deltavino("inspect", "-m", kjv_text).stdout == deltavino("inspect", kjv_text).stdout
    named = deltavino("eval", "-m", kjv_text, "--model", kjv_text, "--text", KJV / "held_out.txt", "--windows", 1, "--json")
    assert named.returncode == 0, named.stderr
    assert len(json.loads(named.stdout)["models"]) == 2


def test_json_with_a_name_that_is_not_utf8(deltavino, kjv_text, tmp_path):
    name = (os.fsencode(tmp_path) + b"/caf\xe9").decode("utf-8", "surrogateescape")
    shutil.copytree(kjv_text, name)
    result = deltavino("eval", name, "--text", KJV / "held_out.txt", "--windows", 1, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["models"][0]["model"].endswith("caf\ufffd")


def test_flags_of_optimum_that_change_nothing(deltavino, checkpoint):
    options = ("--framework", "pt", "--library", "transformers", "--trust-remote-code", "--pad-token-id", "0", "--model-kwargs", "{}")
    result = deltavino("export", "-m", checkpoint, checkpoint.parent / "out", *TEXT, *options)
    assert result.returncode == 0, result.stderr
    for option in options:
        if option.startswith("--"):
            assert f"note: {option} changes nothing here" in result.stderr


def test_flags_of_optimum_that_are_refused(deltavino, checkpoint):
    options = ("--dataset", "wikitext2", "--awq", "--scale-estimation", "--gptq", "--lora-correction", "--sensitivity-metric", "hessian_input_activation", "--num-samples", "8", "--quantization-statistics-path", "x", "--quant-mode", "int8", "--smooth-quant-alpha", "0.5", "--disable-stateful", "--variant", "fp16", "--framework", "tf", "--library", "diffusers")
    error = refuse(deltavino, checkpoint, UNSUPPORTED, options=(*TEXT, *options))
    for option in options:
        if option.startswith("--"):
            assert f"  - {option} " in error, option


def test_what_cannot_be_written_is_an_error(deltavino, kjv_text):
    program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
    for arguments in (["--help"], ["--version"], ["inspect", str(kjv_text)], ["inspect", str(kjv_text), "--json"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([program, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert result.returncode == OUTPUT, arguments
        assert result.stderr == "error: cannot write to standard output: No space left on device\n"
