"""Random expressions and templates from a grammar of what chat templates use."""

from __future__ import annotations

import random

VARIABLES = {
    "s": "Hello, World",
    "u": "  λόγος 日本 e\u0301 😀\n",
    "ws": " \t\n x \u3000\u2028 ",
    "empty": "",
    "think": "<think>\nsome reason\n</think>\n\nAnswer </think> more",
    "n": 7,
    "zero": 0,
    "neg": -3,
    "f": 2.5,
    "g": 1e22,
    "t": True,
    "no": False,
    "nil": None,
    "xs": [3, 1, 2, 3],
    "ss": ["b", "A", "c", "a"],
    "mixed": [1, "a", None, 2.0, True, [1, 2], {"k": "v"}],
    "rows": [{"name": "x", "role": "user", "n": 2}, {"name": "Y", "role": "tool", "n": 1}, {"name": "z", "role": "user"}],
    "d": {"b": 1, "a": {"c": [1, 2, {"deep": "é"}]}, "C": None, "items": "shadow", "q'\"": 'it\'s "q"'},
    "nothing": [],
    "nodict": {},
}
TEXTS = ["s", "u", "ws", "empty", "think", "'a'", "'</think>'", "'\\n'", "', '", "\"it's\"", "'日本'", "'ß'", "'x y  z'", "d.items()|list|string", "ss[0]"]
NUMBERS = ["n", "zero", "neg", "f", "g", "1", "2", "-1", "0.1", "10", "3.0", "1e3", "xs[1]", "s|length"]
LISTS = ["xs", "ss", "mixed", "rows", "nothing", "[1, 2, 3]", "['a', 'b']", "(1, 'x')", "s.split()", "range(4)", "d.values()", "d", "u", "d.items()", "xs[1:]", "rows|map(attribute='name')"]
DICTS = ["d", "nodict", "rows[0]", "{'a': 1, 2: 'b'}", "dict(x=1)"]
ATOMS = [*TEXTS, *NUMBERS, *LISTS, *DICTS, "t", "no", "nil", "missing", "none", "true", "False"]
TEXT_FILTERS = ["trim", "upper", "lower", "title", "capitalize", "length", "string", "tojson", "replace('a', 'b')", "replace('o', '')", "first", "last", "list", "reverse", "int", "float", "indent(2)", "indent(3, true)", "default('d')", "default('d', true)", "join('-')", "safe", "trim('H d')", "truncate(5)", "e", "unique|list", "sort", "batch(2)|list"]
LIST_FILTERS = ["length", "first", "last", "join", "join(', ')", "list", "sort", "sort(reverse=true)", "reverse|list", "unique|list", "map('string')|list", "map('upper')|join", "select|list", "reject|list", "select('defined')|list", "select('string')|list", "selectattr('role', 'equalto', 'user')|list", "rejectattr('n')|list", "selectattr('n', 'defined')|map(attribute='name')|list", "map(attribute='n', default=0)|list", "tojson", "tojson(indent=2)", "string", "sum", "min", "max", "batch(2)|list", "batch(3, 'x')|list", "slice(2)|list", "count", "items|list", "dictsort", "sum(attribute='n')", "sort(attribute='name')", "map('length')|list", "select('in', [1, 'a'])|list"]
NUMBER_FILTERS = ["abs", "int", "float", "string", "round", "round(1)", "round(1, 'floor')", "round(0, 'ceil')", "tojson", "default(1)", "length"]
DICT_FILTERS = ["items|list", "dictsort", "length", "tojson", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "list", "string", "dictsort(true, 'key', true)", "first", "tojson(ensure_ascii=true)", "tojson(indent=4)"]
TESTS = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "true", "false", "boolean", "odd", "even", "divisibleby(3)", "divisibleby 2", "equalto 1", "in [1, 2, 'a']", "eq 'a'", "ne 1", "lt 3", "gt(2)", "ge 2", "le 2", "callable", "lower", "upper", "sameas none", "not none", "not defined", "not string", "filter", "escaped"]
METHODS = ["strip()", "lstrip()", "rstrip()", "strip('\\n')", "lstrip('\\n')", "split()", "split('</think>')", "split('</think>')[-1]", "split('</think>')[0].rstrip('\\n')", "split(' ', 1)", "rsplit(' ', 1)", "split(', ')", "split('o')", "rsplit('o', 2)", "startswith('H')", "endswith('d')", "startswith(('a', 'H'))", "replace('o', '0')", "replace('', '-')", "replace('o', '0', 1)", "upper()", "lower()", "title()", "capitalize()", "find('o')", "rfind('o')", "find('zz')", "count('o')", "join(['a', 'b'])", "join('xyz')", "splitlines()", "splitlines(true)", "isdigit()", "isspace()", "islower()", "format(1, 'b')", "zfill(4)", "removeprefix('He')", "removesuffix('ld')", "partition('o')", "rpartition(',')", "index('e')", "find('o', 5)", "count('')", "isalpha()", "append(1)", "__class__", "nosuch", "encode", "strip"]
DICT_METHODS = ["get('a')", "get('zz')", "get('zz', 3)", "keys()", "values()|list", "items()|list", "keys()|list|length", "a.c[2].deep", "a", "b", "zz", "items", "['b']", "['zz']", "update({})", "C is none", "copy()", "pop('a')"]
LIST_METHODS = ["[0]", "[-1]", "[1:]", "[:-1]", "[::-1]", "[::2]", "[5]", "[1:3]", "[-2:]", "[100:]", "index(1)", "count(3)", "append(1)", "0", "['x']", "[none]", "[1:2][0]", "[2:0:-1]", "copy()"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in"]


def dotted(base: str, member: str) -> str:
    return f"({base}){member}" if member.startswith("[") else f"({base}).{member}"


def expression(r: random.Random, depth: int) -> str:
    if depth <= 0:
        return r.choice(ATOMS)
    sub = lambda: expression(r, depth - 1)  # noqa: E731
    kind = r.randrange(17)
    if kind == 0:
        return f"({r.choice([*TEXTS, sub()])})|{r.choice(TEXT_FILTERS)}"
    if kind == 1:
        return f"({r.choice([*LISTS, sub()])})|{r.choice(LIST_FILTERS)}"
    if kind == 2:
        return f"({r.choice([*NUMBERS, sub()])})|{r.choice(NUMBER_FILTERS)}"
    if kind == 3:
        return f"({r.choice([*DICTS, sub()])})|{r.choice(DICT_FILTERS)}"
    if kind == 4:
        return f"({sub()}) is {r.choice(TESTS)}"
    if kind in (5, 6):
        return dotted(r.choice([*TEXTS, sub()]), r.choice(METHODS))
    if kind == 7:
        return dotted(r.choice([*DICTS, sub()]), r.choice(DICT_METHODS))
    if kind == 8:
        return dotted(r.choice([*LISTS, *TEXTS, sub()]), r.choice(LIST_METHODS))
    if kind in (9, 10):
        return f"({sub()}) {r.choice(BINARY)} ({sub()})"
    if kind == 11:
        return f"{r.choice(NUMBERS)} {r.choice(BINARY[:6])} {r.choice(NUMBERS)} {r.choice(BINARY)} {r.choice(NUMBERS)}"
    if kind == 12:
        return f"({sub()}) if ({sub()}) else ({sub()})" if r.random() < 0.7 else f"({sub()}) if ({sub()})"
    if kind == 13:
        return f"{r.choice(['not', '-', '+'])} ({sub()})"
    if kind == 14:
        return f"[{sub()}, {sub()}]" if r.random() < 0.5 else f"{{'k': {sub()}, 'l': {sub()}}}"
    if kind == 15:
        return f"{r.choice(NUMBERS)} {r.choice(['<', '<=', '==', '>'])} {r.choice(NUMBERS)} {r.choice(['<', '!=', 'in'])} {r.choice([*NUMBERS, *LISTS])}"
    return f"{r.choice(['-', ''])}{r.choice(ATOMS)}|{r.choice([*TEXT_FILTERS, *LIST_FILTERS])} {r.choice(BINARY)} {r.choice(ATOMS)}"


def expression_case(seed: int) -> dict:
    r = random.Random(seed)
    return {"template": "{{ " + expression(r, r.choice([1, 1, 2, 2, 3])) + " }}", "variables": VARIABLES}


# None of VARIABLES: jinja2 decides while compiling that a name which a block sets later is not the outer one.
NAMES = ["a", "b", "x", "y", "z"]
DATA = ["text", " ", "\n", "  \n", "\n    ", "<|im_start|>", "é\n", "\t"]


class Grammar:
    """Random templates; macros, scopes, loops and white-space signs above all."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.loops = 0  # that stand around

    def tag(self, inside: str) -> str:
        return "{%" + self.r.choice(["", "-", "-", "+"]) + f" {inside} " + self.r.choice(["", "-", "-", "+"]) + "%}"

    def name(self) -> str:
        return self.r.choice(NAMES)

    def value(self) -> str:
        if self.r.random() < 0.2:
            return expression(self.r, 1)
        return self.r.choice(["s", "xs[0]", self.name(), f"{self.name()} ~ 'x'", f"({self.name()}|string) + 'y'", "ns.v", *(["loop.index", "loop.last", "loop.previtem", "loop.nextitem"] if self.loops else ["n"])])

    def body(self, depth: int, loop: bool = False) -> str:
        return "".join(self.statement(depth, loop) + self.r.choice([*DATA, "", ""]) for _ in range(self.r.randint(1, 3)))

    def statement(self, depth: int, loop: bool) -> str:  # noqa: PLR0911
        r = self.r
        kind = r.randrange(14) if depth > 0 else r.randrange(4)
        if kind < 2:
            return "{{" + r.choice(["", "-", " "]) + f" {self.value()} " + r.choice(["", "-"]) + "}}"
        if kind == 2:
            return self.tag(f"set {self.name()} = {self.value()}")
        if kind == 3:
            return self.tag(r.choice(["break", "continue"])) if loop and r.random() < 0.3 else r.choice(["{# note #}", "{#- note -#}", "{%- raw -%} {{ x }} {%- endraw %}", self.tag(f"set ns.v = {self.value()}")])
        inner = self.body(depth - 1, loop)
        if kind == 4:
            return self.tag(f"if {self.value()}") + inner + self.tag("else") + self.body(depth - 1, loop) + self.tag("endif")
        if kind == 5:
            return self.tag(f"if {self.value()}") + inner + self.tag(f"elif {self.value()}") + self.body(depth - 1, loop) + self.tag("endif")
        if kind in (6, 7, 8):
            source = r.choice([*LISTS, "xs", "rows", "missing"])
            target = "k, v" if r.random() < 0.2 else r.choice(["x", "a", "i"])
            source = r.choice(["d.items()", "d|items", "d|dictsort", "[(1, 2), (3, 4)]"]) if target == "k, v" else source
            condition = f" if {r.choice(['x is defined', self.value(), 'i != 2'])}" if r.random() < 0.3 else ""
            other = self.tag("else") + self.body(0) if r.random() < 0.3 else ""
            self.loops += 1
            body = self.body(depth - 1, True) + "{{ " + r.choice(["i", "k", "v", "x", "loop.index0", "loop.revindex", "loop.length", "loop.first", "loop.cycle('o', 'e')", "loop.changed(x)"]) + " }}"
            self.loops -= 1
            return self.tag(f"for {target} in {source}{condition}") + body + other + self.tag("endfor")
        if kind == 9:
            name = r.choice(["m", "m2"])
            signature = r.choice(["", "a", "a, b='z'", "a=1, b=a", "x, y=n"])
            calls = r.choice([f"{name}()", f"{name}(1)", f"{name}('q', 2)", f"{name}(b=3)", f"{name}(a=s)", f"{name}(1, 2, 3)"])
            return self.tag(f"macro {name}({signature})") + self.body(depth - 1) + self.tag("endmacro") + "{{ " + calls + " }}"
        if kind == 10:
            return self.tag(f"set {self.name()}{r.choice(['', ' | trim', ' | upper'])}") + inner + self.tag("endset")
        if kind == 11:
            return self.tag(f"with {self.name()} = {self.value()}") + inner + self.tag("endwith")
        if kind == 12:
            through = r.choice(["upper", "trim", "indent(2)", "replace('e', '3')"])
            return self.tag(f"filter {through}") + inner + self.tag("endfilter")
        return r.choice([
            self.tag("generation") + self.body(depth - 1) + self.tag("endgeneration"),
            self.tag("macro box(t)") + "[{{ t }}|{{ caller() }}]" + self.tag("endmacro") + self.tag("call box(n)") + self.body(depth - 1) + self.tag("endcall"),
        ])


def template_case(seed: int) -> dict:
    grammar = Grammar(seed)
    return {"template": "{% set ns = namespace(v=0) %}{% set a, b, x, y, z = 1, 'B', [1, 'c'], ' s ', 2.5 %}" + grammar.body(3), "variables": VARIABLES}
