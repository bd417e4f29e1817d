"""The built-in chat format writes what jinja2 makes of the templates.

The published templates belong to others and are not in this repository. DELTAVINO_CHAT_TEMPLATES may
name a directory with *.jinja files of the family: they must then be known, and render alike.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import jinja2
import jinja2.sandbox
import pytest
from conftest import KJV, ROOT

TOOL = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).parent / "deltavino_test_tool"

# What the family's templates do with plain turns: text is trimmed, an earlier answer loses its thinking.
TAIL = {
    "on": "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{% else %}{{ '<think>\\n' }}{% endif %}",
    "off": "{% if enable_thinking is defined and enable_thinking is true %}{{ '<think>\\n' }}{% else %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}",
}


def family_template(thinking: str) -> str:
    return (
        "{%- for m in messages -%}{%- set parts = [m.content] if m.content is string else m.content -%}"
        "{%- set ns = namespace(text='') -%}{%- for p in parts -%}"
        "{%- set ns.text = ns.text + (p if p is string else '<|vision_start|><|image_pad|><|vision_end|>' if p.type == 'image' else p.text) -%}"
        "{%- endfor -%}{%- set text = ns.text|trim -%}"
        "{%- if m.role == 'assistant' and '</think>' in text -%}{%- set text = text.split('</think>')[-1].lstrip('\\n') -%}{%- endif -%}"
        "{{ '<|im_start|>' + m.role + '\\n' + text + '<|im_end|>\\n' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}" + TAIL[thinking] + "{%- endif -%}"
    )


def published() -> dict[str, str]:
    folder = os.environ.get("DELTAVINO_CHAT_TEMPLATES")
    return {path.name: path.read_text() for path in sorted(Path(folder).glob("*.jinja"))} if folder else {}


TEMPLATES = {
    "kjv-tiny": (KJV / "chat_template.jinja").read_text(),
    "thinks": family_template("on"),
    "answers": family_template("off"),
    **published(),
}
KNOWN = {"kjv-tiny", *published()}

WORDS = ["What", "is", "λόγος", "日本", "e\u0301", "😀", "a\nb", "\n\n", "  ", "\t", "\u00a0", "\u3000", "\u2028", "\x1f", "'", '"', "{{ x }}", "{% y %}", "<b>", "&amp;", "\\n", "</think>", "<think>", "user", "\u200b"]


def text(stream: random.Random, thinking: bool) -> str:
    words = [w for w in WORDS if thinking or "think" not in w]
    return stream.choice(["", " ", "\n"]) + stream.choice(["", " "]).join(stream.choices(words, k=stream.randint(0, 9))) + stream.choice(["", "\n ", " "])


def conversation(stream: random.Random, thinking: bool) -> list[dict]:
    messages = [{"role": "system", "content": text(stream, False)}] if stream.random() < 0.5 else []
    turns = stream.randint(1, 4)
    for turn in range(turns):
        content: str | list = text(stream, False)
        pictures = stream.choice([0, 0, 1, 2])
        if pictures:
            content = [*({"type": "image"} for _ in range(pictures)), {"type": "text", "text": content}]
        messages.append({"role": "user", "content": content})
        if turn < turns - 1:
            messages.append({"role": "assistant", "content": text(stream, thinking)})
    return messages


def compiled(template: str) -> jinja2.Template:
    """As transformers compiles templates."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def raise_exception(message: str) -> None:
        raise ValueError(message)

    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(template)


@pytest.mark.parametrize("name", TEMPLATES)
def test_renders_as_jinja2(name: str) -> None:
    stream = random.Random(name)
    cases = [(conversation(stream, name != "kjv-tiny"), stream.choice([None, False, True])) for _ in range(300)]
    lines = [json.dumps({"template": TEMPLATES[name], "messages": messages, "thinking": thinking}) for messages, thinking in cases]
    result = subprocess.run([TOOL, "chat"], input="\n".join(lines), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in result.stdout.rstrip("\n").split("\n")]
    assert len(answers) == len(cases)
    template = compiled(TEMPLATES[name])
    for (messages, thinking), answer in zip(cases, answers, strict=True):
        options = {} if thinking is None else {"enable_thinking": thinking}
        assert answer["text"] == template.render(messages=messages, add_generation_prompt=True, **options), (messages, thinking)
        assert answer["known"] == (name in KNOWN)
