"""The completion scripts and the manual page, read by the programs that they are for."""

import os
import re
import subprocess

import pytest
from conftest import ROOT

PROGRAM = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))


def printed(*words: str) -> str:
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_take_their_scripts(tmp_path, shell: str) -> None:
    script = tmp_path / "script"
    script.write_text(printed("completion", shell))
    subprocess.run([shell, "-n", script], check=True)
    script.write_text(script.read_text() + "\nif then fi )\n")
    assert subprocess.run([shell, "-n", script], capture_output=True).returncode != 0


def test_fish_offers_values(tmp_path) -> None:
    script = tmp_path / "script"
    script.write_text(printed("completion", "fish"))
    offered = subprocess.run(
        ["fish", "-c", f"source {script}; complete -C 'deltavino export --weight-format in'"],
        capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(tmp_path)})  # fmt: skip
    assert [line.split("\t")[0] for line in offered.stdout.splitlines()] == ["int4", "int8"]


def test_zsh_completes_commands(tmp_path) -> None:
    """The function is defined and knows the words of each command."""
    script = tmp_path / "script"
    script.write_text(printed("completion", "zsh"))
    done = subprocess.run(["zsh", "-fc", f"autoload -U compinit; compinit -u -D; source {script}; "
                           "print ${_comps[deltavino]}; functions _deltavino | grep -c weight-format"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert done.stdout.split()[0] == "_deltavino" and int(done.stdout.split()[1]) >= 1


def test_manual_page_is_troff() -> None:
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww"], input=printed("help", "--man"), capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert not done.stderr
    text = re.sub(".\b", "", done.stdout)  # bold, as printers made it
    assert "--weight-format" in text and "EXIT STATUS" in text
