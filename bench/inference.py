#!/usr/bin/env python3
"""Prefill and decode speed, load time and peak memory of exported text models, alternating in one run.

    bench/inference.py DIR [DIR ...] [--prefill 512] [--decode 64] [--rounds 3] [--precision f32]

Each measurement is a process of its own: load, prefill, then single tokens, through the stateful model on
the CPU, with the head cut down to the last token as openvino_genai does. The first prefill of a length
allocates and is not counted. Medians over rounds; decode is the median over tokens of each round.
bench/sparse_checkpoint.py --full makes mixtures of experts of real width.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np
import openvino as ov
import openvino.opset13 as opset


def status(key: str) -> float:
    """A line of /proc/self/status, in megabytes."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(key))


def feeds(model: ov.CompiledModel, ids: np.ndarray, past: int) -> dict:
    rows, length = ids.shape
    values = {"input_ids": ids, "attention_mask": np.ones((rows, past + length), np.int64), "beam_idx": np.arange(rows, dtype=np.int32)}
    positions = np.arange(past, past + length)[None].repeat(rows, 0)
    for port in model.inputs:
        if port.any_name == "position_ids":
            rank = port.partial_shape.rank.get_length()
            values["position_ids"] = positions if rank == 2 else positions[None].repeat(port.partial_shape[0].get_length(), 0)
    return {port.any_name: values[port.any_name] for port in model.inputs}


def keep_last_token(model: ov.Model) -> None:
    """Only the last token goes through the head."""
    head = model.output(0).get_node().input_value(0).get_node()
    assert head.get_type_name() == "MatMul", head.get_type_name()
    last = opset.slice(head.input_value(0), np.array([-1]), np.array([np.iinfo(np.int64).max]), np.array([1]), np.array([1]))
    head.input(0).replace_source_output(last.output(0))
    model.validate_nodes_and_infer_types()


def measure(directory: str, prefill: int, decode: int, properties: dict) -> dict:
    core = ov.Core()
    options = {"PERFORMANCE_HINT": "LATENCY", **properties}
    start = time.perf_counter()
    read = core.read_model(f"{directory}/openvino_model.xml")
    keep_last_token(read)
    model = core.compile_model(read, "CPU", options)
    result = {"load s": time.perf_counter() - start, "load peak MB": status("VmHWM")}
    request = model.create_infer_request()
    generator = np.random.default_rng(0)
    vocabulary = model.output(0).partial_shape[-1].get_length()
    prompt = generator.integers(0, vocabulary, (1, prefill))
    request.infer(feeds(model, prompt, 0))  # the first call of a length prepares kernels
    request.reset_state()
    start = time.perf_counter()
    request.infer(feeds(model, prompt, 0))
    result["prefill tokens/s"] = prefill / (time.perf_counter() - start)
    times = []
    for i in range(decode):
        token = generator.integers(0, vocabulary, (1, 1))  # new experts each time
        start = time.perf_counter()
        request.infer(feeds(model, token, prefill + i))
        times.append(time.perf_counter() - start)
    result["decode tokens/s"] = 1 / statistics.median(times)
    result["anonymous MB"] = status("RssAnon")
    counts: dict[str, int] = {}
    for node in model.get_runtime_model().get_ops():
        kind = node.get_rt_info()["layerType"]
        kind = kind if isinstance(kind, str) else kind.get()
        counts[kind] = counts.get(kind, 0) + 1
    result["layers"] = {kind: counts.get(kind, 0) for kind in ["GatherMatmul", "GatedDeltaNet", "ScaledDotProductAttention", "FullyConnected", "TensorIterator"]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directories", nargs="+")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", help="INFERENCE_PRECISION_HINT; the plugin's choice without it")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        properties = {"INFERENCE_PRECISION_HINT": arguments.precision} if arguments.precision else {}
        print(json.dumps(measure(arguments.directories[0], arguments.prefill, arguments.decode, properties)))
        return
    print(f"openvino {ov.get_version()}, prefill {arguments.prefill}, decode {arguments.decode}, {arguments.rounds} rounds")
    results: dict[str, list[dict]] = {directory: [] for directory in arguments.directories}
    for _ in range(arguments.rounds):
        for directory in arguments.directories:
            command = [sys.executable, __file__, directory, "--one", "--prefill", str(arguments.prefill), "--decode", str(arguments.decode)]
            command += ["--precision", arguments.precision] if arguments.precision else []
            results[directory].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for directory, rounds in results.items():
        medians = {key: statistics.median(r[key] for r in rounds) for key in rounds[0] if key != "layers"}
        print(f"{directory}\n  " + ", ".join(f"{key} {value:.1f}" for key, value in medians.items()) + f"\n  {rounds[0]['layers']}")


if __name__ == "__main__":
    main()
