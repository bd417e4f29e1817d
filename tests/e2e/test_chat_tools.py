"""Chats with tools and thinking: GenAI's engine, the runner's own and jinja2 write the same prompt.

Templates of the kinds of Qwen3.5, 3.6, 3.8, Next and Coder-Next (tests/chat/templates.py).
"""

import copy
import json
import os
import random
import re
import sys
from pathlib import Path

import openvino_genai
import pytest
from conftest import ROOT, run_deltavino
from test_genai_templates import portable

sys.path.insert(0, str(ROOT / "tests" / "chat"))
from conversations import TOOLS
from reference import answers, expected, text_of
from templates import TEMPLATES

TOOL = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).parent / "deltavino_test_tool"
INPUT, USAGE = 3, 2
VISION = [name for name in TEMPLATES if name.startswith("vision")]
NAMES = [*VISION, "json tools", "coder", "effort"]
WITHOUT_TOOLS = ["effort"]
WORDS = ["What", "is", "λόγος", "日本", "😀", "a\nb", "'", '"', "{{ x }}", "<b>", "&amp;", "\\n", "</think>", "%s", "<|im_end|>"]
# GenAI spells other values otherwise: see test_what_genai_spells_otherwise.
VALUES = [1, True, "text", "<é>\n", [], [1, "b", {"c": 2}], {"k": {"l": [1, True]}}, "", 10**12]


def text(r: random.Random) -> str:
    return " ".join(r.choices(WORDS, k=r.randint(1, 6)))


def step(r: random.Random) -> list[dict]:
    """An answer that calls tools, and what they give."""
    calls = [{"type": "function", "function": {"name": r.choice(["weather", "run"]), "arguments": {key: r.choice(VALUES) for key in r.sample(["city", "days", "ключ"], r.randint(0, 2))}}} for _ in range(r.randint(1, 2))]
    thought = {"reasoning_content": text(r)} if r.random() < 0.5 else {}
    return [{"role": "assistant", "content": r.choice([text(r), ""]), "tool_calls": calls, **thought}] + [{"role": "tool", "content": text(r)} for _ in calls]


def case_of(name: str, seed: int) -> dict:
    r = random.Random(f"{name} {seed}")
    messages = [{"role": "system", "content": text(r)}] if r.random() < 0.5 else []
    if not messages or r.random() < 0.9:  # a chat of a system turn alone
        for _ in range(r.randint(1, 3)):
            messages.append({"role": "user", "content": text(r)})
            while name not in WITHOUT_TOOLS and r.random() < 0.4:
                messages += step(r)
            messages.append({"role": "assistant", "content": text(r), **({"reasoning_content": text(r)} if r.random() < 0.5 else {})})
        messages = messages[: r.randint(len(messages) - 1, len(messages))]
    variables = {key: r.random() < 0.5 for key in ("enable_thinking", "preserve_thinking") if r.random() < 0.6}
    if r.random() < 0.3:
        variables["reasoning_effort"] = r.choice(["low", "high"])
    tools = r.sample(TOOLS, r.randint(1, 3)) if name not in WITHOUT_TOOLS and r.random() < 0.6 else None
    return {"template": TEMPLATES[name], "messages": messages, "tools": tools, "variables": variables, "add_generation_prompt": r.random() < 0.8}


@pytest.fixture(scope="module")
def genai(kjv_text):
    tokenizer = openvino_genai.Tokenizer(kjv_text)

    def run(case: dict, template: str) -> str | None:
        try:
            return tokenizer.apply_chat_template(case["messages"], case["add_generation_prompt"], chat_template=template, tools=case["tools"] or [], extra_context=case["variables"])
        except RuntimeError:
            return None

    return run


@pytest.mark.parametrize("name", NAMES)
def test_three_engines_write_the_same(name, genai):
    [spelled] = portable([TEMPLATES[name]])
    assert not spelled["missing"]
    cases = [case_of(name, seed) for seed in range(80)]
    seen: dict[str, int] = dict.fromkeys(("tools", "results", "thinking", "refused", "dropped thinking"), 0)
    for case, own in zip(cases, answers(TOOL, cases), strict=True):
        wanted, raised = expected(case)
        assert genai(case, spelled["text"]) == wanted, (case, raised)
        assert (None if "error" in own else text_of(own)) == wanted, (case, own)
        thoughts = [m["reasoning_content"] for m in case["messages"] if "reasoning_content" in m]
        seen["tools"] += bool(case["tools"])
        seen["results"] += any(m["role"] == "tool" for m in case["messages"])
        seen["thinking"] += any(thought in (wanted or "") for thought in thoughts)
        seen["dropped thinking"] += any(thought not in (wanted or thought) for thought in thoughts)
        seen["refused"] += wanted is None
    assert name in WITHOUT_TOOLS or min(seen["tools"], seen["results"]) > 10, seen
    assert name == "coder" or seen["thinking"] > 10, seen
    assert name not in VISION or "keeps" in name or seen["dropped thinking"] > 5, seen
    assert name not in VISION or seen["refused"] > 0, seen


@pytest.mark.parametrize("name", VISION)
def test_a_chat_of_the_system_alone_is_refused(name, genai):
    case = {"template": TEMPLATES[name], "messages": [{"role": "system", "content": "Be brief."}], "tools": TOOLS[:1], "variables": {}, "add_generation_prompt": True}
    assert expected(case)[0] is None and "Nobody asked anything." in answers(TOOL, [case])[0]["error"]
    assert genai(case, portable([TEMPLATES[name]])[0]["text"]) is None


@pytest.mark.parametrize(("value", "where"), [(-2.5, "-2.500000"), ([1, None], "[1, null]")])
def test_what_genai_spells_otherwise(value, where, genai):
    """Numbers with a point, and nothing inside of lists, where a template writes a value as text."""
    call = {"function": {"name": "f", "arguments": {"a": value}}}
    case = {"template": TEMPLATES["coder"], "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": [call]}], "tools": None, "variables": {}, "add_generation_prompt": True}
    found = genai(case, TEMPLATES["coder"])
    assert found != expected(case)[0] and where in found, "GenAI can do it now: docs/generate.md says it cannot"
    assert text_of(answers(TOOL, [case])[0]) == expected(case)[0]


def test_genai_tells_of_tools_by_itself(genai):
    """A template that knows no tools gets them in words of GenAI's own."""
    case = {"template": TEMPLATES["instruct"], "messages": [{"role": "user", "content": "x"}], "tools": TOOLS[:1], "variables": {}, "add_generation_prompt": True}
    assert "weather" in genai(case, TEMPLATES["instruct"]) and "weather" not in expected(case)[0]


# --- deltavino generate


@pytest.fixture(scope="module")
def model(kjv_text, tmp_path_factory) -> Path:
    """The bundled model with a template that knows tools."""
    folder = tmp_path_factory.mktemp("tools") / "model"
    folder.mkdir()
    for path in kjv_text.iterdir():
        if path.name != "chat_template.jinja":
            (folder / path.name).symlink_to(path)
    (folder / "chat_template.jinja").write_text(TEMPLATES["vision, keeps thinking when asked"])
    return folder


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How warm is it?"},
    {"role": "assistant", "content": "", "reasoning_content": "Ask the weather.", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]},
    {"role": "tool", "content": "17 degrees"},
]


def prompt_of(model: Path, *words: object) -> str:
    result = run_deltavino("generate", model, "--json", "--max-new-tokens", 1, *words, stdin=-3)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)["prompt"]


def rendered(messages: list[dict], tools: list[dict] | None = None, **variables: object) -> str:
    found, raised = expected({"template": TEMPLATES["vision, keeps thinking when asked"], "messages": copy.deepcopy(messages), "tools": tools, "variables": variables})
    assert found is not None, raised
    return found


def test_tools_messages_and_variables_of_the_command(model, tmp_path):
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    (tmp_path / "messages.json").write_text(json.dumps(MESSAGES))
    tools, messages = ("--tools", tmp_path / "tools.json"), ("--messages", tmp_path / "messages.json")
    assert prompt_of(model, "--prompt", "Hi", *tools) == rendered([{"role": "user", "content": "Hi"}], TOOLS)
    assert prompt_of(model, *messages, *tools) == rendered(MESSAGES, TOOLS)
    more = [*MESSAGES, {"role": "assistant", "content": "17."}, {"role": "user", "content": "And in Rome?"}]
    (tmp_path / "messages.json").write_text(json.dumps(more[:-1]))
    asked = prompt_of(model, *messages, "--prompt", "And in Rome?", "--no-think")
    assert asked == rendered(more, enable_thinking=False) and "Ask the weather." not in asked
    kept = prompt_of(model, *messages, "--prompt", "And in Rome?", "--chat-template-kwargs", '{"preserve_thinking": true, "enable_thinking": false}')
    assert kept == rendered(more, enable_thinking=False, preserve_thinking=True) and "Ask the weather." in kept


@pytest.mark.parametrize(("file", "words", "code", "said"), [
    ("[1]", ["--tools", "F", "--prompt", "x"], INPUT, "expected a JSON array of objects"),
    ("{", ["--tools", "F", "--prompt", "x"], INPUT, "cannot read 'F'"),
    ('{"role": "user"}', ["--messages", "F"], INPUT, "'F': expected a JSON array of messages"),
    ('[{"content": "x"}]', ["--messages", "F"], INPUT, "objects with a role"),
    ("[]", ["--chat-template-kwargs", "[1]", "--prompt", "x"], INPUT, "expected a JSON object"),
    ("[]", ["--chat-template-kwargs", '{"messages": []}', "--prompt", "x"], USAGE, "'messages' as a variable"),
    ("[]", ["--chat-template-kwargs", '{"enable_thinking": true}', "--no-think", "--prompt", "x"], USAGE, "'enable_thinking' as a variable"),
    ('[{"role": "system", "content": "x"}]', ["--messages", "F"], INPUT, "Nobody asked anything."),
    ("[]", ["--tools", "F", "--raw", "--prompt", "x"], USAGE, "--raw continues one prompt as it is"),
    ("[]", ["--messages", "F", "--system", "y", "--prompt", "x"], USAGE, "--system and --messages do not go together"),
])  # fmt: skip
def test_what_cannot_be_used(file, words, code, said, model, tmp_path):
    (tmp_path / "f.json").write_text(file)
    path = str(tmp_path / "f.json")
    result = run_deltavino("generate", model, *(path if word == "F" else word for word in words), stdin=-3)
    assert result.returncode == code, result.stderr
    assert re.search(re.escape(said.replace("'F'", f"'{path}'")), result.stderr), result.stderr
