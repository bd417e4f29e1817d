"""Fixtures of the bench. All models are compiled before the first test looks at one: a process a family."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench
import matrix


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """The folder of exported models."""
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="session")
def compiled(request, models) -> dict[matrix.Row, dict]:
    """The answer of the plugin for every row of the matrix whose test was chosen."""
    rows = {item.callspec.params["row"]: None for item in request.session.items
            if "row" in getattr(getattr(item, "callspec", None), "params", {})}  # fmt: skip
    jobs: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        xml = matrix.exported(row, models) / f"{row.file}.xml"
        config = {"INFERENCE_PRECISION_HINT": row.hint}
        jobs[row.family].append({"job": "compile", "xml": str(xml), "paged": row.form == "paged", "config": config})
    answers = bench.run_families(jobs)
    found = {row: answers[row.family].pop(0) for row in rows}
    if len(rows) == len(matrix.rows()):  # not when some tests were chosen
        write_table(found)
    return found


def pytest_terminal_summary(terminalreporter) -> None:
    """One line for .ci/run, which shows it beside the gate."""
    without = [report for report in terminalreporter.stats.get("skipped", []) if bench.NO_HALF in str(report.longrepr)]
    if without:
        terminalreporter.write_line(f"NOT RUN: {len(without)} tests in f16: {bench.NO_HALF}")


def write_table(found: dict[matrix.Row, dict]) -> None:
    """The table of docs/gpu.md, in the build folder. Formats and forms that came out the same share a line."""
    families = list(dict.fromkeys(row.family for row in found))
    cells: dict[tuple, dict[str, str]] = defaultdict(dict)
    for row, answer in found.items():
        file = "" if row.file == "openvino_model" else ", " + row.file.removeprefix("openvino_").removesuffix("_model")
        cells[row.model + file, row.format, row.form][row.family] = outcome(row, answer)
    lines: dict[tuple, list[tuple[str, str]]] = defaultdict(list)
    for (model, format_, form), outcomes in cells.items():
        lines[model, *(outcomes.get(family, "") for family in families)].append((format_, form))
    text = f"| model | weights | form | {' | '.join(families)} |\n|{'---|' * (3 + len(families))}\n"
    for (model, *outcomes), kinds in lines.items():
        formats, forms = (", ".join(dict.fromkeys(names)) for names in zip(*kinds, strict=True))
        text += f"| {model} | {formats} | {forms} | {' | '.join(outcomes)} |\n"
    folder = bench.BUILD / "gpu"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "matrix.txt").write_text(text)


def outcome(row: matrix.Row, answer: dict) -> str:
    if "error" in answer:
        return "refused"
    if "moe_3gemm_fused_compressed" in answer["layers"]:
        return "experts fused"
    experts = ("moe" in row.model or "next" in row.model) and row.file in ("openvino_model", "openvino_language_model")
    return "experts not fused" if experts else "compiles"
