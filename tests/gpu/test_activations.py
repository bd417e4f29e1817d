"""What the GPU plugin makes of `export --dynamic-quantization`, which is meant for CPUs but stands in the file."""

from __future__ import annotations

import pytest

import bench
import matrix

ROW = 2**64 - 1
UNTIL = {"xe-lp": 32, "lunar-lake": ROW, "battlemage": ROW}  # columns that share a scale where the file says nothing


@pytest.mark.skipif(bench.REAL, reason="the families have different defaults")
@pytest.mark.parametrize("family", UNTIL)
def test_the_file_is_heeded(family, models):
    jobs = []
    for said in (None, "128", "off"):
        options = ("--weight-format", "int4", *(() if said is None else ("--dynamic-quantization", said)))
        source = matrix.exported(matrix.Row(family, "wide-dense", "int4", "stateful"), models).parent / "wide-dense"
        directory = bench.export(bench.Source(source, options), models / f"wide-dense-activations-{said}")
        jobs.append({"job": "compile", "xml": str(directory / "openvino_model.xml"), "paged": False})
    plain, grouped, off = bench.run_jobs(jobs, family, True)
    assert "error" not in plain | grouped | off
    assert [int(answer["activation_group"]) for answer in (plain, grouped, off)] == [UNTIL[family], 128, 0]
    products = {name: answer["layers"]["FullyConnected"] for name, answer in zip("pgo", (plain, grouped, off))}
    assert len(set(products.values())) == 1, products
    # Before products the plugin quantizes with a matrix engine only; what it does for its key-value cache is the same.
    quantized = [answer["layers"].get("DynamicQuantize", 0) for answer in (plain, grouped, off)]
    if matrix.has_matrix_engine(family):
        assert quantized[0] == quantized[1] > quantized[2] == 0
    else:
        assert len(set(quantized)) == 1
