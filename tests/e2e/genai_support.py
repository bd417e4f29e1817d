"""openvino_genai in float32, each backend by name: LLMPipeline falls back from one to the other without an error."""

import random
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
from conftest import KJV

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
BLOCK = 32  # tokens of one block of the cache on the CPU
INTERVAL = 8 * BLOCK  # tokens between two copies of the linear layers' states, unless something else is set


def paged(model: Path, properties: dict[str, object] | None = None, **settings: object) -> genai.ContinuousBatchingPipeline:
    """Continuous batching, which has no other form than the paged one. `settings`: of SchedulerConfig."""
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = 128
    for name, value in settings.items():
        setattr(scheduler, name, value)
    return genai.ContinuousBatchingPipeline(str(model), scheduler, "CPU", FLOAT32 | (properties or {}))


def stateful(model: Path, **properties: object) -> genai.LLMPipeline:
    return genai.LLMPipeline(str(model), "CPU", ATTENTION_BACKEND="SDPA", **FLOAT32, **properties)


def greedy_config(new_tokens: int, **more: object) -> genai.GenerationConfig:
    values = {"max_new_tokens": new_tokens, "ignore_eos": True, "do_sample": False, "apply_chat_template": False}
    return genai.GenerationConfig(**values | more)


def row_of(ids: list[int]) -> ov.Tensor:
    return ov.Tensor(np.array([ids], np.int64))


def held_out_rows(tokenizer: genai.Tokenizer, lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Pieces of these lengths of the text that the bundled model was not trained on."""
    ids = tokenizer.encode((KJV / "held_out.txt").read_text()).input_ids.data[0].tolist()
    chosen = random.Random(seed)
    return [ids[start : start + length] for length in lengths for start in [chosen.randrange(len(ids) - length)]]


def one_by_one(pipeline: genai.LLMPipeline, ids: list[int], config: genai.GenerationConfig) -> genai.EncodedResults:
    return pipeline.generate(genai.TokenizedInputs(row_of(ids), row_of([1] * len(ids))), config)


def answer(pipeline: genai.LLMPipeline, ids: list[int], config: genai.GenerationConfig) -> list[int]:
    return list(one_by_one(pipeline, ids, config).tokens[0])


def together(pipeline: genai.ContinuousBatchingPipeline, rows: list[list[int]],
             configs: list[genai.GenerationConfig]) -> list[list[int]]:  # fmt: skip
    results = pipeline.generate([row_of(ids) for ids in rows], configs)
    return [list(result.m_generation_ids[0]) for result in results]
