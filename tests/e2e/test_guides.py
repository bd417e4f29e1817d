"""The commands that documents show after a `$` run as they stand, in their order, in one folder."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

PROGRAM = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))


def commands(document: str) -> list[str]:
    """Lines of code blocks that begin with `$ build/deltavino`, without comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line[2:].split("  #")[0] for line in lines if line.startswith("$ build/deltavino ")]


@pytest.mark.parametrize("document", ["README.md"])
def test_commands_of_documents(tmp_path: Path, document: str) -> None:
    found = commands(document)
    assert len(found) >= 5
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    outputs = []
    for command in found:
        words = shlex.split(command)
        done = subprocess.run([PROGRAM, *words[1:]], cwd=tmp_path, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        outputs.append(done.stdout)
    assert any("A red circle on a blue ground." in output for output in outputs)
