#!/usr/bin/env python3
"""Hold an exported tokenizer and detokenizer against the `tokenizers` library.

    parity.py CHECKPOINT EXPORTED [--with-converter]

CHECKPOINT has tokenizer.json, EXPORTED the four openvino_(de)tokenizer files. Texts come from
corpus.jsonl, from the added tokens of the checkpoint and from a fixed seed. Ids must be equal, and
so must decoded text. Two things may differ, because the operators of openvino_tokenizers do it
wrong whoever builds the model: texts that the corpus marks with "fault", and how many U+FFFD stand
for invalid bytes. With --with-converter (needs transformers) those must be what a model made by
openvino_tokenizers' own converter gives, the two models are compared node by node, and the
reference is the tokenizer as transformers loads it, with what tokenizer_config.json adds.

Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import unicodedata
from pathlib import Path

import openvino
import openvino_genai
import openvino_tokenizers  # noqa: F401  makes the operators known to openvino.Core
from tokenizers import Tokenizer

from ir_compare import Graph, differences, read_graph

HERE = Path(__file__).parent
NAMES = ("openvino_tokenizer", "openvino_detokenizer")
REQUIRED_INFO = ("openvino_tokenizers_version", "processed_post_processor_template")
# Where the converter says something about its own installation.
OWN_INFO = ("openvino_tokenizers_version", "openvino_version", "original_tokenizer_class")
SEED = 20260401


class Report:
    """Counts checks and remembers what failed."""

    def __init__(self) -> None:
        self.checks = 0
        self.failures: list[str] = []
        self.notes: list[str] = []

    def check(self, good: bool, what: str) -> None:
        self.checks += 1
        if not good:
            self.failures.append(what)

    def equal(self, got: object, expected: object, what: str) -> None:
        self.check(got == expected, f"{what}: got {got!r:.200}, expected {expected!r:.200}")


class Models:
    """The two models of a directory, run by OpenVINO."""

    def __init__(self, directory: Path) -> None:
        core = openvino.Core()
        self.tokenizer, self.detokenizer = (core.compile_model(directory / f"{name}.xml", "CPU") for name in NAMES)

    def encode(self, texts: list[str]) -> tuple[list[list[int]], list[list[int]]]:
        """Padded ids and mask."""
        result = self.tokenizer(texts)
        return result["input_ids"].tolist(), result["attention_mask"].tolist()

    def encode_one(self, text: str) -> list[int]:
        return self.encode([text])[0][0]

    def decode(self, ids: list[int]) -> str:
        """Without special tokens."""
        return str(self.detokenizer([ids])["string_output"][0])


def corpus(added: list[str]) -> list[tuple[str, str, bool]]:
    """Name, text, and whether the operators are known to fail."""
    rows = [json.loads(line) for line in (HERE / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [(row["name"], row["text"], "fault" in row) for row in rows]
    for token in added:
        for number, text in enumerate((token, f"text{token}text", f" {token} {token}\n", f"{token}\u00e9 {token}{token}\u4e2d")):
            texts.append((f"added {token!r} {number}", text, False))
    return texts + random_texts()


def random_texts() -> list[tuple[str, str, bool]]:
    """Texts of several scripts, marks in any order among them."""
    choose = random.Random(SEED)
    alphabets = [
        "abcdefghijklmnopqrstuvwxyz ",
        "ABab01 .,'\"\n\t\r!?-_",
        "\u00e9\u00e8\u00fc\u00df\u00f1 \u0430\u0431\u0432\u044f\u0451 \u03b1\u03b2\u03b3",
        "\u4e2d\u6587\u5b57\u3042\u30a2\uac00\ub098 \u0645\u0631 \u05e9\u05dc",
        "\U0001f600\U0001f44d\U0001f3fd\u2764 \u20ac\u2192\u00b0",
        "".join(map(chr, range(32, 127))),
        " \n\t\r\u00a0\u3000a",
        "aeoz\u00e9\u0301\u0302\u0308\u0323\u0327\u0328\u0338",
        "\u0645\u062d\u064e\u064f\u0651\u0652 \u05d1\u05e9\u05bc\u05b0\u05c2",
    ]
    alphabets.append("".join(alphabets))
    texts = []
    for number in range(300):
        alphabet = alphabets[number % len(alphabets)]
        text = "".join(choose.choice(alphabet) for _ in range(choose.randint(1, 80)))
        texts.append((f"random {number}", at_most_three_marks(text), False))
    return texts


def at_most_three_marks(text: str) -> str:
    """The text without marks beyond three in a row: the tokenizer model reorders runs of four combining classes."""
    kept, run = "", 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        kept += character if run <= 3 else ""
    return kept


def ends_with_nul(text: str) -> bool:
    """numpy texts, which openvino takes and gives, lose NUL at their end; openvino_genai's do not."""
    return text.endswith("\0")


def one_replacement(text: str) -> str:
    """The text with every run of U+FFFD made one."""
    return re.sub("\ufffd+", "\ufffd", text)


class Parity:
    """All comparisons for one exported directory."""

    def __init__(self, reference: Tokenizer, exported: Path, converted: Path | None) -> None:
        self.report = Report()
        self.reference = reference
        self.reference.no_truncation()
        self.reference.no_padding()
        self.exported = exported
        self.ours = Models(exported)
        self.theirs = Models(converted) if converted else None
        self.genai = openvino_genai.Tokenizer(exported)
        added = self.reference.get_added_tokens_decoder()
        self.texts = corpus([added[key].content for key in sorted(added)])

    def ids(self, text: str) -> list[int]:
        return self.reference.encode(text).ids

    def check_encoding(self) -> None:
        wrong = []
        for name, text, fault in self.texts:
            expected = self.ids(text)
            got = self.genai.encode(text).input_ids.data.tolist()[0]
            if not ends_with_nul(text):
                self.report.equal(self.ours.encode_one(text), got, f"{name}: openvino and openvino_genai")
            if got == expected:
                continue
            wrong.append(name)
            self.report.check(fault, f"ids of {name} {text!r:.60}: got {got[:12]}, expected {expected[:12]}")
            if self.theirs:
                self.report.equal(got, self.theirs.encode_one(text), f"ids of {name}, against the converter")
        listed = {name for name, _, fault in self.texts if fault}
        self.report.notes.append(f"{len(self.texts)} texts, {len(wrong)} with other ids, all known faults: {', '.join(wrong)}")
        if listed - set(wrong):
            self.report.notes.append(f"no longer wrong: {', '.join(sorted(listed - set(wrong)))}")

    def check_batches(self) -> None:
        pad = self.genai.get_pad_token_id()
        good = [text for _, text, fault in self.texts if not fault and not ends_with_nul(text) and len(text) < 200]
        choose = random.Random(SEED + 1)
        for number in range(40):
            batch = choose.sample(good, choose.randint(2, 9))
            lists = [self.ids(text) for text in batch]
            longest = max(map(len, lists))
            if longest == 0:
                continue
            ids, mask = self.ours.encode(batch)
            self.report.equal(ids, [[pad] * (longest - len(row)) + row for row in lists], f"ids of batch {number}")
            self.report.equal(mask, [[0] * (longest - len(row)) + [1] * len(row) for row in lists], f"mask of batch {number}")

    def check_decoding(self) -> None:
        for name, text, _ in self.texts:
            ids = self.ids(text)
            if not ids:
                continue
            if not ends_with_nul(text):
                self.report.equal(self.ours.decode(ids), self.reference.decode(ids), f"decoded {name}")
            for skip in (True, False):
                got = self.genai.decode(ids, skip_special_tokens=skip)
                self.report.equal(got, self.reference.decode(ids, skip_special_tokens=skip), f"decoded {name}, skip_special_tokens={skip}")

    def check_invalid_bytes(self) -> None:
        """Ids in random order seldom give valid UTF-8."""
        choose = random.Random(SEED + 2)
        count = self.reference.get_vocab_size()
        faults = []
        for number in range(300):
            ids = [choose.randrange(256 if number % 3 == 0 else count) for _ in range(choose.randint(1, 24))]
            expected = self.reference.decode(ids)
            got = self.ours.decode(ids)
            if got != expected:
                faults.append(str(number))
                self.report.equal(one_replacement(got), one_replacement(expected), f"decoded random ids {number}")
                if self.theirs:
                    self.report.equal(got, self.theirs.decode(ids), f"decoded random ids {number}, against the converter")
        self.report.notes.append(f"300 random id lists, another number of U+FFFD in {len(faults)}: {', '.join(faults)}")

    def check_genai(self) -> None:
        vocabulary = {token: number for token, number in self.genai.get_vocab().items()}
        for token, number in self.reference.get_vocab(with_added_tokens=True).items():
            if token.isascii():
                self.report.equal(vocabulary.get(token.encode()), number, f"openvino_genai's id of {token!r}")
        eos = self.genai.get_eos_token_id()
        self.report.equal(self.genai.get_eos_token(), self.reference.decode([eos], skip_special_tokens=False), "end token")

        long, short = "one two three four five six seven", "one"
        lists = [self.ids(long), self.ids(short)]
        pad = self.genai.get_pad_token_id()
        width = len(lists[0])
        run = lambda **options: self.genai.encode([long, short], **options).input_ids.data.tolist()  # noqa: E731
        padding = [pad] * (width - len(lists[1]))
        self.report.equal(run(), [lists[0], padding + lists[1]], "padding")
        self.report.equal(run(padding_side="right"), [lists[0], lists[1] + padding], "padding_side right")
        self.report.equal(run(padding_side="left"), [lists[0], padding + lists[1]], "padding_side left")
        wide = width + 5
        expected = [[pad] * (wide - len(row)) + row for row in lists]
        self.report.equal(run(pad_to_max_length=True, max_length=wide), expected, "pad_to_max_length")
        cut = len(lists[1]) + 1
        self.reference.enable_truncation(cut, direction="left")
        expected = [self.ids(long), [pad] * (cut - len(lists[1])) + lists[1]]
        self.reference.no_truncation()
        self.report.equal(run(truncation=True, max_length=cut), expected, "truncation")
        self.report.equal(run(), [lists[0], padding + lists[1]], "defaults after other options")
        bare = [self.reference.encode(text, add_special_tokens=False).ids for text in (long, short)]
        expected = [bare[0], [pad] * (len(bare[0]) - len(bare[1])) + bare[1]]
        self.report.equal(run(add_special_tokens=False), expected, "add_special_tokens off")

        if self.genai.chat_template:
            chat = self.genai.apply_chat_template([{"role": "user", "content": "question 17"}], add_generation_prompt=True)
            self.report.check("question 17" in chat, f"chat template gives {chat!r}")

    def check_info(self) -> None:
        for name in NAMES:
            info = read_graph(self.exported / f"{name}.xml").info
            for key in REQUIRED_INFO:
                self.report.check(bool(info.get(key)), f"{name}: rt_info has no {key}")
            self.report.equal(info.get("eos_token_id"), str(self.genai.get_eos_token_id()), f"{name}: eos_token_id")
            self.report.equal(info.get("pad_token_id"), str(self.genai.get_pad_token_id()), f"{name}: pad_token_id")

    def run(self) -> Report:
        self.check_encoding()
        self.check_batches()
        self.check_decoding()
        self.check_invalid_bytes()
        self.check_genai()
        self.check_info()
        return self.report


def unreachable_tokens(checkpoint: Path) -> int:
    """Base tokens of two bytes or more that no chain of merges gives."""
    model = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    reached = {token for token in model["vocab"] if len(token) == 1}
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    size = -1
    while len(reached) != size:
        size = len(reached)
        reached.update(left + right for left, right in merges if left in reached and right in reached)
    return len(model["vocab"]) - len(reached)


def convert(checkpoint: Path, output: Path) -> tuple[Tokenizer, str]:
    """What optimum-intel does to export a tokenizer; returns the tokenizer and its rendering of CHAT."""
    from openvino_tokenizers import convert_tokenizer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    for model, name in zip(convert_tokenizer(tokenizer, with_detokenizer=True), NAMES):
        openvino.save_model(model, output / f"{name}.xml")
    chat = ""
    if tokenizer.chat_template:
        chat = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
    return tokenizer.backend_tokenizer, chat


CHAT = [
    {"role": "system", "content": "short \u00e9"},
    {"role": "user", "content": "a?"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c\n"},
]


def without_mark_repair(graph: Graph) -> Graph:
    """The graph with its last CharsMapNormalization right behind what the first one reads, as the converter writes it."""
    steps = ("CharsMapNormalization", "RegexNormalization")
    chain = [key for key, node in graph.nodes.items() if node.type in steps]
    last = [key for key in chain if not any(key == source for other in chain for source, _ in graph.nodes[other].inputs.values())]
    for key in last:
        node = graph.nodes[key]
        for port, (source, output) in list(node.inputs.items()):
            while graph.nodes[source].type in steps:
                inputs = graph.nodes[source].inputs
                source, output = inputs[output - len(inputs)]  # ports of outputs are counted after those of inputs
            node.inputs[port] = (source, output)
    used: set[str] = set()
    waiting = graph.ends()
    while waiting:
        key = waiting.pop()
        if key not in used:
            used.add(key)
            waiting += [source for source, _ in graph.nodes[key].inputs.values()]
    return Graph({key: node for key, node in graph.nodes.items() if key in used}, graph.info)


def check_converter(parity: Parity, checkpoint: Path, converted: Path, chat: str) -> None:
    """Node by node; the repair of normalization and tokens that the operator must not find are ours alone."""
    report = parity.report
    hidden = unreachable_tokens(checkpoint)
    if hidden:
        report.notes.append(f"{hidden} tokens cannot be reached by merges and are hidden from the BPETokenizer operator")
    # Vocabulary and merges of BPETokenizer, and the ports that show their lengths.
    allowed = {f"BPETokenizer.{port}" for port in range(5, 14)} | {"Truncate.0"} if hidden else set()
    for name in NAMES:
        ours, theirs = without_mark_repair(read_graph(parity.exported / f"{name}.xml")), read_graph(converted / f"{name}.xml")
        for place, what in differences(ours, theirs):
            report.check(place in allowed, f"{name}: {place}: {what}")
        for key in ours.info.keys() & theirs.info.keys() - set(OWN_INFO):
            pair = ours.info[key], theirs.info[key]
            if key.endswith("_processor_template"):
                pair = tuple(map(json.loads, pair))
            report.equal(*pair, f"{name}: rt_info {key}")
    if chat:
        got = parity.genai.apply_chat_template(CHAT, add_generation_prompt=True)
        report.equal(got, chat, "chat template, against transformers")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("--with-converter", action="store_true", help="also compare with openvino_tokenizers' converter")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        converted = Path(scratch) if arguments.with_converter else None
        if converted:
            reference, chat = convert(arguments.checkpoint, converted)
        else:
            reference, chat = Tokenizer.from_file(str(arguments.checkpoint / "tokenizer.json")), ""
        parity = Parity(reference, arguments.exported, converted)
        report = parity.run()
        if converted:
            check_converter(parity, arguments.checkpoint, converted, chat)

    for note in report.notes:
        print(note)
    for failure in report.failures[:50]:
        print("FAILED", failure)
    print(f"{report.checks} checks, {len(report.failures)} failed")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
