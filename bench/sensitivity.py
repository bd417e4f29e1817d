#!/usr/bin/env python3
"""What each class of weights costs in KL, in every storage: the evidence behind --recipe and --target-size.

    bench/sensitivity.py CHECKPOINT TEXT --json docs/sensitivity.json --name NAME [--windows 24] [--work DIR]

The language model is exported in float32 with one class of weights in one storage (`--keep`), and compared with the
float32 export by `deltavino eval`, all in one run over the same windows. For each: KL, bytes, the mean squared relative
error of the weights, and the coefficient KL / error that src/export/weight_class.cpp takes its numbers from. NAME is
the model's entry in the JSON file; the others stay as they are.

--recipes measures the named recipes instead, each beside `--target-size` of its very size.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = str(ROOT / "build" / "deltavino")
TEXT_TASK = "text-generation-with-past"

CLASSES = {
    "in_proj_qkv": ["*.linear_attn.in_proj_qkv.weight"],
    "in_proj_z": ["*.linear_attn.in_proj_z.weight"],
    "out_proj": ["*.linear_attn.out_proj.weight"],
    "q_proj": ["*.self_attn.q_proj.weight"],
    "k_proj": ["*.self_attn.k_proj.weight"],
    "v_proj": ["*.self_attn.v_proj.weight"],
    "o_proj": ["*.self_attn.o_proj.weight"],
    "gate_proj": ["*.mlp.gate_proj.weight"],
    "up_proj": ["*.mlp.up_proj.weight"],
    "down_proj": ["*.mlp.down_proj.weight"],
    "experts gate_up": ["*.mlp.experts.gate*", "*.mlp.experts.up*"],
    "experts down": ["*.mlp.experts.down*"],
    "shared_expert": ["*.mlp.shared_expert.*"],
    "embedding and head": ["model.embed_tokens.weight", "lm_head.weight"],
    "embedding": ["model.embed_tokens.weight"],
    "head": ["lm_head.weight"],
}
TABLES = ("embedding and head", "embedding", "head")
STORAGES = ("int4_asym_g128", "int4_asym_g64", "int4_asym_g32", "int4_sym_g128", "int4_sym_g64", "int4_sym_g32", "int8_asym")
TABLE_STORAGES = ("int4_sym_g128", "int4_sym_g64", "int4_sym_g32", "int8_sym")


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def export(checkpoint: Path, target: Path, rules: list[str]) -> list[dict]:
    """The report's rows of the language model that a rule stored, and [] when the model has none."""
    report = target.with_suffix(".json")
    command = [PROGRAM, "export", "-m", str(checkpoint), str(target), "--task", TEXT_TASK, "--force", "--no-mtp"]
    command += ["--weight-format", "fp32", "--report", str(report), *(word for rule in rules for word in ("--keep", rule))]
    run(command)
    return [row for row in json.loads(report.read_text())["tensors"] if row["reason"].startswith("--keep")]


def has(tensors: list[str], pattern: str) -> bool:
    return any(Path(name).match(pattern) for name in tensors)


def cases(checkpoint: Path, work: Path, layers: int, storages: list[str]) -> dict[tuple[str, str], list[str]]:
    """Rules by class and storage."""
    names = {row["name"].replace("model.language_model.", "model.") for row in all_tensors(checkpoint, work)}
    made = {}
    for name, patterns in CLASSES.items():
        present = [p for p in patterns if has(sorted(names), p)]
        if not present or (name == "embedding and head" and len(present) == 2) or (name == "embedding" and len(names & {"lm_head.weight"}) == 0):
            continue
        for storage in TABLE_STORAGES if name in TABLES else storages:
            made[name, storage] = [f"{p}={storage}" for p in present]
    for layer in range(layers):
        made[f"layer {layer}", "int4_asym_g128"] = [f"model.layers.{layer}.{p[2:]}=int4_asym_g128" for n, ps in CLASSES.items() if n not in TABLES
                                                    for p in ps if has(sorted(names), f"model.layers.{layer}.{p[2:]}")]
    return made


def all_tensors(checkpoint: Path, work: Path) -> list[dict]:
    report = work / "all.json"
    run([PROGRAM, "export", "-m", str(checkpoint), str(work / "float"), "--task", TEXT_TASK, "--force", "--no-mtp", "--weight-format", "fp32", "--report", str(report)])
    return json.loads(report.read_text())["tensors"]


def recipes(arguments: argparse.Namespace, work: Path) -> list[dict]:
    """KL and bytes of the named recipes, and of targets of the same size."""
    common = [PROGRAM, "export", "-m", str(arguments.checkpoint), "--task", TEXT_TASK, "--force", "--no-mtp"]
    run([*common, str(work / "float"), "--weight-format", "fp32"])
    rows, directories = [], []
    for name in ("smallest", "fastest", "balanced", "best"):
        size = None
        for how in ("recipe", "target"):
            target = work / f"{name}-{how}"
            run([*common, str(target), "--weight-format", "int4", *(["--recipe", name] if size is None else ["--target-size", str(size)])])
            size = (target / "openvino_model.bin").stat().st_size if size is None else size
            rows.append({"recipe": name, "how": how, "bytes": (target / "openvino_model.bin").stat().st_size})
            directories.append(str(target))
    command = [PROGRAM, "eval", "--text", str(arguments.text), "--windows", str(arguments.windows), "--precision", "f32", "--json", str(work / "float")]
    for row, result in zip(rows, json.loads(run(command + directories))["models"][1:], strict=True):
        row["kl"] = result["kl_divergence"]
        print(f"{row['recipe']:10} {row['how']:8} {row['bytes']:9} B  KL {row['kl']:.5f}")
    return rows


def squared_error(rows: list[dict]) -> float:
    sizes = [row["shape"][0] * row["shape"][1] for row in rows]
    return sum(size * row["relative_error"] ** 2 for size, row in zip(sizes, rows, strict=True)) / sum(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--storages", nargs="+", choices=STORAGES, default=list(STORAGES), help="of all but embedding and head")
    parser.add_argument("--recipes", action="store_true")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    config = json.loads((arguments.checkpoint / "config.json").read_text())
    layers = config.get("text_config", config)["num_hidden_layers"]
    known = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    if arguments.recipes:
        with tempfile.TemporaryDirectory(prefix="bench-sensitivity-") as folder:
            known[arguments.name]["recipes"] = recipes(arguments, arguments.work or Path(folder))
        arguments.json.write_text(json.dumps(known, indent=1) + "\n")
        return
    entries = []
    with tempfile.TemporaryDirectory(prefix="bench-sensitivity-") as folder:
        work = arguments.work or Path(folder)
        made = cases(arguments.checkpoint, work, layers, arguments.storages)
        directories = []
        for number, ((name, storage), rules) in enumerate(made.items()):
            target = work / str(number)
            rows = export(arguments.checkpoint, target, rules)
            directories.append(str(target))
            entries.append({"class": name, "storage": storage, "tensors": len(rows), "bytes": sum(row["bytes_written"] for row in rows),
                            "elements": sum(row["shape"][0] * row["shape"][1] for row in rows), "squared_error": squared_error(rows)})
        command = [PROGRAM, "eval", "--text", str(arguments.text), "--windows", str(arguments.windows), "--precision", "f32", "--json", str(work / "float")]
        results = json.loads(run(command + directories))["models"]
        for entry, result in zip(entries, results[1:], strict=True):
            entry["kl"] = result["kl_divergence"]
            entry["coefficient"] = entry["kl"] / entry["squared_error"]
        for directory in directories:
            shutil.rmtree(directory)
    known[arguments.name] = {**known.get(arguments.name, {}), "perplexity": results[0]["perplexity"], "windows": arguments.windows, "rows": entries}
    arguments.json.write_text(json.dumps(known, indent=1) + "\n")
    for entry in entries:
        print(f"{entry['class']:20} {entry['storage']:15} {entry['bytes']:9} B  KL {entry['kl']:.5f}  error {entry['squared_error'] ** 0.5:.4f}  coefficient {entry['coefficient']:.3f}")


if __name__ == "__main__":
    main()
