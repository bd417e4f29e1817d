"""openvino_genai on the exported text model gives the tokens of transformers, on both backends by name."""

import numpy as np
import openvino as ov
import openvino_genai as genai
import pytest

FLOAT32 = {
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
}


@pytest.fixture(scope="module", params=["PA", "SDPA"])
def pipeline(request, kjv_text):
    return genai.LLMPipeline(str(kjv_text), "CPU", ATTENTION_BACKEND=request.param, **FLOAT32)


def greedy_config(new_tokens: int) -> genai.GenerationConfig:
    config = genai.GenerationConfig()
    config.max_new_tokens = new_tokens
    config.ignore_eos = True
    config.do_sample = False
    return config


def generate(pipeline, rows: list[list[int]], new_tokens: int) -> list[list[int]]:
    """Continues rows of equal or different length, padded on the left as GenAI's tokenizer does."""
    width = max(map(len, rows))
    ids = np.array([[0] * (width - len(row)) + row for row in rows], np.int64)
    mask = np.array([[0] * (width - len(row)) + [1] * len(row) for row in rows], np.int64)
    inputs = genai.TokenizedInputs(ov.Tensor(ids), ov.Tensor(mask))
    return pipeline.generate(inputs, greedy_config(new_tokens)).tokens


@pytest.mark.parametrize("index", [0, 1, 2], ids=["1-token", "40-tokens", "500-tokens"])
def test_greedy_tokens(pipeline, greedy, index):
    entry = greedy["single"][index]
    assert generate(pipeline, [entry["prompt_ids"]], greedy["new_tokens"]) == [entry["continuation_ids"]]


def test_batch_of_different_lengths(pipeline, greedy):
    rows = [entry["prompt_ids"] for entry in greedy["batch"]]
    expected = [entry["continuation_ids"] for entry in greedy["batch"]]
    assert generate(pipeline, rows, greedy["new_tokens"]) == expected


def test_text_in_text_out(pipeline, greedy):
    """The exported tokenizer and detokenizer, inside GenAI."""
    entry = greedy["single"][1]
    config = greedy_config(greedy["new_tokens"])
    config.apply_chat_template = False
    assert str(pipeline.generate(entry["prompt_text"], config)) == entry["continuation_text"]


def test_prompt_in_pieces_is_the_same(kjv_text, greedy):
    """Chunked prefill and two requests at once in the scheduler of continuous batching."""
    scheduler = genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = 64
    scheduler.dynamic_split_fuse = True
    scheduler.cache_size = 1
    pipeline = genai.ContinuousBatchingPipeline(str(kjv_text), scheduler, "CPU", FLOAT32)
    entries = [greedy["single"][2], greedy["single"][1]]
    config = greedy_config(greedy["new_tokens"])
    ids = [ov.Tensor(np.array([entry["prompt_ids"]], np.int64)) for entry in entries]
    results = pipeline.generate(ids, [config, config])
    assert [list(result.m_generation_ids[0]) for result in results] == [entry["continuation_ids"] for entry in entries]
