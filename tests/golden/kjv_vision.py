"""Greedy answers of the trained example model about pictures, through its own HF processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer

from kjv import MIN_MARGIN, MODEL, load_model
from weights import write_json

LIMIT = 30  # answers are shorter: they stop at an end-of-sequence id, which is kept
QUESTION = "What is in the picture?"
GREEN, RED, YELLOW = "green-square-on-white", "red-circle-on-blue", "yellow-triangle-on-black"

Message = dict[str, Any]


@dataclass(frozen=True)
class Chat:
    """A conversation that waits for an answer."""

    name: str
    messages: list[Message]
    pictures: tuple[str, ...] = ()


def user(text: str, pictures: int = 0) -> Message:
    """A user's message: pictures first, then text."""
    parts: list[Message] = [{"type": "image"}] * pictures
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def chats() -> list[Chat]:
    """The recorded conversations."""
    answer = {"role": "assistant", "content": "A red circle on a blue ground."}
    second_turn = [user(QUESTION, 1), answer, user(QUESTION, 1)]
    return [
        *[Chat(name, [user(QUESTION, 1)], (name,)) for name in (GREEN, RED, YELLOW)],
        Chat("two pictures", [user(QUESTION, 2)], (GREEN, RED)),
        Chat("two pictures, other order", [user(QUESTION, 2)], (RED, GREEN)),
        Chat("second turn with another picture", second_turn, (RED, GREEN)),
        Chat("text only", [user(QUESTION)]),
        Chat("text only, words it was not asked before", [user("And the LORD said unto Moses")]),
    ]


def answer(
    model: transformers.PreTrainedModel, ids: list[int], media: dict[str, torch.Tensor]
) -> tuple[list[int], float]:
    """The greedy answer by full forwards, and the smallest lead its tokens had."""
    ends = model.generation_config.eos_token_id
    reply: list[int] = []
    smallest = float("inf")
    while len(reply) < LIMIT and (not reply or reply[-1] not in ends):
        model.model.rope_deltas = None
        row = torch.tensor([ids + reply])
        mask = torch.ones_like(row)
        logits = model(input_ids=row, attention_mask=mask, use_cache=False, **media).logits
        best = logits[0, -1].topk(2)
        smallest = min(smallest, (best.values[0] - best.values[1]).item())
        reply.append(best.indices[0].item())
    return reply, smallest


def cached_answer(
    model: transformers.PreTrainedModel, ids: list[int], media: dict[str, torch.Tensor]
) -> list[int]:
    """The same answer by transformers' own cached generation."""
    model.model.rope_deltas = None
    row = torch.tensor([ids])
    output = model.generate(
        input_ids=row,
        attention_mask=torch.ones_like(row),
        max_new_tokens=LIMIT,
        do_sample=False,
        **media,
    )
    return output[0, len(ids) :].tolist()


def entry(
    model: transformers.PreTrainedModel,
    processor: transformers.ProcessorMixin,
    tokenizer: Tokenizer,
    chat: Chat,
) -> dict[str, Any]:
    """The JSON of one conversation; refuses unclear answers."""
    text = processor.apply_chat_template(chat.messages, add_generation_prompt=True)
    pictures = [Image.open(MODEL / "pictures" / f"{name}.png") for name in chat.pictures]
    inputs = processor(text=[text], images=pictures or None, return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    media = {k: inputs[k] for k in ("pixel_values", "image_grid_thw") if k in inputs}
    reply, margin = answer(model, ids, media)
    if margin <= MIN_MARGIN or cached_answer(model, ids, media) != reply:
        raise RuntimeError(f"the answer to '{chat.name}' is not clear (margin {margin:.4f})")
    row = torch.tensor([ids])
    grids = inputs.get("image_grid_thw")
    _, delta = model.model.get_rope_index(row, image_grid_thw=grids)
    return {
        "name": chat.name,
        "pictures": [f"pictures/{name}.png" for name in chat.pictures],
        "messages": chat.messages,
        "prompt_text": text,
        "prompt_ids": ids,
        "image_grid_thw": [] if grids is None else grids.tolist(),
        "rope_delta": delta.item(),
        "answer_ids": reply,
        "answer_text": tokenizer.decode(reply, skip_special_tokens=False),
        "smallest_margin": round(margin, 4),
    }


@torch.no_grad()
def generate(folder: Path) -> None:
    """Write vision.json."""
    model = load_model()
    processor = transformers.AutoProcessor.from_pretrained(MODEL)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    note = (
        "Greedy, weights upcast to float32. Answers end with their end-of-sequence id. "
        "prompt_text has one placeholder per picture, prompt_ids one per merged patch."
    )
    write_json(
        folder / "vision.json",
        {
            "model": "examples/kjv-tiny",
            "note": note,
            "transformers": transformers.__version__,
            "chats": [entry(model, processor, tokenizer, chat) for chat in chats()],
        },
    )
