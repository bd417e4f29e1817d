#!/usr/bin/env python3
"""Writes tests/chat/corpus.json: templates, their input, and what jinja2 makes of them (tests/unit reads it)."""

import json
from pathlib import Path

from conversations import conversation_case
from expressions import VARIABLES, expression_case, template_case
from reference import expected
from templates import TEMPLATES

# What random expressions leave out.
FIXED = [
    "{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 ** -1 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1 / 4 }}",
    "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1.5e-7 }} {{ 1e16 }} {{ 123456789012345680.0 }} {{ 0.1 + 0.2 }}",
    "{{ '\\x41\\u00e9\\U0001F600\\t\\\\\\101' }}{{ \"a\\\nb\" }}{{ 'a' 'b' \"c\" }}{{ '\\q' }}",
    "{{ [1, 2][0] }}{{ {'a': {'b': [1]}}.a.b.0 }}{{ {1: 'x'}[1.0] }}{{ {true: 1}[1] }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' in 'abc' in ['abc'] }} {{ not 1 in [2] }} {{ 1 not in [1] }}",
    "{{ 'ß'.upper() }} {{ 'ΑΣ ΑΣΑ Σ'.lower() }} {{ 'ǆ'.title() }} {{ 'ﬁx'.capitalize() }} {{ 'İ'.lower()|length }} {{ 'éÉ'|capitalize }}",
    "{{ \"it's\" | list }} {{ ['\\n\\x7f\\u200b\\u00ad\\ue000'] }} {{ ['\"', \"'\", '\"\\''] }}",
    "{{ '%s-%d-%r-%.2f-%%' % ('a', 3, 'b', 1.005) }} {{ '%(k)s' % {'k': 1} }} {{ '%s' | format('x') }} {{ '{}{1}{a}{{}}'.format(1, 2, a=3) if false else '{0}{1}{a}{{}}'.format(1, 2, a=3) }}",
    "{{ ('<' ~ ('<b>'|safe)) }} {{ '<' + ('<b>'|safe) }} {{ ('<b>'|safe) + '<' }} {{ '<&\"' | e }}",
    "{{ [3, 1, 2] | sort | join(',') }} {{ ['b', 'A'] | sort }} {{ ['b', 'A'] | sort(case_sensitive=true) }} {{ [[2, 'a'], [1, 'b']] | sort(attribute=0) }}",
    "{{ range(5)[1:4] | list }} {{ range(5, 0, -2) | list }} {{ range(3) }} {{ range(0, 6, 2)[-1] }} {{ 3 in range(5) }}",
    "{{ namespace(a=1).a }} {{ dict(a=1, b=2) }} {{ dict([('x', 1)]) }} {{ {'a': 1}.items() }} {{ {'a': 1}.keys() }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(None, 1) }} {{ 'a\\r\\nb\\u2028c\\n'.splitlines() }}",
    "{{ '12'|int + 1 }} {{ 'x'|int }} {{ 'ff'|int(base=16) }} {{ '0x1f'|int(0, 16) }} {{ '1_0'|int }} {{ '3.9'|int }} {{ ' -7 '|int }} {{ '1e3'|float }} {{ 'inf'|float }} {{ true|int }}",
    "{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 42.55|round(1, 'ceil') }} {{ 7|round }} {{ 1234567.891|round(1) }}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% set a, b = 1, 2 %}{{ a + b }}{% set (x, y) = 'pq' %}{{ y }}{{ x }}",
    "{% macro f(a, b='B', c=a) %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1) }}{{ f(1, 2, 3, 4, z=5) }}{{ f(*[1, 2], **{'c': 9}) }}{{ f.name }}",
    "{% macro r(n) %}{{ n }}{% if n > 0 %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(5) }}",
    "{% for x in [1, 2, 3, 4] if x is even %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ',' if not loop.last }}{% else %}none{% endfor %}",
    "{% set n = namespace(go=true) %}{% for x in [1, 2, 3, 4] if n.go %}{{ x }}{{ loop.last if x == 1 }}{% if x == 2 %}{% set n.go = false %}{% endif %}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 9 %}{% endif %}{{ x }}",
    "  {% if true %}  \n  a\n  {%- endif %}  \n\n{# c #}\n  {{ 1 }}\n {{- 2 -}} \n{%+ if true %} b {%+ endif +%}\n c\n\n",
    "{% raw %}{{ x }}{% if %}{% endraw %}|{%- raw -%}  {# y #}  {%- endraw -%}  |  {% raw %}\n  z\n  {% endraw %}\n",
    "{{ {'b': [1, 2.0, none, true], 'a': 'é\"\\n\\u0001\\u2028</script>'} | tojson }} {{ {'b': 1, 'a': 2} | tojson(indent=2, sort_keys=true) }} {{ 'é😀' | tojson(ensure_ascii=true) }} {{ [] | tojson(indent=2) }} {{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }}",
    "{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j') }}",
    "{{ missing is defined }}{{ missing }}{{ missing|default('x') }}{{ missing|length }}{{ missing|list }}{{ missing == other }}{{ 'a' if false }}{{ none|default('n', true) }}",
]


def main() -> None:
    cases = [{"template": text} for text in FIXED]
    cases += [expression_case(seed) for seed in range(400)] + [template_case(seed) for seed in range(60)]
    for name, template in TEMPLATES.items():
        cases += [conversation_case(template, f"corpus {name} {seed}") for seed in range(4)]
    rows = []
    for case in cases:
        text, raised = expected(case)
        row = {**case, "expected": text}
        if case.get("variables") is VARIABLES:
            row["variables"] = "the shared ones"
        if "TypeError" in raised and "extra" in raised:
            continue
        rows.append(json.dumps(row, ensure_ascii=False))
    shared = json.dumps(VARIABLES, ensure_ascii=False)
    target = Path(__file__).parent / "corpus.json"
    target.write_text('{"variables": ' + shared + ',\n"cases": [\n' + ",\n".join(rows) + "\n]}\n")
    print(f"{len(rows)} cases, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
