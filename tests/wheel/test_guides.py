"""What the documents show for Python runs, in their order, as one program a document."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from environment import PLAIN, installed, wheel  # noqa: F401  (fixtures)


@pytest.mark.parametrize("document", ["docs/python.md", "README.md"])
def test_python_of_documents(installed, tmp_path: Path, document: str) -> None:  # noqa: F811
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(block for block in blocks if "import openvino_genai" not in block)  # tests/e2e runs it
    assert "deltavino.export(" in code
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    done = subprocess.run([installed.python, "-c", code], cwd=tmp_path, env=PLAIN, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if document == "README.md":
        assert "red circle" in done.stdout
    else:
        assert "3 cannot" in done.stdout and "True the export is right" in done.stdout
