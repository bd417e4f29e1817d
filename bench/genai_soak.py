#!/usr/bin/env python3
"""Ask openvino_genai's ContinuousBatchingPipeline many things at once, and compare each answer with the one alone.

    bench/genai_soak.py TEXT_DIR [--requests 3000] [--kinds 48] [--longest 512] [--new-tokens 32] [--seed 0]
                         [--no-prefix-caching] [--json]

Requests of mixed lengths arrive while others are answered, in float32; each must give, token for token, what the
stateful backend answers to its prompt alone. First without, then with prefix caching, of which openvino_genai 2026.4.1
is known to be wrong in three cases (docs/genai.md). Those are left out: no prompt that begins with the whole of another
is answered at the same time, none is a whole number of the intervals at which states are kept, no answer has one token.
What is different all the same is counted. Memory is read when half of the requests were answered, and at the end. Exit
code 1 after a difference without prefix caching.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
INTERVAL = 256
MOST_AT_ONCE = 24


def resident_megabytes() -> float:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


def config(new_tokens: int) -> genai.GenerationConfig:
    return genai.GenerationConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=False, apply_chat_template=False)


def kinds_of_requests(pipeline: genai.LLMPipeline, options: argparse.Namespace, chosen: random.Random) -> list[tuple[ov.Tensor, int, list[int]]]:
    """Prompt, number of new tokens, answer. Half of the prompts begin like another one."""
    text = (Path(__file__).parent.parent / "examples" / "kjv-tiny" / "held_out.txt").read_text()
    ids = pipeline.get_tokenizer().encode(text).input_ids.data[0].tolist()
    kinds, rows = [], []
    while len(kinds) < options.kinds:
        length = int(options.longest ** chosen.random())
        start = chosen.randrange(len(ids) - length)
        row = ids[start : start + length]
        if len(kinds) % 2:
            row = chosen.choice(rows)[:-1] + row
        if len(row) % INTERVAL == 0 or any(row[: len(other)] == other or other[: len(row)] == row for other in rows):
            continue
        rows.append(row)
        new_tokens = chosen.randrange(2, options.new_tokens + 1)
        ones = ov.Tensor(np.ones((1, len(row)), np.int64))
        prompt = ov.Tensor(np.array([row], np.int64))
        answer = pipeline.generate(genai.TokenizedInputs(prompt, ones), config(new_tokens)).tokens[0]
        kinds.append((prompt, new_tokens, list(answer)))
    return kinds


def soak(directory: Path, kinds: list, requests: int, prefix_caching: bool, chosen: random.Random) -> dict:
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = 384
    scheduler.enable_prefix_caching = prefix_caching
    scheduler.max_num_batched_tokens = 96
    scheduler.max_num_seqs = MOST_AT_ONCE
    pipeline = genai.ContinuousBatchingPipeline(str(directory), scheduler, "CPU", FLOAT32)
    waiting = [i % len(kinds) for i in range(requests)]
    chosen.shuffle(waiting)
    running, different, done, most, early = [], [], 0, 0, 0.0
    started = time.monotonic()
    while waiting or running:
        for _ in range(chosen.randrange(4)):
            answered = {kind for kind, _ in running} if prefix_caching else set()
            place = next((i for i in range(len(waiting)) if waiting[i] not in answered), None)
            if place is not None and len(running) < 2 * MOST_AT_ONCE:
                kind = waiting.pop(place)
                running.append((kind, pipeline.add_request(len(waiting), kinds[kind][0], config(kinds[kind][1]))))
        if pipeline.has_non_finished_requests():
            pipeline.step()
        most = max(most, len(running))
        still = []
        for kind, handle in running:
            if handle.get_status() == genai.GenerationStatus.RUNNING:
                still.append((kind, handle))
                continue
            (found,) = handle.read_all()
            different += [] if list(found.generated_ids) == kinds[kind][2] else [kind]
            done += 1
        running = still
        if not early and done >= requests / 2:
            early = resident_megabytes()
    return {
        "prefix_caching": prefix_caching,
        "requests": done,
        "differences": len(different),
        "kinds_with_differences": sorted(set(different)),
        "most_at_once": most,
        "early_mb": round(early, 1),
        "grown_mb": round(resident_megabytes() - early, 1),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--kinds", type=int, default=48)
    parser.add_argument("--longest", type=int, default=512, help="tokens of the longest piece of text in a prompt")
    parser.add_argument("--new-tokens", type=int, default=32, help="of the longest answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-prefix-caching", action="store_true", help="leave out the second run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = random.Random(options.seed)
    alone = genai.LLMPipeline(str(options.directory), "CPU", ATTENTION_BACKEND="SDPA", **FLOAT32)
    kinds = kinds_of_requests(alone, options, chosen)
    runs = [soak(options.directory, kinds, options.requests, caching, chosen) for caching in ((False,) if options.no_prefix_caching else (False, True))]
    if options.json:
        print(json.dumps({"genai": genai.__version__, "runs": runs}))
    else:
        for run in runs:
            print(f"prefix caching {'on' if run['prefix_caching'] else 'off'}: {run['requests']} requests, at most {run['most_at_once']} at once, "
                  f"{run['differences']} differences, {run['early_mb']} MB after half, {run['grown_mb']:+} MB since, {run['seconds']} s")  # fmt: skip
    return int(runs[0]["differences"] > 0)


if __name__ == "__main__":
    sys.exit(main())
