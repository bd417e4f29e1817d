"""Exported chat templates in openvino_genai's engine, against jinja2 as transformers sets it up."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import jinja2
import openvino_genai
import pytest
from conftest import KJV, ROOT
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOOL = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).parent / "deltavino_test_tool"
CALL = {"function": {"name": "f", "arguments": {"a": 1, "b": 'x"y', "c": [1, 2.5, True], "d": {"k": "\u00e9"}}}}
M = [{"role": "system", "content": " sys "}, {"role": "user", "content": "hi\n"}, {"role": "assistant", "content": "<think>\nab\n</think>\n\nyes", "tool_calls": [CALL]}, {"role": "tool", "content": "r"}]
T = [{"type": "function", "function": {"name": "f", "description": "d <&>'\u00e9", "parameters": {"type": "object"}}}]

# Spelled otherwise in the export.
REWRITTEN = [
    "{{ 1 if x is undefined else 2 }}", "{{ 1 if x is not undefined else 2 }}", "{{ 1 if M is undefined else 2 }}",
    "{{ not (x is undefined) }}{{ not x is undefined }}", "{{ x is undefined or x is true }}", "{{ (x) is undefined }}{{ M[0].k is undefined }}{{ M[0]['k'] is undefined }}{{ M[0].role|trim is undefined }}",
    "{{ x|d('q') }}", "{{ 'x'|default }}", "{{ T|tojson(ensure_ascii=False) }}", "{{ [1, 2,] }}", "{{ {'a': 1,} }}", r"{{ 'a\u00e9b\x41\d\/' }}", "{{ 'a' 'b' }}",
    "a\n  {{ 1 }}\nb", "{% if true %}\n  {{ 1 }}\n{% endif %}\nx", "{{ 1 }}\n\t{{ 2 }}", "{%- set b = 1 %}\n  {{ 1 }}\n", "{{ M|selectattr('role', 'eq', 'user')|list|length }}",
]
# The same text in both, and left as it is.
KEPT = [
    "{{ x is defined }}{{ x is not defined and true }}|", "{{ M[0].content|trim }}|", "{{ T|tojson }}{{ T|tojson|safe }}", "{{ M|length }}{{ M[-1].content }}{{ M[1:]|length }}",
    "{% for m in M[::-1] %}{{ m.role }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }},{% endfor %}", "{% for m in M %}{{ loop.previtem.role if loop.previtem else '-' }}{{ loop.nextitem.role if loop.nextitem else '-' }}{% endfor %}",
    "{% for m in M %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m.role }}{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}", "{% set c = M[2].content %}{{ c.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') }}|{{ c.split('</think>')[-1].lstrip('\\n') }}",
    "{% for k, v in M[2].tool_calls[0].function.arguments|items %}{{ k }}={{ v|tojson if v is mapping or v is sequence and v is not string else v|string }};{% endfor %}",
    "{% macro f(a, b='z') -%}  [{{ a }}{{ b }}]  {%- endmacro %}{{ f(1) }}{{ f(1, b=2)|trim }}", "{% if false %}{{ raise_exception('no') }}{% endif %}ok", "{{ 'a' if false else 'b' if false else 'c' }}",
    "x {%- if true -%} y {%- endif -%} z\n  {% if true %}\n  a\n  {% endif %}\nb", "{# x is undefined #}a\n{#- b -#}\n  c", "{{ '%}' }}{{ '}} is undefined' }}", "{{ (M[0].content or '')|trim ~ 'b' }}", "{{ 'abc'.startswith('a') }}{{ 'a-b'.replace('-', '+') }}",
]
# Other text in GenAI, or an exception: the export must name them.
MISSING = [
    "{{ 4 is even }}", "{{ 'a' is in 'abc' }}", "{{ M|first }}", "{{ 'abc'|replace('b', 'X') }}", "{{ 'xax'|trim('x') }}", "{{ 'a b'.split() }}", "{{ 'a,b,c'.split(',', 1) }}", "{{ 'abc'.find('c') }}", "{{ {'a': 1}.values()|list }}",
    "{% set a, b = 1, 2 %}{{ a }}", "{% with a = 1 %}{{ a }}{% endwith %}", "{% raw %}{{ x }}{% endraw %}", "{%+ if true %}a{% endif %}", "{{ T|tojson(sort_keys=true) }}", "{{ M|selectattr('tool_calls')|list|length }}", "{{ dict(a=1).a }}", "{{ (1,)[0] }}",
    "{% for m in M %}{{ loop.depth }}{% endfor %}", "{{ 0x10 }}", "{{ [3, 1]|sort }}", "{{ 'ab cd'|title }}", "{{ M|selectattr('tool_calls', 'defined')|list|length }}",
]


def render(template: str, messages: list[dict], **context) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **context)


def portable(templates: list[str]) -> list[dict]:
    done = subprocess.run([TOOL, "template"], input="\n".join(map(json.dumps, templates)), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def genai(kjv_text):
    tokenizer = openvino_genai.Tokenizer(kjv_text)

    def run(template: str) -> str | None:
        try:
            return tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], True, chat_template=template, extra_context={"M": M, "T": T})
        except RuntimeError:
            return None

    return run


def test_rewritten_constructs(genai):
    for template, result in zip(REWRITTEN, portable(REWRITTEN), strict=True):
        expected = render(template, [], M=M, T=T)
        assert result["rewritten"] and not result["missing"], template
        assert genai(template) != expected, f"GenAI can do {template!r} now"
        assert genai(result["text"]) == expected == render(result["text"], [], M=M, T=T), template


def test_kept_constructs(genai):
    for template, result in zip(KEPT, portable(KEPT), strict=True):
        assert result == {"text": template, "rewritten": [], "missing": []}
        assert genai(template) == render(template, [], M=M, T=T), template


def test_missing_constructs(genai):
    for template, result in zip(MISSING, portable(MISSING), strict=True):
        assert result["missing"], template
        assert genai(result["text"]) != render(template, [], M=M, T=T), f"GenAI can do {template!r} now"


EFFORT = """{%- set note = '' %}
{%- if enable_thinking is undefined or enable_thinking is true %}
    {%- set level = reasoning_effort|default('high') %}
    {%- if level == 'high' %}{%- set note = 'Look twice.' %}{%- endif %}
{%- endif %}
{%- if note %}{{- '<|im_start|>system\\n' + note + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content|trim + '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
DIALOGUES = [[{"role": "user", "content": "Why?"}], [{"role": "user", "content": " a "}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c\n"}]]


@pytest.mark.parametrize("place", ["jinja", "config", "named", "json"])
def test_export(deltavino, tmp_path, place):
    folder = tmp_path / "checkpoint"
    shutil.copytree(KJV, folder, ignore=shutil.ignore_patterns("pictures"))
    (folder / "chat_template.jinja").unlink()
    config_file = folder / "tokenizer_config.json"
    config_file.chmod(0o644)
    config = json.loads(config_file.read_text())
    config.pop("chat_template", None)
    if place == "jinja":
        (folder / "chat_template.jinja").write_text(EFFORT)
    elif place == "json":
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": EFFORT}))
    else:
        config["chat_template"] = EFFORT if place == "config" else [{"name": "default", "template": EFFORT}]
    config_file.write_text(json.dumps(config))
    out = tmp_path / "out"
    result = deltavino("export", "-m", folder, out, "--task", "text-generation-with-past")
    assert result.returncode == 0 and "the chat template is spelled so that openvino_genai renders it" in result.stderr, result.stderr
    tokenizer = openvino_genai.Tokenizer(out)
    for messages in DIALOGUES:
        for context in ({}, {"enable_thinking": False}, {"reasoning_effort": "low"}):
            assert tokenizer.apply_chat_template(messages, True, extra_context=context) == render(EFFORT, messages, **context)
    for name in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json"):
        assert not (out / name).exists() or "is undefined" not in (out / name).read_text(), name


def test_known_template_is_left_alone(kjv_text):
    assert (kjv_text / "chat_template.jinja").read_bytes() == (KJV / "chat_template.jinja").read_bytes()
