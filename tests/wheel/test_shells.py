"""The completion scripts and the manual page, read by the programs that they are for."""

import os
import pty
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


@pytest.mark.parametrize(("line", "words"), [
    ("export --weight-format in", ["int4", "int8"]),
    ("cache ", ["clear", "list"]),
    ("help ex", ["export"]),
    ("completion ", ["bash", "fish", "zsh"]),
])
def test_fish_offers_words(tmp_path, line: str, words: list[str]) -> None:
    script = tmp_path / "script"
    script.write_text(printed("completion", "fish"))
    (tmp_path / "examples").mkdir()  # no answer to `help ex`
    offered = subprocess.run(["fish", "-c", f"source {script}; complete -C 'deltavino {line}'"], cwd=tmp_path,
                             capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(tmp_path)})
    assert [line.split("\t")[0] for line in offered.stdout.splitlines()] == words


def test_fish_describes_what_it_offers(tmp_path) -> None:
    script = tmp_path / "script"
    script.write_text(printed("completion", "fish"))
    offered = subprocess.run(["fish", "-c", f"source {script}; complete -C 'deltavino export --recip'"],
                             capture_output=True, text=True, check=True, env={**os.environ, "HOME": str(tmp_path)})
    assert offered.stdout == "--recipe\tint4 - what is stored how\n"


@pytest.mark.parametrize(("typed", "line"), [
    ("deltavino expo", "deltavino export "),
    ("deltavino export --weight-form", "deltavino export --weight-format "),
    ("deltavino export --weight-format mx", "deltavino export --weight-format mxfp4 "),
    ("deltavino cache cl", "deltavino cache clear "),
    ("deltavino generate fold", "deltavino generate folder/"),
    ("deltavino help exp", "deltavino help export "),
    ("deltavino completion z", "deltavino completion zsh "),
])
def test_zsh_completes_what_is_typed(tmp_path, typed: str, line: str) -> None:
    """In a terminal, by the key Tab; Ctrl-X prints the line as it then is."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "script").write_text(printed("completion", "zsh"))
    (tmp_path / ".zshrc").write_text("""
        autoload -U compinit; compinit -u -D; source ~/script
        show() { print -r -- "<$BUFFER>" >~/line; exit }
        zle -N show; bindkey '^I' complete-word '^X' show
        touch ~/ready
    """)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-i"], {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TERM": "dumb"})
    typing = f"{typed}\t\x18".encode()
    seen = b""
    try:
        while True:
            seen += os.read(terminal, 4096)
            if typing and (tmp_path / "ready").exists():
                os.write(terminal, typing)
                typing = b""
    except OSError:  # the shell has ended
        os.waitpid(child, 0)
    os.close(terminal)
    assert (tmp_path / "line").read_text() == f"<{line}>\n", seen


def test_manual_page_is_troff() -> None:
    done = subprocess.run(["groff", "-man", "-Tascii", "-ww"], input=printed("help", "--man"), capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert not done.stderr
    text = re.sub(".\b", "", done.stdout)  # bold, as printers made it
    assert "--weight-format" in text and "EXIT STATUS" in text
