"""The reference pages of the site, made of the program's help and of the public headers. No packages are needed.

The headers have plain comments before what they explain, and behind members. A reader sees a declaration best as it
stands, so a page shows the comment as text and the declaration, with the comments of its members, as code. Doxygen
would want its own marks in every header.
"""

import os
import re
import subprocess
from pathlib import Path

HEADERS = ["export", "build_model", "check", "evaluate", "bench", "generate", "inspect", "hub", "cache", "progress", "error",
           "problems", "version"]  # fmt: skip
NAME = re.compile(
    r"^(?:struct|class|enum class|using|inline constexpr [\w:]+) (\w+)|^\w[\w:<>&* ]*?[ &*](\w+)\(", re.MULTILINE
)
SPECIAL = re.compile(r"([*_<>\[\]])")


def command_page(program: Path) -> str:
    """What `deltavino --help` and the help of every command say."""

    def said(*words: str) -> str:
        return subprocess.run([program, *words], capture_output=True, text=True, check=True,
                              env={**os.environ, "COLUMNS": "100"}).stdout  # fmt: skip

    overview = said("--help")
    listed = overview[overview.index("Commands:") :].split("\n\n")[0]
    commands = re.findall(r"^  (\w+) ", listed, re.MULTILINE)
    version = said("--version").split()[1]
    page = f"# Commands\n\nWhat the program's help says, version {version}.\n\n```text\n{overview}```\n"
    for command in commands:
        if command not in {"completion", "help"}:
            page += f"\n## deltavino {command}\n\n```text\n{said(command, '--help')}```\n"
    return page


def prose(comment: list[str]) -> str:
    """Lines of a comment as Markdown; code in backticks stays."""
    text = "\n".join(line.removeprefix("//").removeprefix(" ") for line in comment)
    parts = text.split("`")
    return "`".join(part if i % 2 else SPECIAL.sub(r"\\\1", part) for i, part in enumerate(parts))


def blocks(text: str) -> list[list[str]]:
    """The lines of each declaration with its comment: what blank lines outside of braces separate."""
    found, current, depth = [], [], 0
    for line in text.splitlines():
        if not line.strip() and depth == 0:
            found.append(current)
            current = []
            continue
        current.append(line)
        code = line.split("//")[0]
        depth += code.count("{") - code.count("}")
    return [block for block in [*found, current] if block]


def declarations(header: Path) -> tuple[str, list[list[str]]]:
    """What a header says of itself, and its declarations."""
    text = header.read_text(encoding="utf-8")
    head, _, body = text.partition("namespace deltavino {\n")
    intro = [line for line in head.splitlines() if line.startswith("//")]
    body = body[: body.rindex("}  // namespace deltavino")]
    return prose(intro), blocks(body)


def header_page(headers: Path) -> str:
    page = "# C++\n\nThe public headers, `include/deltavino`. Everything is in the namespace `deltavino`.\n"
    for name in HEADERS:
        intro, found = declarations(headers / f"{name}.hpp")
        page += f"\n## {name}.hpp\n\n{intro}\n"
        for block in found:
            count = next((i for i, line in enumerate(block) if not line.startswith("//")), len(block))
            code = re.sub(r"\n\nprivate:\n.*?(?=\n};)", "", "\n".join(block[count:]), flags=re.DOTALL)
            names = [a or b for a, b in NAME.findall(code)]
            if names:
                page += f"\n### {', '.join(dict.fromkeys(names))}\n"
            if count:
                page += f"\n{prose(block[:count])}\n"
            if code:
                page += f"\n```cpp\n{code}\n```\n"
    return page
