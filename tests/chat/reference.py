"""jinja2 as transformers sets it up for chat templates, and the program's answer to the same input."""

from __future__ import annotations

import copy
import datetime
import functools
import json
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox

UNSUPPORTED = 4
NOW = datetime.datetime(2026, 11, 25, 21, 5, 7)  # the test tool has the same


class Refused(Exception):
    """What raise_exception raises."""


class Generation(jinja2.ext.Extension):
    """{% generation %} marks what an assistant wrote; the text is the same."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.CallBlock:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(line)

    def _same(self, caller: Any) -> str:
        return caller()


def environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message: str) -> None:
        raise Refused(message)

    def tojson(x: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False) -> str:
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


ENVIRONMENT = environment()


@functools.lru_cache
def compiled(template: str) -> jinja2.Template:
    return ENVIRONMENT.from_string(template)


def expected(case: dict) -> tuple[str | None, str]:
    """(text, "") or (None, what was raised)."""
    try:
        return compiled(case["template"]).render(
            messages=copy.deepcopy(case.get("messages", [])),  # filters may change what they are given
            tools=copy.deepcopy(case.get("tools")),
            documents=None,
            add_generation_prompt=case.get("add_generation_prompt", True),
            **copy.deepcopy(case.get("variables", {})),
        ), ""
    except Exception as error:  # noqa: BLE001 - whatever a template makes Python raise
        return None, f"{type(error).__name__}: {error}"


def answers(tool: Path, cases: list[dict]) -> list[dict]:
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    result = subprocess.run([tool, "chat"], input=lines, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.rstrip("\n").split("\n")]
    assert len(found) == len(cases)
    return found


def text_of(answer: dict) -> str:
    return "".join(text for text, _ in answer["segments"])


def difference(case: dict, answer: dict, unsupported_is_fine: bool = False) -> str | None:
    """What is wrong with the answer; None when it is what jinja2 says."""
    text, raised = expected(case)
    if unsupported_is_fine and answer.get("kind") == UNSUPPORTED:
        return None
    if "error" in answer:
        return None if text is None else f"refused ({answer['error']}), jinja2 gives {text!r}"
    if text is None:
        return f"gives {text_of(answer)!r}, jinja2 raises {raised}"
    return None if text_of(answer) == text else f"gives  {text_of(answer)!r}\n  jinja2 {text!r}"
