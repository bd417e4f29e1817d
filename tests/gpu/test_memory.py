"""What `inspect --device GPU` says of the weights is what the plugin allocates."""

from __future__ import annotations

import json
import subprocess

import pytest

import bench
import matrix
from matrix import Row

# Beside weights there are buffers; they were about 450 kB for these models, whatever the format.
ROWS = [Row(family, model, format_, "stateful") for family in ("xe-lp", "lunar-lake")
        for model in ("wide-dense", "wide-moe") for format_ in ("fp16", "int8", "int4", "nf4", "mxfp4")]  # fmt: skip


@pytest.fixture(params=ROWS if not bench.REAL else [], ids=lambda row: row.name)
def row(request) -> Row:
    return request.param


def test_inspect_says_what_the_plugin_allocates(row: Row, compiled: dict[Row, dict], models):
    said = subprocess.run([bench.PROGRAM, "inspect", matrix.exported(row, models), "--device", "GPU", "--json"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    # Exit code 3: the directories here have no tokenizer.
    memory = json.loads(said.stdout)["memory"]
    weights = memory["weights"] + (0 if matrix.FAMILIES[row.family] else memory["widened_experts"])
    buffers = compiled[row]["bytes"] - weights
    assert 0 < buffers < matrix.BUFFERS, (memory, compiled[row]["bytes"])
