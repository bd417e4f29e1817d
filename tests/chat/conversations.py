"""Random conversations: pictures, thinking, tool calls over several steps, and wrong ones."""

from __future__ import annotations

import random

WORDS = ["What", "is", "λόγος", "日本", "e\u0301", "😀", "a\nb", "\n\n", "  ", "\t", "\u00a0", "\u3000", "\u2028", "\x1f", "'", '"', "{{ x }}", "{% y %}", "<b>", "&amp;", "\\n", "</think>", "<think>", "user", "\u200b", "<|im_end|>", "<|image_pad|>", "/no_think", "<tool_response>", "</tool_response>", "%s", "{}"]
VALUES = [1, -2.5, True, None, "text", "<é>\n", [], [1, "b", {"c": None}], {"k": {"l": [1.0, 1e30]}}, "", 10**12]
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": " Tells the weather.\n", "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "Where, e.g. Köln"}, "days": {"type": ["integer", "null"], "enum": [1, 2, 3], "default": 1}}, "required": ["city"], "$defs": {"x": {}}}, "strict": True}},
    {"type": "function", "function": {"name": "run", "parameters": {"type": "object", "properties": {}}}},
    {"name": "plain", "description": "no wrapper <|im_end|>", "parameters": {"properties": {"b": {"anyOf": [{"type": "string"}]}, "a": {}}}},
]


def text(r: random.Random) -> str:
    return r.choice(["", " ", "\n"]) + r.choice(["", " "]).join(r.choices(WORDS, k=r.randint(0, 9))) + r.choice(["", "\n ", " "])


def calls(r: random.Random) -> list[dict]:
    made = []
    for _ in range(r.randint(1, 3)):
        function = {"name": r.choice(["weather", "run"]), "arguments": {r.choice(["city", "days", "ключ"]): r.choice(VALUES) for _ in range(r.randint(0, 3))}}
        made.append({"type": "function", "id": "1", "function": function} if r.random() < 0.7 else function)
    return made


def conversation(r: random.Random) -> list[dict]:
    messages: list[dict] = [{"role": "system", "content": text(r)}] if r.random() < 0.5 else []
    for _ in range(r.randint(0 if r.random() < 0.1 else 1, 4)):
        content: str | list = text(r)
        if r.random() < 0.3:
            parts = [r.choice([{"type": "image"}, {"type": "image", "image": "x.png"}, {"type": "video"}, {"image_url": "u"}]) for _ in range(r.randint(0, 3))]
            content = [*parts, {"type": "text", "text": content}]
        messages.append({"role": "user", "content": content})
        while r.random() < 0.3:
            messages.append({"role": "assistant", "content": r.choice([text(r), "", None]), "tool_calls": calls(r), **({"reasoning_content": text(r)} if r.random() < 0.5 else {})})
            messages.extend({"role": "tool", "content": text(r)} for _ in range(r.randint(1, 3)))
        if r.random() < 0.8:
            messages.append({"role": "assistant", "content": text(r), **({"reasoning_content": text(r)} if r.random() < 0.4 else {})})
    if r.random() < 0.05:
        messages.append(r.choice([{"role": "critic", "content": "x"}, {"role": "system", "content": "late"}, {"role": "user", "content": 3}, {"role": "user", "content": [{"type": "sound"}]}, {"role": "user"}]))
    return messages


def conversation_case(template: str, seed: str) -> dict:
    r = random.Random(seed)
    variables: dict = {"bos_token": "<s>", "eos_token": "<|im_end|>"}
    if r.random() < 0.6:
        variables["enable_thinking"] = r.random() < 0.5
    if r.random() < 0.3:
        variables["reasoning_effort"] = r.choice(["low", "medium", "high", "", "extreme"])
    for name in ("preserve_thinking", "number_pictures"):
        if r.random() < 0.3:
            variables[name] = r.random() < 0.7
    tools = r.sample(TOOLS, r.randint(1, 3)) if r.random() < 0.4 else None
    return {"template": template, "messages": conversation(r), "tools": tools, "variables": variables, "add_generation_prompt": r.random() < 0.8}
