#!/usr/bin/env python3
"""Writes the pages of the site: docs/, README, CHANGELOG and CONTRIBUTING, and the reference made of the sources.

    docs.py PROGRAM FOLDER     the built program, whose help is a page, and the folder to make anew

They are plain Markdown, with links that work among them. mkdocs.yml says what a site is made of them.
"""

import posixpath
import re
import shutil
import sys
from pathlib import Path

import reference_pages

ROOT = Path(__file__).resolve().parent.parent
# The page of the start has no pages beside it, so it has the width of their list.
START = "---\nhide: [navigation]\n---\n\n"
TOP = {"README.md": "index", "CHANGELOG.md": "changelog", "CONTRIBUTING.md": "contributing"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s:]*?)(#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def page_of(file: str) -> str | None:
    """Where a file of the repository stands on the site."""
    if file in TOP:
        return f"{TOP[file]}.md"
    return file.removeprefix("docs/") if file.startswith("docs/") else None


def relinked(text: str, file: str) -> str:
    """Links to files become links to pages. One to a file that is no page becomes the text that it had."""
    here = posixpath.dirname(page_of(file) or "")

    def replaced(link: re.Match) -> str:
        picture, words, path, anchor = link.groups()
        if not path:
            return link[0]
        page = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(file), path)))
        return f"{picture}[{words}]({posixpath.relpath(page, here or '.')}{anchor or ''})" if page else words

    return "".join(part if i % 2 else LINK.sub(replaced, part) for i, part in enumerate(CODE.split(text)))


def write_pages(program: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "docs", out)
    files = [*TOP, *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
    for file in files:
        text = (ROOT / file).read_text(encoding="utf-8")
        start = START if file == "README.md" else ""
        (out / (page_of(file) or file)).write_text(start + relinked(text, file), encoding="utf-8")
    made = {"commands": reference_pages.command_page(program), "cpp": reference_pages.header_page(ROOT / "include" / "deltavino")}
    for name, text in made.items():
        (out / "reference" / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write_pages(Path(sys.argv[1]), Path(sys.argv[2]))
