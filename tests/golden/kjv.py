"""Greedy continuations of the trained example model, to compare whole generations with.

Tokens are compared exactly, so a prompt is recorded only if at every step the best logit leads
the second by more than MIN_MARGIN: engines that compute in float32 then agree with each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer

from reference import row_logits
from weights import write_json

MODEL = Path(__file__).resolve().parents[2] / "examples" / "kjv-tiny"
NEW_TOKENS = 30
MIN_MARGIN = 0.02
SINGLE = (1, 40, 500)  # prompt lengths in tokens
BATCH = (7, 23, 60)  # different lengths in one batch, so that two rows get padded


def load_model() -> transformers.PreTrainedModel:
    """The example model in float32."""
    cls = transformers.Qwen3_5ForConditionalGeneration
    return cls.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()


def candidates(tokenizer: Tokenizer, length: int) -> Iterator[tuple[str, list[int]]]:
    """Held-out passages of exactly `length` tokens that encode back to themselves."""
    lines = (MODEL / "held_out.txt").read_text(encoding="utf-8").splitlines()
    for start in range(len(lines)):
        text = "\n".join(lines[start : start + length])
        ids = tokenizer.encode(text, add_special_tokens=False).ids[:length]
        prompt = tokenizer.decode(ids, skip_special_tokens=False)
        again = tokenizer.encode(prompt, add_special_tokens=False).ids
        if len(ids) == length and again == ids:
            yield prompt, ids


def greedy(model: torch.nn.Module, prompt: list[int], steps: int) -> tuple[list[int], float]:
    """The argmax continuation by full forwards, and the smallest lead it had."""
    ids, smallest = list(prompt), float("inf")
    for _ in range(steps):
        best = row_logits(model, torch.tensor(ids))[-1].topk(2)
        smallest = min(smallest, (best.values[0] - best.values[1]).item())
        if smallest <= MIN_MARGIN:
            break
        ids.append(best.indices[0].item())
    return ids[len(prompt) :], smallest


def with_cache(model: transformers.PreTrainedModel, prompt: list[int]) -> list[int]:
    """The same continuation by transformers' own cached generation."""
    model.model.rope_deltas = None
    ids = torch.tensor([prompt])
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        eos_token_id=-1,
        pad_token_id=0,
    )
    return output[0, len(prompt) :].tolist()


def find_prompt(
    model: transformers.PreTrainedModel, tokenizer: Tokenizer, length: int, used: set[str]
) -> dict:
    """The first passage of a length whose continuation is clear at every step."""
    for text, prompt in candidates(tokenizer, length):
        if text in used:
            continue
        used.add(text)
        answer, margin = greedy(model, prompt, NEW_TOKENS)
        if margin > MIN_MARGIN:
            if with_cache(model, prompt) != answer:
                raise RuntimeError(f"cached and plain generation differ after {text!r}")
            return {
                "prompt_text": text,
                "prompt_ids": prompt,
                "continuation_ids": answer,
                "continuation_text": tokenizer.decode(answer, skip_special_tokens=False),
                "smallest_margin": round(margin, 4),
            }
    raise RuntimeError(f"no passage of {length} tokens has a clear continuation")


def generate(folder: Path) -> None:
    """Write greedy.json."""
    model, tokenizer = load_model(), Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    used: set[str] = set()
    single = [find_prompt(model, tokenizer, length, used) for length in SINGLE]
    batch = [find_prompt(model, tokenizer, length, used) for length in BATCH]
    note = (
        f"Exactly {NEW_TOKENS} greedy tokens each: end-of-sequence ids do not stop it. "
        "Weights upcast to float32. Prompts are encoded without special tokens."
    )
    write_json(
        folder / "greedy.json",
        {
            "model": "examples/kjv-tiny",
            "note": note,
            "new_tokens": NEW_TOKENS,
            "ignore_eos": True,
            "transformers": transformers.__version__,
            "single": single,
            "batch": batch,
        },
    )
