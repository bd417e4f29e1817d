#!/usr/bin/env python3
"""Time to the first token of a prompt: `deltavino generate` beside openvino_genai, on the same directory.

    bench/first_token.py DIR --text FILE [--tokens 512] [--rounds 5] [--program build/deltavino]

Each measurement is a fresh process that loads DIR and reads one prompt, the first about so many tokens of FILE, on the
CPU with default settings. The order turns round after each round. Loading is not
counted; the time is what each library says of its first token. openvino_genai runs with no backend named, with "PA" and with "SDPA"; run it with the
Python of an environment that has openvino_genai. Medians, least and most, and the ratio in the same round.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BACKENDS = {"genai, none named": {}, "genai, PA": {"ATTENTION_BACKEND": "PA"}, "genai, SDPA": {"ATTENTION_BACKEND": "SDPA"}}
OURS = "deltavino generate"


def genai(directory: str, prompt: str, backend: str) -> None:
    import openvino_genai

    pipe = openvino_genai.LLMPipeline(directory, "CPU", **BACKENDS[backend])
    config = openvino_genai.GenerationConfig(max_new_tokens=2, do_sample=False, apply_chat_template=False, ignore_eos=True)
    metrics = pipe.generate([Path(prompt).read_text(encoding="utf-8")], config).perf_metrics
    print("FIRST", metrics.get_ttft().mean / 1000)


def first_token(program: Path, directory: Path, prompt: Path, who: str) -> float:
    if who == OURS:
        command = [program, "generate", directory, "--raw", "--json", "--max-new-tokens", 2, "--ignore-eos", "--file", prompt]
    else:
        command = [sys.executable, __file__, directory, "--text", prompt, "--only", who]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{who}: {done.stderr[-2000:]}")
    if who == OURS:
        return float(json.loads(done.stdout)["first_token_seconds"])
    return float(done.stdout.split("FIRST", 1)[1])


def cut_to(tokens: int, directory: Path, text: Path, out: Path) -> int:
    """Writes the beginning of `text` that has about so many tokens, and returns how many."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    encoded = tokenizer.encode(text.read_text(encoding="utf-8"), add_special_tokens=False)
    out.write_text(text.read_text(encoding="utf-8")[: encoded.offsets[tokens - 1][1]], encoding="utf-8")
    return len(tokenizer.encode(out.read_text(encoding="utf-8"), add_special_tokens=False).ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", type=Path, default=Path(__file__).resolve().parent.parent / "build" / "deltavino")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        genai(str(arguments.directory), str(arguments.text), arguments.only)
        return
    import openvino_genai

    names = [OURS, *BACKENDS]
    found: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        prompt = Path(folder) / "prompt.txt"
        tokens = cut_to(arguments.tokens, arguments.directory, arguments.text, prompt)
        for turn in range(arguments.rounds):
            for name in names if turn % 2 == 0 else reversed(names):
                found[name].append(first_token(arguments.program, arguments.directory, prompt, name))
    print(f"{tokens} tokens, {arguments.rounds} rounds, openvino_genai {openvino_genai.__version__}")
    print("| | first token, median (least-most) | times deltavino's, in the same round |\n|---|---|---|")
    for name, times in found.items():
        ratios = [a / b for a, b in zip(times, found[OURS], strict=True)]
        print(f"| {name} | {statistics.median(times):.3f} s ({min(times):.3f}-{max(times):.3f}) | "
              f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |")  # fmt: skip


if __name__ == "__main__":
    main()
