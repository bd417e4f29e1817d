"""Fixtures of the end-to-end tests: the built program and exported models, each made once."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KJV = ROOT / "examples" / "kjv-tiny"
GOLDEN = ROOT / "tests" / "golden"

# A shell's background jobs ignore Ctrl-C and hand that on to what they start; the tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run_deltavino(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    """Runs the program and returns its exit code and texts."""
    program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="session", autouse=True)
def exports_of_runs(tmp_path_factory) -> None:
    """What runs export of checkpoints is kept with the tests' own files, not in the home of whoever runs them."""
    os.environ["DELTAVINO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def deltavino():
    return run_deltavino


@pytest.fixture(scope="session")
def kjv_text(tmp_path_factory) -> Path:
    """The text model of the bundled checkpoint, weights as stored."""
    out = tmp_path_factory.mktemp("kjv") / "text"
    result = run_deltavino("export", "--model", KJV, out, "--task", "text-generation-with-past")
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="session")
def kjv_vlm(tmp_path_factory) -> Path:
    """All models of the bundled vision-language checkpoint, weights as stored."""
    out = tmp_path_factory.mktemp("kjv") / "vlm"
    result = run_deltavino("export", "--model", KJV, out)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="session")
def greedy() -> dict:
    """What transformers continues greedily in float32."""
    return json.loads((GOLDEN / "kjv-tiny" / "greedy.json").read_text())
