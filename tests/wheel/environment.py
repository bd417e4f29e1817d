"""The wheel, installed as a user does: into an environment of its own that has nothing else.

DELTAVINO_PYTHON names the Python that it is installed for; without it, that is the one that runs the tests. Of the
wheels in dist/, pip takes the one for that Python.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PYTHON = os.environ.get("DELTAVINO_PYTHON", sys.executable)
PLAIN = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}


class Environment:
    """A virtual environment; its programs run without the variables of this one."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.program = folder / "bin" / "deltavino"

    def run(self, *command: object, **options: object) -> subprocess.CompletedProcess:
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False,
                              env=PLAIN, cwd="/", **options)

    def script(self, text: str, *arguments: object) -> subprocess.CompletedProcess:
        return self.run(self.python, "-c", text, *arguments)


def tag() -> str:
    """What the file's name says of its Pythons: the stable ABI serves 3.12 and all later ones."""
    version = subprocess.run([PYTHON, "-c", "import sys; print('%d %d' % sys.version_info[:2])"], capture_output=True,
                             text=True, check=True).stdout.split()  # fmt: skip
    major, minor = map(int, version)
    return f"cp{major}{minor}-cp{major}{minor}" if (major, minor) < (3, 12) else "cp312-abi3"


@pytest.fixture(scope="session")
def wheel() -> Path:
    wheels = sorted((ROOT / "dist").glob(f"deltavino-*-{tag()}-*.whl"))
    assert len(wheels) == 1, f"tools/wheel.sh builds one of {tag()} with such a Python"
    return wheels[0]


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("environment") / "somewhere else"
    subprocess.run([PYTHON, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input", str(wheel)],
                   check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    return Environment(folder)


@pytest.fixture(scope="session")
def exported(installed: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text model of the bundled checkpoint, exported by the function."""
    out = tmp_path_factory.mktemp("exported") / "text"
    done = installed.script(
        "import sys, deltavino; deltavino.export(sys.argv[1], sys.argv[2], task='text-generation-with-past')",
        ROOT / "examples" / "kjv-tiny", out)
    assert done.returncode == 0, done.stderr
    return out
