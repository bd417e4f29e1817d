"""tools/check_docs.py finds what it is there to find, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

MACHINE = "/" + "work/folder"


@pytest.fixture
def repository(tmp_path) -> Path:
    for folder in ["docs", "src/graph", "tests"]:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "README.md").write_text(
        "# Title here\n\n[design](docs/design.md#part-one), [web](https://example.org/x), `src/graph/ops.hpp`\n"
    )
    (tmp_path / "docs" / "design.md").write_text(
        "# Design\n\n## Part one\n\n`graph/ops.hpp` and `ops.hpp`; `a.b`, `x/y`\n\n[up](../README.md#title-here)\n"
    )
    (tmp_path / "src" / "graph" / "ops.hpp").write_text(
        "// See docs/design.md and transformers, modeling_x.py.\n#include <other/thing.hpp>\n"
    )
    return tmp_path


def check(repository: Path) -> tuple[int, str]:
    result = subprocess.run(
        [sys.executable, ROOT / "tools" / "check_docs.py", repository], capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout


def test_good(repository):
    assert check(repository) == (0, "documents: everything that is cited exists\n")


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("README.md", "\n[x](docs/missing.md)\n", "README.md:2: 'docs/missing.md' leads nowhere"),
        ("README.md", "[x](docs/design.md#no-such-part)\n", "README.md:1: 'docs/design.md#no-such-part' leads nowhere"),
        ("docs/design.md", "`src/graph/old.hpp`\n", "docs/design.md:1: 'src/graph/old.hpp' does not exist"),
        ("docs/design.md", "`graph/old.hpp`\n", "docs/design.md:1: 'graph/old.hpp' does not exist"),
        ("docs/design.md", "`tool.py`\n", "docs/design.md:1: 'tool.py' does not exist"),
        ("docs/design.md", f"see {MACHINE}\n", "is a path of a machine"),
        (
            "src/graph/ops.hpp",
            "// See tests/golden/nothing.\n",
            "src/graph/ops.hpp:1: 'tests/golden/nothing' does not exist",
        ),
        ("src/graph/ops.hpp", "// As in renamed.hpp.\n", "src/graph/ops.hpp:1: 'renamed.hpp' does not exist"),
        (
            "src/graph/ops.hpp",
            '#include "graph/renamed.hpp"\n',
            "src/graph/ops.hpp:1: 'graph/renamed.hpp' does not exist",
        ),
        ("src/graph/ops.hpp", f"// {MACHINE}\n", "is a path of a machine"),
    ],
)
def test_bad(repository, file, text, line):
    (repository / file).write_text(text)
    code, found = check(repository)
    assert code == 1 and line in found
