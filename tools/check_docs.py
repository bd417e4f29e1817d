#!/usr/bin/env python3
"""Fails when a document or a comment cites what is not in the repository.

Links of Markdown files must lead to a file, and to a heading of it when they name one. A path in backticks that
begins with a folder of the repository or of src/, or that ends as source does, must exist. So must every path in a
source file that begins with a top folder or ends as source does. Paths of a machine must not stand anywhere.

    check_docs.py [REPOSITORY]
"""

import re
import sys
from pathlib import Path

TOP = ["apps", "bench", "docs", "examples", "include", "src", "tests", "tools"]
SOURCE = {".cpp", ".hpp", ".py", ".sh", ".md"}
TEXT = SOURCE | {".txt", ".cmake", ".json", ""}
LINK = re.compile(r"\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]*)*")
CITED = re.compile(rf"(?<![\w./:@-])(?:{'|'.join(TOP)})/[\w./-]*[\w/]")
NAMED = re.compile(r"(?<![\w./:*<>{}-])\w[\w/-]*\.(?:cpp|hpp|py|sh|md)\b(?![\w*])")
FOREIGN_INCLUDE = re.compile(r"^\s*#\s*include\s*<.*$", re.MULTILINE)
# Files of transformers, compressed-tensors, jinja2, openvino_genai and llama.cpp that comments name, and that project.
OF_OTHERS = re.compile(
    r"(?:modeling|configuration|processing|image_processing|video_processing|tokenization)_\w+\.py"
    r"|generation/(?:logits_process|utils)\.py|stopping_criteria\.py|utils/quantization_config\.py"
    r"|integrations/finegrained_fp8\.py|quantization/lifecycle/forward\.py|(?:jinja2/\w+|idtracking)\.py"
    r"|make_tokenizer_stateful\.cpp|(?:vendor/)?llama\.cpp|convert_hf_to_gguf\.py"
)
OF_A_MACHINE = re.compile(r"(?<![\w.-])(?:/(?:work|home|root|Users)/[\w.-]|(?:\.\./)+shared\b)")
LARGE = 1 << 20
WRONG_ON_PURPOSE = {"tests/e2e/test_check_docs.py", "tests/tools/test_ci.py", "tests/tools/test_docs.py"}


def files(root: Path) -> list[Path]:
    """What a checkout holds: no builds, environments, caches."""
    found = []
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or (path.is_dir() and path.name.startswith("build")) or path.name in {"__pycache__", "demo-out"}:
            continue
        found += files(path) if path.is_dir() and not path.is_symlink() else [path]
    return found


def headings(markdown: str) -> set[str]:
    """Anchors as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?) *$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


class Checker:
    def __init__(self, root: Path):
        self.root = root
        self.files = files(root)
        self.names = {path.name for path in self.files}
        self.folders = set(TOP) | {path.name for path in (root / "src").iterdir() if path.is_dir()}
        self.found: list[str] = []

    def run(self) -> list[str]:
        if not any(path.suffix == ".md" for path in self.files):
            self.found.append(f"no documents below {self.root}")
        for path in self.files:
            if path.relative_to(self.root).as_posix() in WRONG_ON_PURPOSE:
                continue
            if path.suffix in TEXT and path.stat().st_size < LARGE:
                text = path.read_text(encoding="utf-8")
                self.check(path, text, OF_A_MACHINE.findall(text), "is a path of a machine", lambda cited: False)
                if path.suffix == ".md":
                    self.check_markdown(path, text)
                elif path.suffix in SOURCE or path.name in {"Makefile", "CMakeLists.txt"}:
                    self.check_source(path, text)
        return self.found

    def check_source(self, path: Path, text: str) -> None:
        self.check(path, text, CITED.findall(text), "does not exist", self.is_in_repository)
        named = NAMED.findall(FOREIGN_INCLUDE.sub("", text))
        self.check(path, text, named, "does not exist", lambda cited: self.is_file(path, cited))

    def check_markdown(self, path: Path, text: str) -> None:
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        self.check(path, text, LINK.findall(prose), "leads nowhere", lambda link: self.leads_somewhere(path, link))
        quoted = [cited for cited in QUOTED.findall(prose) if PATH.fullmatch(cited)]
        self.check(path, text, quoted, "does not exist", lambda cited: self.is_known(path, cited))

    def check(self, path: Path, text: str, cited: list[str], wrong: str, good) -> None:
        for citation in sorted(set(cited)):
            if not good(citation):
                line = text[: text.index(citation)].count("\n") + 1
                self.found.append(f"{path.relative_to(self.root)}:{line}: '{citation}' {wrong}")

    def leads_somewhere(self, path: Path, link: str) -> bool:
        if re.match(r"[a-z]+:", link):
            return True
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        return file.exists() and (not anchor or anchor in headings(file.read_text(encoding="utf-8")))

    def is_in_repository(self, cited: str) -> bool:
        return (self.root / cited).exists()

    def is_file(self, path: Path, cited: str) -> bool:
        bases = [self.root, self.root / "src", self.root / "tests", self.root / "include", path.parent]
        return bool(OF_OTHERS.fullmatch(cited)) or cited in self.names or any((base / cited).exists() for base in bases)

    def is_known(self, path: Path, cited: str) -> bool:
        first, slash, _ = cited.partition("/")
        if first == "build" or not (
            slash and first in self.folders or Path(cited).suffix in SOURCE and Path(cited).stem
        ):
            return True
        if not slash and cited.startswith("."):
            return True  # ".cpp", a kind of file
        bases = [self.root, self.root / "src", path.parent]
        return any((base / cited).exists() for base in bases) or (not slash and cited in self.names)


def main() -> int:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    found = Checker(root.resolve()).run()
    print("\n".join(found) if found else "documents: everything that is cited exists")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
