"""The bench: processes in which OpenVINO's GPU plugin finds a GPU, and models for them.

The plugin looks for OpenCL when its library is loaded, so what it finds is decided by the environment of a process.
The tests run without any of it; worker.py runs with it, for a list of jobs, and answers with one line a job.

DELTAVINO_GPU_DEVICE=GPU leaves all of that away: the same jobs run on the GPU of this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GOLDEN = ROOT / "tests" / "golden"
KJV = ROOT / "examples" / "kjv-tiny"
BUILD = Path(os.environ.get("DELTAVINO_BUILD", ROOT / "build"))
PROGRAM = Path(os.environ.get("DELTAVINO", BUILD / "deltavino"))
LAYER = BUILD / "libdeltavino_gpu_layer.so"
REAL = os.environ.get("DELTAVINO_GPU_DEVICE") == "GPU"
FULL = bool(os.environ.get("DELTAVINO_GPU_FULL"))


def kernel_folder() -> Path:
    """Where compiled kernels are kept between runs: outside of the repository."""
    shared = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("DELTAVINO_GPU_KERNELS") or shared / "deltavino-gpu") / processor()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def processor() -> str:
    """A name for what kernels are compiled for: the instructions of this CPU, and the runtime that compiles."""
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    instructions = sorted(word for word in flags.split() if word.startswith(("avx", "amx", "f16c", "fma", "sse")))
    runtime = next((str(path.name) for path in Path(sys.prefix).rglob("intel_opencl_rt-*.dist-info")), "")
    return hashlib.sha256(" ".join([*instructions, runtime]).encode()).hexdigest()[:12]


@cache
def runtime_extensions() -> tuple[str, ...]:
    """What the OpenCL runtime itself offers: the layer says that there is more."""
    variables = environment("xe-lp", stubs=True)
    variables.pop("OPENCL_LAYERS", None)
    asked = subprocess.run([sys.executable, str(HERE / "extensions.py")], env=variables, capture_output=True, text=True,
                           check=False)  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    return tuple(asked.stdout.split())


def lacks_half() -> bool:
    """Whether kernels in f16 cannot be compiled. The runtime has them also where the CPU has no such arithmetic."""
    return not REAL and "cl_khr_fp16" not in runtime_extensions()


NO_HALF = "Intel's OpenCL runtime has no f16 (cl_khr_fp16) on this processor"
needs_half = pytest.mark.skipif("bench.lacks_half()", reason=NO_HALF)


def loader() -> Path:
    """Debian's OpenCL loader. The one inside intel-opencl-rt loads layers and does not call them."""
    text = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True,
                          env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}).stdout
    found = [line.split("=>")[1].strip() for line in text.splitlines() if line.strip().startswith("libOpenCL.so.1 ")]
    assert found, "there is no libOpenCL.so.1; tools/setup.sh --gpu installs Debian's ocl-icd-libopencl1"
    return Path(found[0])


def environment(family: str, stubs: bool) -> dict[str, str]:
    """The variables under which a process sees a GPU of this family."""
    variables = dict(os.environ)
    if REAL:
        return variables
    libraries = Path(sys.prefix) / "lib"
    vendors = BUILD / "gpu" / "vendors"
    vendors.mkdir(parents=True, exist_ok=True)
    (vendors / "cpu.icd").write_text(f"{libraries / 'libintelocl.so'}\n")
    variables |= {
        "OCL_ICD_VENDORS": str(vendors),
        "OPENCL_LAYERS": str(LAYER),
        "LD_LIBRARY_PATH": str(libraries),
        # The runtime needs a newer TBB than the one inside OpenVINO's wheel, which would be loaded first.
        "LD_PRELOAD": f"{libraries / 'libtbb.so.12'}:{loader()}",
        "DELTAVINO_GPU_FAMILY": family,
    }
    if stubs:
        variables["DELTAVINO_GPU_STUBS"] = "1"
    else:
        variables["DELTAVINO_GPU_KERNELS"] = str(kernel_folder())
    return variables


def run_jobs(jobs: list[dict], family: str = "xe-lp", stubs: bool = False, timeout: float = 3000) -> list[dict]:
    """The answers to the jobs, in their order. A job that raises is answered by {"error": text}."""
    worker = subprocess.run(
        [sys.executable, str(HERE / "worker.py")], input=json.dumps(jobs), capture_output=True, text=True,
        env=environment(family, stubs), timeout=timeout, check=False,
    )  # fmt: skip
    answers = [json.loads(line[len("ANSWER ") :]) for line in worker.stdout.splitlines() if line.startswith("ANSWER ")]
    if len(answers) < len(jobs):
        job = jobs[len(answers)]
        raise AssertionError(f"the worker ended with {worker.returncode} in {job}: {worker.stderr[-3000:]}")
    return answers


def run_families(jobs: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """Stubs only. Each family's jobs in processes of its own, as many at once as there are cores."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        running = {family: pool.submit(run_jobs, list_, family, True) for family, list_ in jobs.items()}
        return {family: future.result() for family, future in running.items()}


@dataclass(frozen=True)
class Source:
    """A checkpoint, and what `export` is to make of it."""

    checkpoint: Path
    options: tuple[str, ...] = ()


def export(source: Source, out: Path) -> Path:
    """Exports once; returns the directory."""
    if not out.exists():
        tokenizer = [] if (source.checkpoint / "tokenizer.json").exists() else ["--disable-convert-tokenizer"]
        command = [PROGRAM, "export", "--model", source.checkpoint, out, *tokenizer, *source.options]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}: {result.stderr}"
    return out
