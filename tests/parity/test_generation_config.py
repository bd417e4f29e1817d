"""`deltavino generate` under settings of generation_config.json: the tokens of transformers."""

import json
import os
import shutil

import pytest
import torch
from conftest import KJV, run_deltavino
from transformers import AutoModelForImageTextToText, AutoTokenizer, GenerationConfig

PROMPT = "In the beginning God created the heaven and the earth. And the earth"
FREE = 14


@pytest.fixture(scope="module")
def reference():
    return AutoModelForImageTextToText.from_pretrained(KJV, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(KJV)


@pytest.fixture(scope="module")
def free_ids(reference) -> list[int]:
    """What is generated without any setting."""
    return transformers_ids(reference, {"max_new_tokens": FREE, "min_new_tokens": FREE})


def transformers_ids(reference, settings: dict) -> list[int]:
    model, tokenizer = reference
    # Given as an argument: 'max_length' of a model's own file is taken as a number of new tokens there.
    config = GenerationConfig(**settings, do_sample=False, eos_token_id=[4098, 4096], pad_token_id=4096)
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    out = model.generate(ids, attention_mask=torch.ones_like(ids), tokenizer=tokenizer, generation_config=config)
    return out[0, ids.shape[1] :].tolist()


def our_ids(model, settings: dict) -> list[int]:
    (model / "generation_config.json").unlink()
    (model / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [4098, 4096]}))
    result = run_deltavino("generate", model, "--raw", "--json", "--precision", "f32", "--prompt", PROMPT)
    assert result.returncode == 0, result.stderr
    assert "does not do" not in result.stderr
    return json.loads(result.stdout)["ids"]


def cases(free: list[int], tokenizer) -> dict[str, dict]:
    new = {"max_new_tokens": FREE, "min_new_tokens": FREE}
    words = tokenizer.decode(free)
    return {
        "suppress_tokens": {**new, "suppress_tokens": [free[0], free[2]]},
        "begin_suppress_tokens": {**new, "begin_suppress_tokens": [free[0]]},
        "bad_words_ids": {**new, "bad_words_ids": [[free[0]], free[1:3]]},
        "sequence_bias": {**new, "sequence_bias": [[[free[0]], -4.0], [free[1:3], -20.0], [[free[3], 300], 30.0]]},
        "repetition_penalty": {**new, "repetition_penalty": 1.3},
        "encoder_repetition_penalty": {**new, "encoder_repetition_penalty": 1.4},
        "no_repeat_ngram_size": {**new, "no_repeat_ngram_size": 2},
        "encoder_no_repeat_ngram_size": {**new, "encoder_no_repeat_ngram_size": 2},
        "max_length": {"max_length": 25},
        "min_length": {"max_new_tokens": FREE, "min_length": 22, "sequence_bias": [[[4096], 30.0]]},
        "min_new_tokens": {"max_new_tokens": FREE, "min_new_tokens": 3, "sequence_bias": [[[4098], 30.0]]},
        "stop_strings": {"max_new_tokens": FREE, "stop_strings": [words[5:9], "never"]},
        "stop inside a token": {"max_new_tokens": FREE, "stop_strings": words[9:11]},
        "all": {**new, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "suppress_tokens": [free[1]], "bad_words_ids": [[free[4]]]},
    }


def test_tokens_of_transformers(reference, free_ids, kjv_text, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(kjv_text, model, copy_function=os.link)
    lengths = set()
    for name, settings in cases(free_ids, reference[1]).items():
        expected = transformers_ids(reference, settings)
        assert our_ids(model, settings) == expected, name
        assert expected != free_ids, f"{name} changes nothing"
        lengths.add(len(expected))
    assert len(lengths) > 3
