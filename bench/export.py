#!/usr/bin/env python3
"""Export time and peak memory of deltavino beside its peers, in one run.

    bench/export.py CHECKPOINT [--format int4] [--rounds 3] [--optimum PYTHON] [--task TASK]

Programs alternate, every round starts with the checkpoint in the page cache (it is read once before),
medians are reported, versions printed. The floor is the time to read the checkpoint's bytes with `cat`
and to write as many bytes as deltavino's output holds. PYTHON is that of an environment with
optimum-intel (tools/setup.sh --parity makes .venv-parity).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of a command and its children; raises when it fails."""
    script = (
        "import resource,subprocess,sys,time\n"
        "start=time.perf_counter()\n"
        "done=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.PIPE)\n"
        "seconds=time.perf_counter()-start\n"
        "peak=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss*1024/1e6\n"
        "sys.stderr.buffer.write(done.stderr[-2000:]) if done.returncode else None\n"
        "print(seconds,peak); sys.exit(done.returncode)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak


def floor_seconds(checkpoint: Path, output_bytes: int, scratch: Path) -> float:
    """Reading the checkpoint once and writing as many bytes as the output has."""
    files = sorted(str(path) for path in checkpoint.glob("*.safetensors"))
    start = time.perf_counter()
    subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True)
    block = os.urandom(1 << 20)
    with open(scratch, "wb") as file:
        for _ in range(output_bytes >> 20):
            file.write(block)
    seconds = time.perf_counter() - start
    scratch.unlink()
    return seconds


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir() if path.suffix == ".bin")


def versions(optimum: str | None) -> list[str]:
    lines = [subprocess.run([ROOT / "build" / "deltavino", "--version"], capture_output=True, text=True, check=True).stdout.strip()]
    if optimum:
        code = "import importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in ('optimum-intel','nncf','transformers','torch','openvino')))"
        lines.append(subprocess.run([optimum, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--format", default="int4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--task", default="text-generation-with-past")
    parser.add_argument("--optimum", help="Python of an environment with optimum-intel")
    parser.add_argument("--optimum-checkpoint", type=Path, help="checkpoint for optimum-intel, when it needs another layout")
    arguments = parser.parse_args()

    work = Path(tempfile.mkdtemp(prefix="bench-export-"))
    program = str(ROOT / "build" / "deltavino")
    base = [program, "export", "-m", str(arguments.checkpoint), "--task", arguments.task, "--weight-format", arguments.format]
    commands = {"deltavino": base, "deltavino, nncf's scales": [*base, "--scale-search", "nncf"]}
    if arguments.format not in {"int4", "int8", "nf4", "mxfp4"}:
        del commands["deltavino, nncf's scales"]
    if arguments.optimum:
        theirs = ["-m", "optimum.commands.optimum_cli", "export", "openvino", "-m", str(arguments.optimum_checkpoint or arguments.checkpoint)]
        theirs += ["--task", arguments.task, "--weight-format", arguments.format]
        if arguments.format == "int4":
            theirs += ["--group-size-fallback", "ignore"]
        commands["optimum-intel"] = [arguments.optimum, *theirs]
    print("\n".join(versions(arguments.optimum)))
    print(f"load average before: {os.getloadavg()[0]:.2f}, cores: {os.cpu_count()}")
    subprocess.run(["cat", *map(str, arguments.checkpoint.glob("*.safetensors"))], stdout=subprocess.DEVNULL, check=True)

    results: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    floors = []
    written = 0
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            results[name].append(measured([*command, str(work / "out")]))
            written = size_of(work / "out") if name == "deltavino" else written
            shutil.rmtree(work / "out")
        floors.append(floor_seconds(arguments.checkpoint, written, work / "floor"))
    reference = statistics.median(seconds for seconds, _ in results["deltavino"])
    floor = statistics.median(floors)
    print(f"\n| {arguments.format} of {arguments.checkpoint.name} | seconds | peak memory | times deltavino | times the floor |")
    print("|---|---|---|---|---|")
    for name, samples in results.items():
        seconds = statistics.median(s for s, _ in samples)
        peak = statistics.median(p for _, p in samples)
        print(f"| {name} | {seconds:.2f} | {peak:.0f} MB | {seconds / reference:.1f} | {seconds / floor:.1f} |")
    print(f"| floor: read and write the bytes | {floor:.2f} | | | 1 |")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
