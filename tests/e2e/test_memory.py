"""An export needs the same memory for few layers and for many, far less than one stack of experts."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

# A stack holds 64 x 1024 x 2048 values: 268 MB as stored, 537 MB in float32.
PEAK_MB = 100
SLOPE_MB = 16


def peak_megabytes(*arguments: object) -> float:
    """Peak resident memory of the program, from the kernel's own high-water mark."""
    program = os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino"))
    process = subprocess.Popen([program, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    status = Path(f"/proc/{process.pid}/status")
    peak = 0
    while process.poll() is None:
        lines = status.read_text().splitlines()
        peak = max([peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        time.sleep(0.005)
    assert process.returncode == 0, process.stderr.read()
    return peak * 1024 / 1e6


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_peak_does_not_grow_with_the_model(tmp_path):
    peaks = []
    for layers in [4, 8]:
        checkpoint = tmp_path / f"checkpoint-{layers}"
        subprocess.run([sys.executable, ROOT / "bench" / "sparse_checkpoint.py", checkpoint, "--geometry", "narrow", "--layers", str(layers)], check=True)
        options = ["--task", "text-generation-with-past", "--weight-format", "int4", "--threads", "2", "--force", "--disable-convert-tokenizer"]
        peaks.append(peak_megabytes("export", "--model", checkpoint, tmp_path / "out", *options))
    assert max(peaks) < PEAK_MB, peaks
    assert abs(peaks[1] - peaks[0]) < SLOPE_MB, peaks
