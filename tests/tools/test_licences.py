"""tools/licences.py on files that a package has, and on those without a licence that it could find."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HEADER = Path("/usr/include/png.h")  # of libpng-dev


def run(folder: Path, *files: Path, change: tuple[str, str] | None = None) -> subprocess.CompletedProcess:
    text = (ROOT / "tools" / "licences.py").read_text()
    if change:
        assert change[0] in text
    script = folder / "licences.py"
    script.write_text(text.replace(*change) if change else text)
    return subprocess.run([sys.executable, script, folder / "out", *files], capture_output=True, text=True, check=False)


def test_texts_and_what_they_refer_to(tmp_path: Path) -> None:
    done = run(tmp_path, HEADER)
    assert done.returncode == 0, done.stderr
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"libpng-dev", "libeigen3-dev", "libcli11-dev", "nlohmann-json3-dev", "versions.txt"} <= found
    assert (tmp_path / "out" / "libpng-dev").read_text() == Path("/usr/share/doc/libpng-dev/copyright").read_text()
    for name in found:
        for place in (tmp_path / "out" / name).read_text().split("/usr/share/common-licenses/")[1:]:
            assert any(f"common-{place[:n]}" in found for n in range(2, 30)), (name, place[:30])


def test_a_file_of_no_package(tmp_path: Path) -> None:
    (tmp_path / "libown.so").write_text("")
    done = run(tmp_path, HEADER, tmp_path / "libown.so")
    assert done.returncode == 1 and f"no Debian package has {tmp_path}/libown.so" in done.stderr


@pytest.mark.parametrize(("change", "words"), [
    (("/usr/share/doc", "/usr/share/nowhere"), "the licence of the package"),
    (("COMMON / name).is_file", "COMMON / 'x').is_file"), "refers to"),
])
def test_a_missing_text(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    done = run(tmp_path, HEADER, change=change)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
