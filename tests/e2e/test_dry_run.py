"""`export --dry-run` says what an export writes, to the byte, and writes nothing."""

import re

import pytest
from conftest import KJV

USAGE, OUTPUT = 2, 5


def sizes(text: str) -> dict[str, str]:
    """File and size as the table shows them."""
    return dict(re.findall(r"^(\S+\.(?:xml|bin|json|jinja)) +(.+)$", text, re.MULTILINE))


def shown(size: int) -> str:
    return f"{size} bytes" if size < 1000 else f"{size / 1000:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


@pytest.mark.parametrize("options", [(), ("--weight-format", "int4", "--task", "text-generation-with-past"),
                                     ("--weight-format", "int4", "--ratio", "0.5", "--disable-convert-tokenizer")])
def test_says_what_an_export_writes(deltavino, tmp_path, options):
    out = tmp_path / "out"
    dry = deltavino("export", "-m", KJV, out, "--dry-run", *options)
    assert dry.returncode == 0, dry.stderr
    assert not list(tmp_path.iterdir())
    assert deltavino("export", "-m", KJV, out, *options).returncode == 0
    assert sizes(dry.stdout) == {path.name: shown(path.stat().st_size) for path in out.iterdir()}
    assert re.search(r"^about \d+\.\d s, .*; nothing was written$", dry.stdout, re.MULTILINE)


def test_finds_what_would_stop_the_export(deltavino, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    result = deltavino("export", "-m", KJV, tmp_path / "out", "--dry-run")
    assert result.returncode == OUTPUT and "mine.txt" in result.stderr + str(list((tmp_path / "out").iterdir()))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("option", [("--verify",), ("--report", "report.json")])
def test_goes_with_nothing_that_needs_the_files(deltavino, tmp_path, option):
    result = deltavino("export", "-m", KJV, tmp_path / "out", "--dry-run", *option)
    assert result.returncode == USAGE and option[0] in result.stderr
