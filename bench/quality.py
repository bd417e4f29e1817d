#!/usr/bin/env python3
"""Quality of compressed exports of the bundled model on its held-out text, beside nncf's.

    bench/quality.py [--optimum PYTHON] [--work DIR] [--json FILE] [--windows N]

For every format and group size three directories are compared with a float32 export by `deltavino eval`,
all in one run over the same windows:

- the default of `deltavino export`;
- the same storage with `--scale-search nncf`: same bytes, nncf's scales;
- optimum-intel's own export with nncf, recipe and all. PYTHON is that of an environment with
  optimum-intel (tools/setup.sh --parity makes .venv-parity); left out without it.

Where optimum-intel fails its cells stay empty and the last line it said is printed. --work keeps the
exports; those of optimum-intel are then made once. --json keeps the numbers; bench/plot_quality.py draws
them.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "examples" / "kjv-tiny"
TEXT_TASK = "text-generation-with-past"

# Format and group size: options that deltavino and optimum-cli share.
CONFIGURATIONS = {
    "int8": ["--weight-format", "int8"],
    **{f"int4, groups of {g}": ["--weight-format", "int4", "--group-size", str(g)] for g in (32, 64, 128)},
    **{f"int4 symmetric, groups of {g}": ["--weight-format", "int4", "--sym", "--group-size", str(g)] for g in (32, 64, 128)},
    **{f"nf4, groups of {g}": ["--weight-format", "nf4", "--group-size", str(g)] for g in (32, 64, 128)},
    "mxfp4": ["--weight-format", "mxfp4", "--group-size", "32"],
}
OURS, NNCF_SCALES, OPTIMUM = "deltavino", "nncf's scales", "optimum-intel"


def text_only_checkpoint(target: Path) -> None:
    """The language model of the bundled checkpoint in the layout of Qwen3_5ForCausalLM, the only one that
    optimum-intel exports as a text model. The bytes of the tensors are copied as they are."""
    shutil.copytree(CHECKPOINT, target, ignore=shutil.ignore_patterns("*.safetensors", "*preprocessor_config.json", "pictures"))
    config = json.loads((CHECKPOINT / "config.json").read_text())
    text = {**config["text_config"], "architectures": ["Qwen3_5ForCausalLM"], "tie_word_embeddings": config["tie_word_embeddings"]}
    (target / "config.json").write_text(json.dumps(text, indent=2))
    data = (CHECKPOINT / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    tensors, parts, end = {"__metadata__": {"format": "pt"}}, [], 0
    for name, entry in header.items():
        if not name.startswith("model.language_model."):
            continue
        begin, stop = entry["data_offsets"]
        parts.append(body[begin:stop])
        tensors[name.replace("model.language_model.", "model.")] = {**entry, "data_offsets": [end, end + stop - begin]}
        end += stop - begin
    packed = json.dumps(tensors).encode()
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(packed)) + packed + b"".join(parts))


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def export_optimum(optimum: str, checkpoint: Path, name: str, options: list[str], target: Path) -> bool:
    """False when optimum-intel fails."""
    if (target / "openvino_model.bin").exists():
        return True
    fallback = [] if name == "int8" else ["--group-size-fallback", "ignore"]
    try:
        run([optimum, "-m", "optimum.commands.optimum_cli", "export", "openvino", "-m", str(checkpoint), "--task", TEXT_TASK, *options, *fallback, str(target)])
    except RuntimeError as error:
        print(f"optimum-intel, {name}: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return False
    return True


def export_all(work: Path, optimum: str | None) -> dict[tuple[str, str], Path]:
    """Directories by format and program."""
    checkpoint = work / "checkpoint"
    shutil.rmtree(checkpoint, ignore_errors=True)
    text_only_checkpoint(checkpoint)
    program = str(ROOT / "build" / "deltavino")
    made = {}
    for number, (name, options) in enumerate(CONFIGURATIONS.items()):
        print(f"exporting {name}", file=sys.stderr)
        for producer, extra in ((OURS, []), (NNCF_SCALES, ["--scale-search", "nncf"])):
            made[name, producer] = work / f"{number}-{producer.split()[0]}"
            run([program, "export", "-m", str(checkpoint), str(made[name, producer]), "--task", TEXT_TASK, "--force", *options, *extra])
        target = work / f"{number}-optimum"
        if optimum and export_optimum(optimum, checkpoint, name, options, target):
            made[name, OPTIMUM] = target
    return made


def evaluate(work: Path, directories: list[Path], windows: int) -> tuple[dict, list[dict]]:
    """The float model's numbers, and those of each directory."""
    reference = work / "float"
    program = str(ROOT / "build" / "deltavino")
    run([program, "export", "-m", str(work / "checkpoint"), str(reference), "--task", TEXT_TASK, "--force", "--weight-format", "fp32"])
    output = run([program, "eval", "--text", str(CHECKPOINT / "held_out.txt"), "--windows", str(windows), "--json", str(reference), *map(str, directories)])
    report = json.loads(output)
    print(f"{report['windows']} windows of {report['window']} tokens", file=sys.stderr)
    return report["models"][0], report["models"][1:]


def size(row: dict) -> str:
    return f"{row['bytes'] / 1e6:.2f} MB"


def gap(row: dict) -> str:
    return f"{row['gap']:+.4f}"


def divergence(row: dict) -> str:
    return f"{row['kl']:.5f}"


def print_table(rows: list[dict], producers: list[str]) -> None:
    print("| format | " + " | ".join(f"{what}, {producer}" for what in ("bytes", "gap", "KL") for producer in producers) + " |")
    print("|---" * (1 + 3 * len(producers)) + "|")
    for name in CONFIGURATIONS:
        found = {row["producer"]: row for row in rows if row["format"] == name}
        cells = [form(found[p]) if p in found else "" for form in (size, gap, divergence) for p in producers]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum", help="Python of an environment with optimum-intel")
    parser.add_argument("--work", type=Path, help="keep the exports in this folder")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--windows", type=int, default=0, help="windows of 256 tokens; 0: all of the text")
    arguments = parser.parse_args()
    producers = [OURS, NNCF_SCALES] + ([OPTIMUM] if arguments.optimum else [])
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as folder:
        work = arguments.work or Path(folder)
        work.mkdir(exist_ok=True)
        made = export_all(work, arguments.optimum)
        reference, results = evaluate(work, list(made.values()), arguments.windows)
    rows = []
    for (name, producer), result in zip(made, results, strict=True):
        rows.append({"format": name, "producer": producer, "bytes": result["weight_bytes"], "gap": result["perplexity"] - reference["perplexity"],
                     "kl": result["kl_divergence"], "top1": result["top1_agreement"]})
    print(f"float: {reference['perplexity']:.4f}\n")
    print_table(rows, producers)
    if arguments.json:
        arguments.json.write_text(json.dumps({"float": reference["perplexity"], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
