#!/usr/bin/env python3
"""Fails when a source file includes a layer above its own.

The layers, lowest first: base; json and quant; checkpoint; graph; blocks; models; tokenizer; export; inspect.
runtime stands beside them: it runs any conforming directory, whoever wrote it, and sees base, json,
graph/names.hpp and read_ir.hpp, and the lanes of quant's kernels only. reference knows the checkpoint and no OpenVINO.
hub knows files and JSON only. cache keeps what export writes, and knows the Hub. calibration quantizes weights by what the reference
computes on a text. evaluate compares what export, runtime and reference say. benchmark measures how fast runtime is.

    check_includes.py [REPOSITORY]
"""

import re
import sys
from pathlib import Path

CHECKPOINT = {"base", "json", "checkpoint"}
GRAPH = CHECKPOINT | {"quant", "graph"}
ALLOWED = {
    "base": {"base"},
    "json": {"base", "json"},
    "quant": {"base", "quant"},
    "checkpoint": CHECKPOINT | {"quant"},
    "hub": {"base", "json", "hub"},
    "cache": {"base", "json", "hub", "cache"},
    "graph": GRAPH,
    "blocks": GRAPH | {"blocks"},
    "models": GRAPH | {"blocks", "models"},
    "tokenizer": {"base", "json", "graph", "tokenizer"},
    "calibration": CHECKPOINT | {"quant", "reference", "runtime", "calibration"},
    "export": GRAPH | {"models", "tokenizer", "reference", "calibration", "export"},
    "inspect": GRAPH | {"models", "export", "inspect"},
    "runtime": {"base", "json", "runtime"},
    "benchmark": {"base", "json", "runtime", "benchmark"},
    "reference": CHECKPOINT | {"quant", "reference"},
    "evaluate": CHECKPOINT | {"quant", "tokenizer", "runtime", "reference", "evaluate"},
}
LANES = {("runtime", f"quant/{name}.hpp") for name in ("isa", "convert", "kernels/lanes_portable", "kernels/values",
         "kernels/target_avx2", "kernels/target_avx512", "kernels/target_end")}  # fmt: skip
EXCEPTIONS = LANES | {("runtime", "graph/names.hpp"), ("evaluate", "graph/names.hpp"), ("benchmark", "graph/names.hpp"),
              ("runtime", "graph/read_ir.hpp"), ("evaluate", "export/directory/contract.hpp")}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def violations(root: Path) -> list[str]:
    """Every include of src/ that its layer does not allow."""
    found = []
    files = sorted(p for p in (root / "src").rglob("*") if p.suffix in {".cpp", ".hpp"})
    if not files:
        found.append(f"no sources below {root / 'src'}")
    for path in files:
        layer = path.relative_to(root / "src").parts[0]
        if layer not in ALLOWED:
            found.append(f"{path.relative_to(root)}: '{layer}' is not a layer")
            continue
        for included in INCLUDE.findall(path.read_text(encoding="utf-8")):
            target = included.split("/")[0]
            if target not in ALLOWED[layer] and (layer, included) not in EXCEPTIONS:
                found.append(f"{path.relative_to(root)}: {layer} must not include '{included}'")
    return found


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = violations(root)
    print("\n".join(found) if found else "layers: every include points downwards")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
