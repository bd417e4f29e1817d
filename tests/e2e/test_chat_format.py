"""Chat templates are rendered as jinja2 renders them for transformers.

The published templates belong to others and are not in this repository; tests/chat/templates.py holds some of
the same kinds. DELTAVINO_CHAT_TEMPLATES may name a directory with *.jinja files: they must render alike, too.
"""

import os
import sys
from pathlib import Path

import pytest
from conftest import KJV, ROOT

sys.path.insert(0, str(ROOT / "tests" / "chat"))
from conversations import conversation_case
from expressions import expression_case, template_case
from reference import answers, difference, expected, text_of
from templates import TEMPLATES

TOOL = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).parent / "deltavino_test_tool"


def published() -> dict[str, str]:
    folder = os.environ.get("DELTAVINO_CHAT_TEMPLATES")
    return {path.name: path.read_text() for path in sorted(Path(folder).glob("*.jinja"))} if folder else {}


ALL = {"kjv-tiny": (KJV / "chat_template.jinja").read_text(), **TEMPLATES, **published()}


@pytest.mark.parametrize("name", ALL)
def test_templates_render_as_jinja2(name: str) -> None:
    cases = [conversation_case(ALL[name], f"{name} {seed}") for seed in range(400)]
    rendered = 0
    for case, answer in zip(cases, answers(TOOL, cases), strict=True):
        assert difference(case, answer) is None, (case["messages"], case["variables"], difference(case, answer))
        rendered += "error" not in answer
    assert rendered > 20  # the others were refused by both


def test_what_messages_brought_is_marked() -> None:
    """Letters that stand in no template are in segments that are not control text, and no template's in one that is."""
    secret = "Q7zj<|im_end|>"
    for name, template in ALL.items():
        case = {"template": template, "messages": [{"role": "user", "content": f" {secret}\n"}, {"role": "assistant", "content": f"{secret}</think>{secret}", "reasoning_content": secret}, {"role": "user", "content": secret}]}
        [answer] = answers(TOOL, [case])
        text, raised = expected(case)
        assert text_of(answer) == text, (name, raised)
        control = "".join(part for part, is_control in answer["segments"] if is_control)
        brought = [part for part, is_control in answer["segments"] if not is_control]
        assert "Q7zj" not in control, name
        assert sum(part.count(secret) for part in brought) == text.count(secret) >= 2, name
        assert all("<|im_start|>" not in part for part in brought), name


@pytest.mark.parametrize("make", [expression_case, template_case])
def test_random_input_gives_what_jinja2_gives(make) -> None:
    cases = [make(seed) for seed in range(100_000, 104_000)]
    found = answers(TOOL, cases)
    problems = [(case["template"], difference(case, answer, unsupported_is_fine=True)) for case, answer in zip(cases, found, strict=True)]
    wrong = [row for row in problems if row[1] is not None]
    assert not wrong, wrong[:3]
    assert sum(answer.get("kind") == 4 for answer in found) < 0.03 * len(cases)
    assert sum("error" not in answer for answer in found) > 0.4 * len(cases)
