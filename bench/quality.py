#!/usr/bin/env python3
"""Quality of compressed exports of the bundled model on its held-out text, beside nncf's.

    bench/quality.py [--optimum PYTHON] [--work DIR] [--json FILE] [--windows N] [--only PREFIX]...

For every format and group size some directories are compared with a float32 export by `deltavino eval`,
all in one run over the same windows:

- the default of `deltavino export`;
- the same storage with `--scale-search nncf`: same bytes, nncf's scales;
- for int4 with zero points: the same bytes with `--calibrate`, on the King James Bible without the held-out verses
  (tools/setup.sh --texts; left out without it), and on text that the model writes itself;
- the named recipes, and targets by bits, alone and with `--calibrate`;
- nncf's GPTQ, and its AWQ with scale estimation, on the same text (bench/nncf_calibrated.py);
- optimum-intel's own export with nncf, recipe and all. PYTHON is that of an environment with
  optimum-intel (tools/setup.sh --parity makes .venv-parity); left out without it.

Where optimum-intel fails its cells stay empty and the last line it said is printed. --work keeps the
exports; those of optimum-intel are then made once. --json keeps the numbers; bench/plot_quality.py draws
them. --only makes the rows whose format begins with PREFIX; the others of the JSON file stay as they are. "seconds" and
"peak_mb" are the processor time and the memory of whoever wrote the calibrated directories.

The formats of ggml are not among them: its k-quants cut rows into blocks of 256 columns, and this model has 128.
"""

import argparse
import json
import os
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
    **{f"recipe {name}": ["--weight-format", "int4", "--recipe", name] for name in ("smallest", "fastest", "balanced", "best")},
    **{f"target of {bits} bits": ["--weight-format", "int4", "--target-bits", bits] for bits in ("4.3", "4.5", "4.8", "5.1", "5.5")},
}
OURS, NNCF_SCALES, OPTIMUM = "deltavino", "nncf's scales", "optimum-intel"
ON_TEXT, ON_ITSELF = "--calibrate FILE", "--calibrate self"
NNCF_WAYS = {"nncf GPTQ": "gptq", "nncf AWQ, scale estimation": "awq"}
CALIBRATED = ("int4, groups of 128", "recipe best", "recipe smallest", "target of ")
NNCF_CALIBRATED = "int4, groups of 128"


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
    return run_measured(command)[0]


def run_measured(command: list[str]) -> tuple[str, dict]:
    """What it printed; its processor time and peak memory."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=out, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [file.seek(0) or file.read() for file in (out, said)]
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{texts[0]}\n{texts[1]}")
    return texts[0], {"seconds": round(usage.ru_utime + usage.ru_stime, 1), "peak_mb": round(usage.ru_maxrss / 1000)}


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


def export_nncf(optimum: str, work: Path, text: Path, way: str, group: str, target: Path) -> dict:
    """nncf's calibrated weights beside the tokenizer of the float export; what they cost."""
    shutil.rmtree(target, ignore_errors=True)
    _, cost = run_measured([optimum, str(ROOT / "bench" / "nncf_calibrated.py"), str(work / "float"), str(text), str(target), way, group])
    for file in (work / "float").glob("*"):
        if not (target / file.name).exists():
            shutil.copy(file, target)
    return cost


def export_all(work: Path, optimum: str | None, only: list[str]) -> tuple[dict[tuple[str, str], Path], dict[tuple[str, str], dict]]:
    """Directories by format and program, and what the calibrated ones cost."""
    checkpoint = work / "checkpoint"
    shutil.rmtree(checkpoint, ignore_errors=True)
    text_only_checkpoint(checkpoint)

    costs = {}

    def export(target: Path, *options: str) -> Path:
        costs[target] = run_measured([str(ROOT / "build" / "deltavino"), "export", "-m", str(checkpoint), str(target), "--task", TEXT_TASK, "--force", *options])[1]
        return target

    export(work / "float", "--weight-format", "fp32")
    text = calibration_text(work / "calibration.txt")
    made = {}
    for number, (name, options) in enumerate(CONFIGURATIONS.items()):
        if only and not name.startswith(tuple(only)):
            continue
        print(f"exporting {name}", file=sys.stderr)
        made[name, OURS] = export(work / f"{number}-deltavino", *options)
        of_both = not name.startswith(("recipe", "target"))
        if of_both:
            made[name, NNCF_SCALES] = export(work / f"{number}-nncf", *options, "--scale-search", "nncf")
        target = work / f"{number}-optimum"
        if of_both and optimum and not only and export_optimum(optimum, checkpoint, name, options, target):
            made[name, OPTIMUM] = target
        if not name.startswith(CALIBRATED):
            continue
        if name == NNCF_CALIBRATED:
            made[name, ON_ITSELF] = export(work / f"{number}-self", *options, "--calibrate", "self")
        if text is not None:
            made[name, ON_TEXT] = export(work / f"{number}-text", *options, "--calibrate", str(text))
        for producer, way in NNCF_WAYS.items() if optimum and text is not None and name == NNCF_CALIBRATED else ():
            made[name, producer] = work / f"{number}-{way}"
            costs[made[name, producer]] = export_nncf(optimum, work, text, way, options[-1], made[name, producer])
    calibrated = (ON_TEXT, ON_ITSELF, *NNCF_WAYS)
    return made, {key: costs[target] for key, target in made.items() if key[1] in calibrated}


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
    print("| format | " + " | ".join(f"{what}, {producer}" for what in ("KL", "bytes", "gap") for producer in producers) + " |")
    print("|---" * (1 + 3 * len(producers)) + "|")
    for name in CONFIGURATIONS:
        found = {row["producer"]: row for row in rows if row["format"] == name}
        cells = [form(found[p]) if p in found else "" for form in (divergence, size, gap) for p in producers]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimum", help="Python of an environment with optimum-intel")
    parser.add_argument("--work", type=Path, help="keep the exports in this folder")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--windows", type=int, default=0, help="windows of 256 tokens; 0: all of the text")
    parser.add_argument("--only", action="append", default=[], help="formats that begin so, without optimum-intel's own; may be repeated")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-quality-") as folder:
        work = arguments.work or Path(folder)
        work.mkdir(exist_ok=True)
        made, costs = export_all(work, arguments.optimum, arguments.only)
        reference, results = evaluate(work, list(made.values()), arguments.windows)
    producers = [p for p in (OURS, NNCF_SCALES, OPTIMUM, ON_TEXT, ON_ITSELF, *NNCF_WAYS) if any(p == producer for _, producer in made)]
    rows = []
    for (name, producer), result in zip(made, results, strict=True):
        rows.append({"format": name, "producer": producer, "bytes": result["weight_bytes"], "gap": result["perplexity"] - reference["perplexity"],
                     "kl": result["kl_divergence"], "top1": result["top1_agreement"], **costs.get((name, producer), {})})
    print(f"float: {reference['perplexity']:.4f}\n")
    print_table(rows, producers)
    if arguments.json:
        if arguments.only and arguments.json.exists():
            new = {(row["format"], row["producer"]) for row in rows}
            rows = [row for row in json.loads(arguments.json.read_text())["rows"] if (row["format"], row["producer"]) not in new] + rows
        arguments.json.write_text(json.dumps({"float": reference["perplexity"], "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
