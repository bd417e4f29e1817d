"""What .ci/run makes of gates that pass, fail or cannot run. The gates themselves are stubs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
GATES = ["format", "test", "docs", "parity", "packages", "fresh", "tidy", "clang", "assertions", "sanitize"]


@pytest.fixture
def ci(tmp_path):
    """Runs .ci/run in a repository whose Makefile has these recipes; the others pass."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=test", "-c", "user.email=test@localhost"]

    def run(*gates: str, changed: str = "docs/some.md", **recipes: str) -> tuple[int, dict[str, tuple[str, str]]]:
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
        targets = {gate: "@echo fine" for gate in GATES} | recipes
        (tmp_path / "Makefile").write_text("".join(f"{name}:\n\t{recipe}\n" for name, recipe in targets.items()))
        subprocess.run([*git, "init", "-q"], check=True)
        for commit in range(2):
            path = tmp_path / (changed if commit == 1 else "number.txt")
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(commit))
            subprocess.run([*git, "add", "-A"], check=True)
            subprocess.run([*git, "commit", "-qm", str(commit)], check=True)
        done = subprocess.run(
            ["bash", ".ci/run", *gates],
            cwd=tmp_path,
            env={**os.environ, "CI": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        table = done.stdout[done.stdout.rindex("\ngate ") :].splitlines()[2:]
        rows = {}
        for line in table:
            rows[line[:12].strip()] = (line[13:21].strip(), line[32:].strip())
        return done.returncode, rows

    return run


def test_all_pass(ci):
    code, rows = ci()
    assert code == 0
    assert {name: result for name, (result, _) in rows.items()} == {gate: "passed" for gate in GATES}
    assert list(rows)[:5] == ["format", "test", "docs", "parity", "fresh"]


def test_a_failure_fails_the_run_and_the_others_still_run(ci):
    code, rows = ci(test="@exit 1")
    assert code == 1
    assert rows["test"][0] == "failed"
    assert rows["sanitize"][0] == "passed"


def test_an_unreachable_mirror_is_neither_passed_nor_failed(ci):
    code, rows = ci(fresh="@echo 'fresh: NOT RUN: the mirror cannot be reached'; exit 75")
    assert code == 0
    assert rows["fresh"] == ("NOT RUN", "fresh: NOT RUN: the mirror cannot be reached")


def test_tools_that_cannot_be_fetched_are_neither_passed_nor_failed(ci):
    words = "E: Failed to fetch a.deb  Could not resolve 'mirror'"
    code, rows = ci(clang=f'@echo "{words}"; echo "setup: apt-get failed, see above"; exit 1')
    assert code == 0
    assert rows["clang"][0] == "NOT RUN"


@pytest.mark.parametrize("words", ["setup: pip failed; see above", "Could not resolve 'mirror'"])
def test_half_of_these_words_is_a_failure(ci, words):
    code, rows = ci(parity=f'@echo "{words}"; exit 1')
    assert code == 1
    assert rows["parity"][0] == "failed"


def test_what_a_gate_leaves_out_is_in_the_table(ci):
    code, rows = ci(sanitize="@echo 'NOT RUN: numeric tests (a reason)'")
    assert code == 0
    assert rows["sanitize"] == ("passed", "NOT RUN: numeric tests (a reason)")


def test_targets_that_exist_are_gates(ci):
    code, rows = ci(gpu="@echo fine", fuzz="@exit 1")
    assert code == 0  # fuzz is shown, and does not decide
    assert (rows["gpu"][0], rows["fuzz"][0]) == ("passed", "failed")


def test_a_gate_that_takes_turns_decides(ci):
    code, rows = ci(gpu="@exit 1")
    assert code == 1 and rows["gpu"][0] == "failed"


@pytest.mark.parametrize("changed, tried", [("requirements.txt", True), ("cmake/x.cmake", True), ("src/x.cpp", False)])
def test_debian_13_is_tried_when_the_setup_changes(ci, changed, tried):
    _, rows = ci("fresh", "fresh-13", changed=changed)
    assert ("fresh-13" in rows) == tried


def test_some_gates(ci):
    code, rows = ci("tidy", "format", test="@exit 1")
    assert code == 0
    assert list(rows) == ["format", "tidy"]


def test_an_unknown_gate_fails(ci):
    assert ci("tidiness")[0] == 1
