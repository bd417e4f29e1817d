"""Completion scripts, the manual page, versions as JSON, and what --quiet leaves."""

import json
import os
import pty
import re
import subprocess

import pytest
from conftest import KJV

USAGE = 2
COMMANDS = ["export", "generate", "inspect", "eval", "check", "bench"]


def completed(deltavino, *words: str) -> list[str]:
    """What bash offers for the last word."""
    script = deltavino("completion", "bash").stdout
    line = " ".join(f"'{word}'" for word in words)
    script += f"""
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
        _deltavino deltavino; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert not done.stderr
    return done.stdout.split()


def options_of(deltavino, command: str) -> set[str]:
    found = re.findall(r"^ +((?:-\w, )?--[\w-]+(?:, --[\w-]+)*)", deltavino(command, "--help").stdout, re.MULTILINE)
    return {name for names in found for name in names.split(", ")}


def test_bash_offers_commands_options_and_values(deltavino, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    assert set(COMMANDS) <= set(completed(deltavino, "deltavino", ""))
    assert completed(deltavino, "deltavino", "exp") == ["export"]
    for command in COMMANDS:
        offered = set(completed(deltavino, "deltavino", command, "-"))
        assert options_of(deltavino, command) - {"--json-errors"} <= offered
    assert completed(deltavino, "deltavino", "export", "--weight-format", "int") == ["int8", "int4"]
    assert completed(deltavino, "deltavino", "export", "-m", f"{tmp_path}/") == [f"{tmp_path}/folder"]
    assert sorted(completed(deltavino, "deltavino", "export", "--report", f"{tmp_path}/")) == [
        f"{tmp_path}/file", f"{tmp_path}/folder"]
    assert completed(deltavino, "deltavino", "completion", "z") == ["zsh"]
    assert completed(deltavino, "deltavino", "cache", "") == ["list", "clear"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_every_option(deltavino, shell):
    script = deltavino("completion", shell)
    assert script.returncode == 0
    for command in COMMANDS:
        assert command in script.stdout
        for name in options_of(deltavino, command) - {"--json-errors"}:
            wanted = name if shell == "zsh" else f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            assert wanted in script.stdout, name


def test_unknown_shell(deltavino):
    for words in [("completion",), ("completion", "tcsh")]:
        result = deltavino(*words)
        assert result.returncode == USAGE and "bash, zsh or fish" in result.stderr


def test_manual_page_says_what_help_says(deltavino):
    page = deltavino("help", "--man").stdout
    assert page.startswith(".TH DELTAVINO 1 ")
    text = page.replace("\\-", "-").replace("\\e", "\\").replace("\\&", "")
    for command in COMMANDS:
        flat = " ".join(deltavino(command, "--help").stdout.split())
        for name in options_of(deltavino, command) - {"--json-errors"}:
            assert name in text
        for entry in re.findall(r"^\.TP\n\.B .*\n(.*)$", text.split(f"\n.SS deltavino {command}\n")[1].split("\n.S")[0],
                                re.MULTILINE):
            assert entry in flat


def test_versions_as_json(deltavino):
    found = json.loads(deltavino("--version", "--json").stdout)
    assert set(found) == {"deltavino", "openvino"}
    assert f"deltavino {found['deltavino']} (OpenVINO {found['openvino']})" == deltavino("--version").stdout.strip()


def test_quiet(deltavino, tmp_path):
    options = ("export", "-m", KJV, tmp_path / "out", "--task", "text-generation-with-past")
    assert "note: " in deltavino(*options).stderr
    assert deltavino(*options, "--force", "--quiet").stderr == ""
    ask = ("generate", tmp_path / "out", "--raw", "--prompt", "And the LORD", "--max-new-tokens", "3")
    loud = deltavino(*ask)
    silent = deltavino(*ask, "-q")
    assert silent.stdout == loud.stdout and loud.stderr and silent.stderr == ""
    assert deltavino("export", "-q").stderr.startswith("error: ")


@pytest.mark.parametrize("quiet", [False, True])
def test_no_colours_on_a_terminal(tmp_path, quiet):
    """NO_COLOR has nothing to turn off; --quiet writes no control sequence at all."""
    program = os.environ.get("DELTAVINO", "build/deltavino")
    controller, terminal = pty.openpty()
    with subprocess.Popen([program, "export", "-m", KJV, tmp_path / "out", *(["-q"] if quiet else [])],
                          stdout=terminal, stderr=terminal, env={**os.environ, "NO_COLOR": "1"}) as process:
        os.close(terminal)
        written = b""
        try:
            while part := os.read(controller, 65536):
                written += part
        except OSError:
            pass
        assert process.wait() == 0
    os.close(controller)
    assert not re.search(rb"\x1b\[[0-9;]*m", written)
    assert (b"\x1b" in written) != quiet
