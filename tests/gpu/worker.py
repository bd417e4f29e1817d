"""Runs in an environment of bench.py: reads jobs as JSON from standard input, prints "ANSWER {...}" for each.

compile: {"xml", "paged", "config"} -> {"layers": {type: count}, "primitives": {"type:kernel": count}, "bytes",
         "wide": [name of a product in f32], "activation_group": text}
logits:  {"xml", "paged", "config", "expected"} -> {schedule: {"largest", "mean", "same"}}, see schedules.py;
         with "like": "CPU" the inputs are those of "expected" and the answers the CPU plugin's on the same file
outputs: {"xml", "config", "inputs"} -> {"largest", "mean"}: errors of a model of one output, as shares of the largest
         number of the CPU plugin's in f32 on the same file
capabilities: {} -> {"capabilities": [name]} of the device
tokens:  {"model", "config", "prompts", "count"} -> {"tokens": [[id]]}: GenAI's greedy continuation
answers: {"model", "config", "chats": [[question, picture]]} -> {"texts": [text]}: GenAI's answers about pictures
"""

import collections
import gc
import json
import sys
import time

import numpy as np
import openvino as ov
from safetensors.numpy import load_file

import schedules
from schedules import DEVICE


def read(xml: str, paged: bool) -> ov.Model:
    model = ov.Core().read_model(xml)
    if paged:
        from openvino._offline_transformations import paged_attention_transformation

        paged_attention_transformation(model)
    return model


def inputs_are_f32(node: ov.Node) -> bool:
    source = node.input_value(0).get_node().get_rt_info()
    return source["outputPrecisions"].astype(str) == "f32"


def compile_job(core: ov.Core, job: dict) -> dict:
    """How often each kind of operation stands in the compiled graph, and which kernel it got."""
    before = core.get_property(DEVICE, "GPU_MEMORY_STATISTICS")
    compiled = core.compile_model(read(job["xml"], job["paged"]), DEVICE, job.get("config", {}))
    after = core.get_property(DEVICE, "GPU_MEMORY_STATISTICS")
    layers: collections.Counter = collections.Counter()
    primitives: collections.Counter = collections.Counter()
    wide = []
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if "layerType" in info:
            kind = info["layerType"].astype(str)
            layers[kind] += 1
            if "primitiveType" in info:
                primitives[f"{kind}:{info['primitiveType'].astype(str)}"] += 1
            if kind == "FullyConnected" and inputs_are_f32(node):
                wide.append(node.get_friendly_name())
    group = str(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE"))
    del compiled
    gc.collect()
    return {"layers": layers, "primitives": primitives, "wide": wide, "activation_group": group,
            "bytes": sum(after.values()) - sum(before.values())}  # fmt: skip


def logits_job(core: ov.Core, job: dict) -> dict:
    compiled = core.compile_model(read(job["xml"], job["paged"]), DEVICE, job["config"])
    expected = load_file(job["expected"])
    if job.get("like") == "CPU":
        exact = {**job["config"], "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
        on_cpu = schedules.run_stateful(core.compile_model(job["xml"], "CPU", exact), expected)
        on_gpu = schedules.run_stateful(compiled, expected)
        return {name: schedules.figures(on_gpu[name][0], on_cpu[name][0]) for name in on_gpu}
    if job["paged"]:
        found = schedules.run_paged(compiled, core.get_default_context(DEVICE), expected)
    else:
        found = schedules.run_stateful(compiled, expected)
    return {name: schedules.figures(*pair) for name, pair in found.items()}


def outputs_job(core: ov.Core, job: dict) -> dict:
    inputs = load_file(job["inputs"])
    exact = core.compile_model(job["xml"], "CPU", {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"})
    found = core.compile_model(job["xml"], DEVICE, job["config"])(inputs)[0]
    figures = schedules.figures(found, exact(inputs)[0])
    return {"largest": figures["largest"], "mean": figures["mean"]}


def greedy(count: int):
    import openvino_genai

    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = count
    config.do_sample = config.apply_chat_template = False
    config.ignore_eos = True
    return config


def tokens_job(_: ov.Core, job: dict) -> dict:
    import openvino_genai

    pipe = openvino_genai.LLMPipeline(job["model"], job.get("device", DEVICE), **job["config"])
    tokens = []
    for prompt in job["prompts"]:
        ids = np.array([prompt], np.int64)
        inputs = openvino_genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(np.ones_like(ids)))
        tokens.append(list(map(int, pipe.generate(inputs, greedy(job["count"])).tokens[0])))
    return {"tokens": tokens}


def answers_job(_: ov.Core, job: dict) -> dict:
    import openvino_genai
    from PIL import Image

    pipe = openvino_genai.VLMPipeline(job["model"], DEVICE, **job["config"])
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.do_sample = 30, False
    texts = []
    for question, picture in job["chats"]:
        pixels = ov.Tensor(np.array(Image.open(picture).convert("RGB"))[None])
        texts.append(pipe.generate(question, images=[pixels], generation_config=config).texts[0])
    return {"texts": texts}


def capabilities_job(core: ov.Core, _: dict) -> dict:
    return {"capabilities": list(core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))}


JOBS = {
    "answers": answers_job,
    "capabilities": capabilities_job,
    "compile": compile_job,
    "logits": logits_job,
    "outputs": outputs_job,
    "tokens": tokens_job,
}


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
