"""`--json-errors`: one JSON object on standard error for an error of every kind, from every command."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from faults import PROGRAM, inject
from hub_support import hub  # noqa: F401
from test_cli import edit_tensors

COMMANDS = ("export", "generate", "inspect", "eval", "check", "bench", "cache")
KINDS = {"usage": 2, "input": 3, "unsupported": 4, "output": 5, "network": 6, "internal": 70, "cancelled": 130}


def error_of(errors: str) -> dict:
    """The object of the only line that is one; nothing is told the other way."""
    found = [line for line in errors.splitlines() if line.startswith("{")]
    assert len(found) == 1 and "error: " not in errors.replace(found[0], ""), errors
    assert list(json.loads(found[0])) == ["error"]
    error = json.loads(found[0])["error"]
    assert list(error)[:3] == ["kind", "exit_code", "message"]
    assert set(error) <= {"kind", "exit_code", "message", "object", "expected", "found", "hint", "problems"}
    assert all(value for value in error.values())
    assert KINDS[error["kind"]] == error["exit_code"]
    return error


def refused(kind: str, *arguments: object, **options: object) -> dict:
    plain = run_deltavino(*arguments, **options)
    told = run_deltavino(*arguments, "--json-errors", **options)
    error = error_of(told.stderr)
    assert (error["kind"], told.returncode, plain.returncode) == (kind, KINDS[kind], KINDS[kind]), told.stderr
    assert f"error: {error['message']}\n" in plain.stderr  # the same error
    assert told.stdout == plain.stdout == ""
    return error


# Messages of every kind that a file or an option can cause: what is done to a copy of the bundled checkpoint, the
# command, and the parts. {C} is the copy, {O} a folder that is not there.


def config(**values: object):
    """Changes the config of the text model, and the model type of both."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / "config.json").read_text())
        for key, value in values.items():
            for place in (whole, whole["text_config"]) if key == "model_type" else (whole["text_config"],):
                place[key] = value
        (folder / "config.json").write_text(json.dumps(whole))

    return change


def tensor(name: str, **values: object):
    """Changes what the header says of a tensor; without values it is removed."""

    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        data = file.read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:begin])
        header[name] |= values
        if not values:  # the others lie where they lay: the bytes are given to one that nobody asks for
            header["unused"] = header.pop(name)
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[begin:])

    return change


def text(name: str, content: str):
    return lambda folder: (folder / name).write_text(content)


def gone(name: str):
    return lambda folder: (folder / name).unlink()


EXPORT = ("export", "-m", "{C}", "{O}")
NORM = "model.language_model.norm.weight"
PARTS = [
    ("no-folder", None, ("export", "-m", "{O}", "{O}2"), {"object": "{O}"}),
    ("no-config", gone("config.json"), EXPORT, {"object": "{C}"}),
    ("not-json", text("config.json", "{"), EXPORT, {"object": "{C}/config.json"}),
    ("list", text("config.json", "[]"), EXPORT, {"object": "{C}/config.json", "expected": "a JSON object"}),
    ("type", config(model_type="nonsense"), EXPORT, {"object": "{C}/config.json"}),
    ("activation", config(hidden_act="relu"), EXPORT, {"object": "relu", "expected": "silu", "found": "relu"}),
    ("negative", config(num_hidden_layers=-1), EXPORT, {"object": "{C}/config.json"}),
    ("text", config(num_hidden_layers="8"), EXPORT, {"object": "{C}/config.json"}),
    ("layers", config(layer_types=["x"] * 8), EXPORT, {"expected": '"linear_attention" or "full_attention"'}),
    ("shape", config(hidden_size=64), EXPORT, {"object": "{C}/config.json", "expected": "the hidden_size 64 of the text model", "found": "128"}),
    ("lacks", tensor(NORM), EXPORT, {"object": "{C}"}),
    ("dtype", tensor(NORM, dtype="I16"), EXPORT, {"object": "{C}"}),
    ("offsets", tensor(NORM, data_offsets=[1, 2, 3]), EXPORT, {"expected": "two numbers", "found": "[1,2,3]"}),
    ("dims", tensor(NORM, shape="x"), EXPORT, {"expected": "a list"}),
    ("header", text("model.safetensors", "12"), EXPORT, {"object": "{C}"}),
    ("tokenizer", text("tokenizer.json", "{"), EXPORT, {"object": "{C}/tokenizer.json"}),
    ("template", text("chat_template.jinja", "{% if %}"), ("generate", "{C}", "--prompt", "x"), {}),
    ("format", None, (*EXPORT, "--weight-format", "int5"), {"object": "int5", "expected": "fp32, fp16, bf16, int8, int4, nf4 or mxfp4"}),
    ("group", None, (*EXPORT, "--weight-format", "int4", "--group-size", "7"), {"object": "--group-size"}),
    ("ratio", None, (*EXPORT, "--weight-format", "int4", "--ratio", "2"), {"object": "--ratio", "expected": "0 to 1", "found": "2"}),
    ("task", None, (*EXPORT, "--task", "x"), {"object": "x"}),
    ("device", None, ("inspect", "{C}", "--device", "X"), {"object": "--device", "expected": "CPU or GPU", "found": "X"}),
    ("temperature", None, ("generate", "{C}", "--prompt", "x", "--temperature", "-1"), {"expected": "0 (the most likely token) or more", "found": "-1"}),
    ("picture", None, ("generate", "{C}", "--prompt", "x", "--image", "{O}"), {"object": "{O}"}),
    ("no-text", None, ("eval", "{C}", "--text", "{O}"), {"object": "{O}"}),
    ("no-key", None, ("cache", "clear", "nothing"), {"object": "nothing"}),
    ("in-the-way", None, ("export", "-m", "{C}", "{C}/config.json"), {"object": "{C}/config.json"}),
    ("not-empty", None, ("export", "-m", "{C}", "{C}"), {"object": "{C}"}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "arguments", "parts"), [row[1:] for row in PARTS], ids=[row[0] for row in PARTS])
def test_parts(change, arguments, parts, tmp_path):
    """The folders have names that look like parts of a message."""
    odd = tmp_path / "it's; expected 1, found 2"
    checkpoint = Path(shutil.copytree(KJV, odd / "kjv"))
    if change:
        change(checkpoint)

    def filled(word: str) -> str:
        return word.replace("{C}", str(checkpoint)).replace("{O}", str(odd / "out"))

    run = run_deltavino(*map(filled, arguments), "--json-errors")
    error = error_of(run.stderr)
    assert run.returncode == error["exit_code"] and error["kind"] in ("usage", "input", "unsupported", "output")
    assert {name: error.get(name) for name in parts} == {name: filled(value) for name, value in parts.items()}, error
    for name in ("object", "expected", "found", "hint"):
        part = error.get(name, "-")
        assert part in error["message"] or part == "-"
        assert part == part.strip() and not part.endswith((",", ";", ":")), (name, part)
    assert any(error.get(name) for name in ("object", "expected", "hint"))
    # What the user's words hold is not taken for a part.
    assert "1, found 2" not in error.get("expected", "") and not error.get("found", "").startswith("2/")
    assert not error.get("hint", "").startswith("expected 1")


@pytest.mark.parametrize("command", COMMANDS)
def test_usage(command):
    error = refused("usage", command, "--nonsense")
    assert error["object"] == "--nonsense" and f"deltavino {command} --help" in error["message"]
    error = refused("usage", command, "--nonsense", "--madness")
    assert [problem.split("'")[1] for problem in error["problems"]] == ["--nonsense", "--madness"]
    assert "--json-errors" in run_deltavino(command, "--help").stdout


def test_values():
    error = refused("usage", "generate", KJV, "--top-k", "x")
    assert error == {
        "kind": "usage",
        "exit_code": 2,
        "message": "--top-k is 'x', expected a whole number of 0 or more\nrun `deltavino generate --help` for the options",
        "object": "--top-k",
        "expected": "a whole number of 0 or more",
        "found": "x",
        "hint": "run `deltavino generate --help` for the options",
    }


def test_anywhere_on_the_command_line():
    for arguments in (("--json-errors", "nonsense"), ("nonsense", "--json-errors"), ("--json-errors", "--nonsense")):
        assert error_of(run_deltavino(*arguments).stderr)["kind"] == "usage"
    assert "--json-errors" in run_deltavino("--json-errors").stdout  # help, as without it
    # Behind '--' words are not options.
    result = run_deltavino("inspect", "--", "--json-errors")
    assert result.returncode == 2 and result.stderr.startswith("error: ")
    assert "did you mean '--json-errors'" in run_deltavino("inspect", "--json-error").stderr


def test_input(tmp_path):
    error = refused("input", "inspect", tmp_path / "nothing")
    assert error["object"] == str(tmp_path / "nothing")
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN / "dense-vl", checkpoint)

    def drop(tensors: dict) -> bool:
        gone = [name for name in tensors if "layers" in name][:14]
        for name in gone:
            del tensors[name]
        return len(gone) == 14

    edit_tensors(checkpoint, drop)
    error = refused("input", "export", "-m", checkpoint, tmp_path / "out")
    assert len(error["problems"]) >= 14 and "more" in error["message"].splitlines()[-1]
    assert all("\n" not in problem for problem in error["problems"])
    nothing = tmp_path / "nothing"
    refused("input", "generate", nothing, "--prompt", "x")
    refused("input", "eval", nothing, "--text", KJV / "held_out.txt")
    refused("input", "bench", nothing)
    refused("input", "check", nothing)


def test_unsupported(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    error = refused("unsupported", "export", "-m", tmp_path, tmp_path / "out")
    assert "GGUF" in error["message"] and error["hint"].startswith("use the original checkpoint")


def test_output(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("x")
    error = refused("output", "export", "-m", KJV, tmp_path / "out")
    assert error["object"] == str(tmp_path / "out") and error["hint"]
    (tmp_path / "cache").write_text("x")
    environment = {**os.environ, "DELTAVINO_CACHE": str(tmp_path / "cache")}
    error = refused("output", "generate", KJV, "--prompt", "x", env=environment)
    assert "deltavino cache clear" in error["hint"]


def test_standard_output_that_takes_nothing():
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [PROGRAM, "inspect", str(KJV), "--json-errors"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 5 and error_of(result.stderr)["kind"] == "output"


def test_network(hub):  # noqa: F811
    error = refused("network", "inspect", "acme/nothing", env=hub.environment)
    assert error["object"] == "acme/nothing"


def test_cancelled(tmp_path):
    command = [PROGRAM, "export", "-m", str(GOLDEN / "dense-v1"), str(tmp_path / "out"), "--disable-convert-tokenizer"]
    run = subprocess.Popen(
        [*command, "--task", "text-generation-with-past", "--threads", "1", "--json-errors"],
        env=inject(20, "stop", "pwrite"),
        stderr=subprocess.PIPE,
        text=True,
    )
    os.waitpid(run.pid, os.WUNTRACED)
    for number in (signal.SIGINT, signal.SIGCONT):
        run.send_signal(number)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130 and error_of(errors)["kind"] == "cancelled"


def test_questions_of_a_chat(kjv_text, tmp_path):
    arguments = ("generate", kjv_text, "--chat", "--json-errors", "--max-new-tokens", "1")
    result = run_deltavino(*arguments, input="/nonsense\n/image nothing.png\nWhat?\n")
    lines = [json.loads(line)["error"] for line in result.stderr.splitlines() if line.startswith("{")]
    assert [error["kind"] for error in lines][0] == "usage" and len(lines) == 2, result.stderr
    assert lines[0]["object"] == "/nonsense" and "error: " not in result.stderr
    assert result.returncode == lines[-1]["exit_code"]


def test_text_that_is_not_utf8():
    result = subprocess.run([PROGRAM, "inspect", b"/nothing\xff\n\"'", "--json-errors"], capture_output=True, check=False)
    assert result.returncode == 3
    error = error_of(result.stderr.decode())
    assert "�" in error["message"] or "?" in error["message"]


def test_the_document_names_every_kind():
    text = (ROOT / "docs" / "errors.md").read_text()
    for kind, code in KINDS.items():
        assert f"| {code} | `{kind}` |" in text
