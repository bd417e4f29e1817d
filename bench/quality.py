#!/usr/bin/env python3
"""Quality of compressed exports of the bundled model on its held-out text, beside nncf's.

    bench/quality.py [--optimum PYTHON] [--work DIR] [--json FILE] [--windows N]

For every format and group size some directories are compared with a float32 export by `deltavino eval`,
all in one run over the same windows:

- the default of `deltavino export`;
- the same storage with `--scale-search nncf`: same bytes, nncf's scales;
- for int4 with zero points: the same bytes with `--calibrate`, on the King James Bible without the held-out verses
  (Debian's bible-kjv; left out without it), and on text that the model writes itself;
- nncf's GPTQ, and its AWQ with scale estimation, on the same text (bench/nncf_calibrated.py);
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
ON_TEXT, ON_ITSELF = "--calibrate FILE", "--calibrate self"
NNCF_WAYS = {"nncf GPTQ": "gptq", "nncf AWQ, scale estimation": "awq"}
CALIBRATED = "int4, groups of "


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


def calibration_text(target: Path) -> Path | None:
    """The verses that are not held out, without their numbers; None where bible-kjv is not installed."""
    if shutil.which("bible") is None:
        return None
    verses = [line.split(" ", 1)[1].strip() for line in run(["bible", "-f", "Ge1:1-Re22:21"]).splitlines() if " " in line]
    held_out = set((CHECKPOINT / "held_out.txt").read_text().splitlines())
    target.write_text("".join(f"{verse}\n" for verse in verses if verse not in held_out))
    return target


def export_nncf(optimum: str, work: Path, text: Path, way: str, group: str, target: Path) -> None:
    """nncf's calibrated weights beside the tokenizer of the float export."""
    if not (target / "openvino_model.bin").exists():
        run([optimum, str(ROOT / "bench" / "nncf_calibrated.py"), str(work / "float"), str(text), str(target), way, group])
        for file in (work / "float").glob("*"):
            if not (target / file.name).exists():
                shutil.copy(file, target)


def export_all(work: Path, optimum: str | None) -> dict[tuple[str, str], Path]:
    """Directories by format and program."""
    checkpoint = work / "checkpoint"
    shutil.rmtree(checkpoint, ignore_errors=True)
    text_only_checkpoint(checkpoint)

    def export(target: Path, *options: str) -> Path:
        run([str(ROOT / "build" / "deltavino"), "export", "-m", str(checkpoint), str(target), "--task", TEXT_TASK, "--force", *options])
        return target

    export(work / "float", "--weight-format", "fp32")
    text = calibration_text(work / "calibration.txt")
    made = {}
    for number, (name, options) in enumerate(CONFIGURATIONS.items()):
        print(f"exporting {name}", file=sys.stderr)
        made[name, OURS] = export(work / f"{number}-deltavino", *options)
        made[name, NNCF_SCALES] = export(work / f"{number}-nncf", *options, "--scale-search", "nncf")
        target = work / f"{number}-optimum"
        if optimum and export_optimum(optimum, checkpoint, name, options, target):
            made[name, OPTIMUM] = target
        if not name.startswith(CALIBRATED):
            continue
        made[name, ON_ITSELF] = export(work / f"{number}-self", *options, "--calibrate", "self")
        if text is not None:
            made[name, ON_TEXT] = export(work / f"{number}-text", *options, "--calibrate", str(text))
        for producer, way in NNCF_WAYS.items() if optimum and text is not None else ():
            made[name, producer] = work / f"{number}-{way}"
            export_nncf(optimum, work, text, way, options[-1], made[name, producer])
    return made


def evaluate(work: Path, directories: list[Path], windows: int) -> tuple[dict, list[dict]]:
    """The float model's numbers, and those of each directory."""
    reference = work / "float"
    output = run([str(ROOT / "build" / "deltavino"), "eval", "--text", str(CHECKPOINT / "held_out.txt"), "--windows", str(windows), "--json", str(reference), *map(str, directories)])
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
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as folder:
        work = arguments.work or Path(folder)
        work.mkdir(exist_ok=True)
        made = export_all(work, arguments.optimum)
        reference, results = evaluate(work, list(made.values()), arguments.windows)
    producers = [p for p in (OURS, NNCF_SCALES, OPTIMUM, ON_TEXT, ON_ITSELF, *NNCF_WAYS) if any(p == producer for _, producer in made)]
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
