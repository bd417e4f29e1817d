"""Every kind of model, compiled by the GPU plugin for every kind of Intel GPU.

Kernels are stubs here: what is tested is that the plugin takes the graph, and what it makes of it.
"""

from __future__ import annotations

import pytest

import bench
import matrix
from matrix import Row


@pytest.fixture(params=matrix.rows(), ids=lambda row: row.name)
def row(request) -> Row:
    return request.param


def test_compiles(row: Row, compiled: dict[Row, dict], models):
    answer = compiled[row]
    assert "error" not in answer, answer["error"][-1500:]
    layers = answer["layers"]
    loops = {name: count for name, count in layers.items() if "loop" in name.lower() or "iterator" in name.lower()}
    assert not loops, "the delta rule runs as a loop"
    directory = matrix.exported(row, models)
    if row.file in ("openvino_model", "openvino_language_model"):
        expected = matrix.expected_layers(row, directory)
        assert {name: layers.get(name, 0) for name in expected} == expected
    if row.file == "openvino_vision_embeddings_merger_model":
        depth = matrix.vision_depth(directory)
        assert layers["RoPE"] == 2 * depth
        # The towers here have heads narrower than 64, see matrix.expected_layers.
        assert layers.get("scaled_dot_product_attention", 0) == (depth if matrix.has_matrix_engine(row.family) else 0)
    weights = (directory / f"{row.file}.bin").stat().st_size
    kept = matrix.weights_stay(row)
    if kept is not None:
        assert (answer["bytes"] < weights + matrix.BUFFERS) == kept, (answer["bytes"], weights)


@pytest.mark.skipif(bench.REAL, reason="a real GPU is one family")
def test_the_matrix_is_as_wide_as_it_says():
    rows = matrix.rows()
    assert len(set(rows)) == len(rows)
    assert {row.family for row in rows} >= set(matrix.FAMILIES) - {"arrow-lake"}
    assert {row.format for row in rows} == set(matrix.FORMATS)
    assert {row.form for row in rows} == set(matrix.FORMS)
    assert {row.file for row in rows} >= set(matrix.VISION_MODELS)
