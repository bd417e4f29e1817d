"""Writes logits/processors.json: what transformers' logits processors make of random logits.

    .venv-parity/bin/python tests/golden/logits.py
"""

import json
import random
from pathlib import Path

import torch
from transformers import GenerationConfig
from transformers.generation import GenerationMixin

VOCABULARY = 12
EOS = [3, 7]
SETTINGS = {
    "bias": {"sequence_bias": [[[4], 1.5], [[2, 5], -3.25], [[1, 2, 6], 4.0], [[9, 9, 9, 9, 9, 9, 9, 9, 2, 5], 8.0]]},
    "repetition penalty": {"repetition_penalty": 1.3},
    "encoder repetition penalty": {"encoder_repetition_penalty": 1.7},
    "no repeated pair": {"no_repeat_ngram_size": 2},
    "no repeated token": {"no_repeat_ngram_size": 1},
    "no repeated triple": {"no_repeat_ngram_size": 3},
    "no pair of the prompt": {"encoder_no_repeat_ngram_size": 2},
    "bad words": {"bad_words_ids": [[4], [2, 5], [1, 2, 8], [3], [3, 7]]},
    "least length": {"min_length": 7},
    "least new tokens": {"min_new_tokens": 2},
    "both least": {"min_new_tokens": 1, "min_length": 20},
    "suppress": {"suppress_tokens": [0, 11, 99]},
    "suppress at the beginning": {"begin_suppress_tokens": [1, 2]},
    "all": {
        "sequence_bias": [[[4], 1.5], [[2, 5], 30.25]],
        "encoder_repetition_penalty": 1.1,
        "repetition_penalty": 1.2,
        "no_repeat_ngram_size": 2,
        "encoder_no_repeat_ngram_size": 3,
        "bad_words_ids": [[10], [2, 6]],
        "min_new_tokens": 3,
        "suppress_tokens": [0],
        "begin_suppress_tokens": [8],
    },
}
# Prompt and answer so far.
CONTEXTS = [([1, 2], []), ([1, 2, 5, 1, 2], []), ([1, 2, 5], [1, 2]), ([9, 9, 4], [9, 9, 2]), ([6], [1, 2, 6, 1, 2])]


def processed(settings: dict, prompt: list[int], answer: list[int], logits: list[float]) -> list[float | None]:
    config = GenerationConfig(**settings, eos_token_id=EOS)
    config._eos_token_tensor = torch.tensor(EOS)
    if config.min_new_tokens is not None:  # as _prepare_generated_length does
        config.min_length = config.min_new_tokens + len(prompt)
    processors = GenerationMixin()._get_logits_processor(config, len(prompt), torch.tensor([prompt]), device="cpu")
    assert len(processors) > 0
    scores = processors(torch.tensor([prompt + answer]), torch.tensor([logits], dtype=torch.float32))
    return [None if value == float("-inf") else value for value in scores[0].tolist()]


def main() -> None:
    random.seed(5)
    cases = []
    for name, settings in SETTINGS.items():
        for prompt, answer in CONTEXTS:
            logits = [float(torch.tensor(random.uniform(-6, 6), dtype=torch.float32)) for _ in range(VOCABULARY)]
            cases.append({"name": name, "settings": settings, "prompt": prompt, "answer": answer, "logits": logits, "expected": processed(settings, prompt, answer, logits)})
    target = Path(__file__).parent / "logits"
    target.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(case) for case in cases)
    (target / "processors.json").write_text(f'{{"eos": {EOS}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
