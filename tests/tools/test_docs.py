"""The pages that tools/docs.py makes of the sources leave nothing out, and its links lead to pages."""

import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino"))
sys.path.insert(0, str(ROOT / "tools"))
import docs  # noqa: E402
import reference_pages  # noqa: E402

INCLUDE = ROOT / "include" / "deltavino"


def test_every_header_has_its_place() -> None:
    assert sorted(reference_pages.HEADERS) == sorted(path.stem for path in INCLUDE.glob("*.hpp"))


@pytest.mark.parametrize("name", reference_pages.HEADERS)
def test_every_line_of_a_header_is_shown(name: str) -> None:
    page = reference_pages.header_page(INCLUDE).replace("\\", "")
    text = re.sub(r"\nprivate:\n.*?(?=\n};)", "", (INCLUDE / f"{name}.hpp").read_text(), flags=re.DOTALL)
    text = re.sub(r"^namespace ov \{.*?^\}$", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in text.splitlines():
        if line.strip() and not re.match(r"#|namespace |}  // namespace|//$", line):
            assert line.removeprefix("// ") in page, line


def test_declarations_have_headings() -> None:
    headings = re.findall(r"^### (.+)", reference_pages.header_page(INCLUDE), re.MULTILINE)
    some = {"ExportOptions", "export_model", "Runner", "check_text, check_json, check_html", "ErrorKind"}
    assert some <= set(headings)
    assert not [heading for heading in headings if "takes_pictures" in heading]  # members stand in their class


def test_every_command_is_shown() -> None:
    page = reference_pages.command_page(PROGRAM)
    commands = re.findall(r"^## deltavino (\w+)", page, re.MULTILINE)
    assert commands == ["export", "generate", "inspect", "eval", "check", "bench", "cache"]
    assert page.count("Usage: deltavino ") == len(commands) + 1 and "--weight-format" in page


@pytest.mark.parametrize(("file", "text", "expected"), [
    ("README.md", "[a](docs/gpu.md#run-it) ![b](docs/quality.png)", "[a](gpu.md#run-it) ![b](quality.png)"),
    ("README.md", "[c](CONTRIBUTING.md), [d](examples/cpp/main.cpp)", "[c](contributing.md), d"),
    ("docs/guides/x.md", "[r](../../README.md#install) [g](../gpu.md)", "[r](../index.md#install) [g](../gpu.md)"),
    ("docs/x.md", "[w](https://example.org/x) [here](#part)", "[w](https://example.org/x) [here](#part)"),
    ("docs/x.md", "`f[0](tests/x)`\n```\na[0](tests/x)\n```", "`f[0](tests/x)`\n```\na[0](tests/x)\n```"),
])
def test_links(file: str, text: str, expected: str) -> None:
    assert docs.relinked(text, file) == expected
