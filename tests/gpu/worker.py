"""Runs in an environment of bench.py: reads jobs as JSON from standard input, prints "ANSWER {...}" for each.

compile: {"xml", "paged", "config"} -> {"layers": {type: count}, "primitives": {"type:kernel": count}, "bytes"}
logits:  {"xml", "calls", "config", "paged"} -> {"file"}: see `schedules`
"""

import collections
import gc
import json
import sys
import time

import numpy as np
import openvino as ov

DEVICE = "GPU"


def read(xml: str, paged: bool) -> ov.Model:
    model = ov.Core().read_model(xml)
    if paged:
        from openvino._offline_transformations import paged_attention_transformation

        paged_attention_transformation(model)
    return model


def compile_job(core: ov.Core, job: dict) -> dict:
    """How often each kind of operation stands in the compiled graph, and which kernel it got."""
    before = core.get_property(DEVICE, "GPU_MEMORY_STATISTICS")
    compiled = core.compile_model(read(job["xml"], job["paged"]), DEVICE, job.get("config", {}))
    after = core.get_property(DEVICE, "GPU_MEMORY_STATISTICS")
    layers: collections.Counter = collections.Counter()
    primitives: collections.Counter = collections.Counter()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "layerType" in info:
            kind = info["layerType"].astype(str)
            layers[kind] += 1
            if "primitiveType" in info:
                primitives[f"{kind}:{info['primitiveType'].astype(str)}"] += 1
    del compiled
    gc.collect()
    return {"layers": layers, "primitives": primitives,
            "bytes": sum(after.values()) - sum(before.values())}  # fmt: skip


JOBS = {"compile": compile_job}


def main() -> None:
    core = ov.Core()
    for job in json.load(sys.stdin):
        begin = time.monotonic()
        try:
            answer = JOBS[job["job"]](core, job)
        except Exception as failure:  # what the plugin throws is the result
            answer = {"error": f"{type(failure).__name__}: {failure}"}
        print("ANSWER " + json.dumps({**answer, "seconds": round(time.monotonic() - begin, 2)}), flush=True)


if __name__ == "__main__":
    main()
