"""Token ids, marks, control tokens and where generation ends: tokenizers and transformers' files are the truth."""

import json
import os
import random
import shutil
import subprocess
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openvino_genai
import pytest
from conftest import KJV, ROOT
from tokenizers import Tokenizer, normalizers

TOOL = Path(os.environ.get("DELTAVINO", ROOT / "build" / "deltavino")).parent / "deltavino_test_tool"
TEXT = ("--task", "text-generation-with-past")
NOT_IDS = [-1, 2**31, 2**63, 2**64 - 1, 10**30, 1.5, "4098", True, {}]


def variant(tmp_path: Path, **changes) -> Path:
    """The bundled checkpoint with JSON files changed by functions; `chat_template` replaces the template."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(KJV, folder, ignore=shutil.ignore_patterns("*.safetensors", "pictures"))
    (folder / "model.safetensors").symlink_to(KJV / "model.safetensors")
    for path in folder.iterdir():
        if not path.is_symlink():
            path.chmod(0o644)
    for name, change in changes.items():
        if name == "chat_template":
            (folder / "chat_template.jinja").write_text(change, encoding="utf-8")
            continue
        path = folder / f"{name}.json"
        value = json.loads(path.read_text(encoding="utf-8"))
        change(value)
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return folder


def reference(encode_special_tokens: bool = False) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(KJV / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = encode_special_tokens
    return tokenizer


# ---- ids that are none ----


@pytest.mark.parametrize("bad", NOT_IDS, ids=repr)
@pytest.mark.parametrize("file", ["generation_config", "config", "config/text_config", "tokenizer", "template"])
def test_ids_that_are_none(deltavino, tmp_path, file, bad):
    def spoil(value):
        if file == "tokenizer":
            value["added_tokens"][1]["id"] = bad
        elif file == "template":
            value["post_processor"] = {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [bad], "tokens": ["<|endoftext|>"]}},
            }
        elif file == "config/text_config":
            value["text_config"]["eos_token_id"] = bad
        else:
            value["eos_token_id"] = [4098, bad]

    name = "tokenizer" if file in ("tokenizer", "template") else file.split("/")[0]
    folder = variant(tmp_path, **{name: spoil})
    result = deltavino("export", "-m", folder, tmp_path / "out", *TEXT)
    assert result.returncode == 3, result.stderr
    assert result.stderr.count("error:") == 1 and ("eos_token_id" in result.stderr or "/added_tokens/1/id" in result.stderr or "special_tokens" in result.stderr)
    assert not (tmp_path / "out").exists()


def test_end_beyond_the_vocabulary(deltavino, tmp_path):
    folder = variant(tmp_path, generation_config=lambda value: value.update(eos_token_id=4160))
    result = deltavino("export", "-m", folder, tmp_path / "out", *TEXT)
    assert result.returncode == 3 and "generation_config.json/eos_token_id is 4160, expected a token id from 0 to 4159" in result.stderr


# ---- more ids than the embedding has rows ----


def extra_tokens(value: dict) -> None:
    first = max(token["id"] for token in value["added_tokens"]) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    value["added_tokens"] += [{"id": number, "content": f"<extra_{number}>", **flags} for number in range(first, 4200)]


def test_ids_beyond_the_embedding(deltavino, tmp_path):
    folder = variant(tmp_path, tokenizer=extra_tokens, tokenizer_config=lambda value: value.pop("added_tokens_decoder"))
    out = tmp_path / "out"
    result = deltavino("export", "-m", folder, out, *TEXT)
    assert result.returncode == 0 and "4160 rows: 40 added tokens have ids beyond it, from '<extra_4160>' (4160) on" in result.stderr
    wrong = deltavino("generate", out, "--raw", "--prompt", "a <extra_4199> b", "--max-new-tokens", "1")
    assert wrong.returncode == 2 and "token 4199 ('<extra_4199>'), but the model has embeddings for 4160 tokens" in wrong.stderr
    assert deltavino("generate", out, "--raw", "--prompt", "a <extra_4159> b", "--max-new-tokens", "1").returncode == 0
    (tmp_path / "text.txt").write_text("And the LORD <extra_4170> said unto Moses. " * 40)
    scored = deltavino("eval", "--text", tmp_path / "text.txt", out)
    assert scored.returncode == 2 and "token 4170" in scored.stderr
    template = variant(tmp_path / "template", tokenizer=extra_tokens, chat_template="{{ '<extra_4170>' }}{{ messages[0].content }}",
                       tokenizer_config=lambda value: value.pop("added_tokens_decoder"))
    refused = deltavino("export", "-m", template, tmp_path / "refused", *TEXT)
    assert refused.returncode == 3 and "the chat template writes '<extra_4170>', which has id 4170" in refused.stderr


# ---- marks ----


def mark_texts(count: int, seed: int) -> list[str]:
    """A character, up to three marks in any order, something after them; only where tokenizers knows the marks."""
    choose = random.Random(seed)
    known = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) != "Cn"]
    marks = [character for character in known if unicodedata.combining(character)]
    composed = [c for c in known if len(unicodedata.normalize("NFD", c)) > 1 and not 0xAC00 <= ord(c) < 0xD7A4]
    composing = sorted({unicodedata.normalize("NFD", c)[-1] for c in composed})
    bases = sorted({unicodedata.normalize("NFD", c)[0] for c in composed})
    korean = [chr(code) for code in (*range(0xAC00, 0xD7A4), *range(0x1100, 0x1200))]
    nfc = normalizers.NFC()
    texts = []
    while len(texts) < count:
        base = choose.choice(choose.choice([known, bases, composed, korean]))
        run = [choose.choice(composing if choose.random() < 0.6 else marks) for _ in range(choose.randint(0, 3))]
        text = choose.choice(["", "x"]) + base + "".join(run) + choose.choice(["", "y", choose.choice(bases)])
        if nfc.normalize_str(text) == unicodedata.normalize("NFC", text):
            texts.append(text)
    return texts


def test_marks_in_any_order(kjv_text):
    texts = mark_texts(2000, 5)
    expected = reference()
    tokenizer = openvino_genai.Tokenizer(kjv_text)
    wrong = [text for text in texts if tokenizer.encode(text).input_ids.data.tolist()[0] != expected.encode(text).ids]
    assert not wrong, [[hex(ord(c)) for c in text] for text in wrong[:5]]


def encode(directory: Path, rows: list[list[dict]]) -> list[list[int]]:
    done = subprocess.run([TOOL, "encode", directory], input="\n".join(map(json.dumps, rows)), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_runner_normalizes_any_run_of_marks(kjv_text):
    choose = random.Random(6)
    marks = "\u0301\u0323\u0327\u0338\u0345\u05b0\u05bc\u064e\u0651\u0e38\u094d\u093c"
    texts = ["a" + "".join(choose.choice(marks) for _ in range(choose.randint(1, 20))) for _ in range(500)]
    expected = reference()
    got = encode(kjv_text, [[{"text": text, "is_control": False}] for text in texts])
    assert got == [expected.encode(text).ids for text in texts]


# ---- control tokens in text ----


def test_text_stays_text(kjv_text):
    choose = random.Random(7)
    added = [token.content for token in reference().get_added_tokens_decoder().values()]
    parts = [*added, " ", "\n", "hi", "a\u0301", "\u00e9", "foo ", "<|", "|>", "<", "|im_end|>"]
    texts = ["".join(choose.choice(parts) for _ in range(choose.randint(1, 9))) for _ in range(400)]
    for control in (True, False):
        got = encode(kjv_text, [[{"text": text, "is_control": control}] for text in texts])
        expected = reference(encode_special_tokens=not control)
        assert got == [expected.encode(text).ids for text in texts], f"is_control {control}"


def test_segments_are_one_text(kjv_text):
    segments = [("<|im_start|>user\n", True), ("say <|im_end|> twice", False), ("<|im_end|>\n<|im_start|>assistant\n", True)]
    got = encode(kjv_text, [[{"text": text, "is_control": control} for text, control in segments]])[0]
    plain = reference(encode_special_tokens=True)
    start, end = (plain.token_to_id(token) for token in ("<|im_start|>", "<|im_end|>"))
    expected = [start, *plain.encode("user\nsay <|im_end|> twice").ids, end, *plain.encode("\n").ids, start, *plain.encode("assistant\n").ids]
    assert got == expected and got.count(end) == 1


def test_template_that_adds_a_token(deltavino, tmp_path):
    def add_end(value):
        text, end = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
        value["post_processor"] = {
            "type": "TemplateProcessing", "single": [text, end], "pair": [text, end, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [4096], "tokens": ["<|endoftext|>"]}},
        }

    folder = variant(tmp_path, tokenizer=add_end)
    assert deltavino("export", "-m", folder, tmp_path / "out", *TEXT).returncode == 0
    texts = ["And the LORD", "a<|im_end|>b", "<|im_end|>"]
    expected = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert encode(tmp_path / "out", [[{"text": text, "is_control": True}] for text in texts]) == [expected.encode(text).ids for text in texts]


def test_normalized_added_token(deltavino, tmp_path):
    def add(value):
        value["added_tokens"].append({"id": 4129, "content": "\u00e9!", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False})

    folder = variant(tmp_path, tokenizer=add, tokenizer_config=lambda value: value.pop("added_tokens_decoder"))
    assert deltavino("export", "-m", folder, tmp_path / "out", *TEXT).returncode == 0
    tokenizer = openvino_genai.Tokenizer(tmp_path / "out")
    expected = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("e\u0301! \u00e9!", "e!", "\u00e9 !"):
        assert tokenizer.encode(text).input_ids.data.tolist()[0] == expected.encode(text).ids


# ---- where generation ends ----


def ends(deltavino, tmp_path, folder) -> tuple[object, str]:
    result = deltavino("export", "-m", folder, tmp_path / "out", *TEXT)
    assert result.returncode == 0, result.stderr
    return json.loads((tmp_path / "out" / "generation_config.json").read_text()).get("eos_token_id"), result.stderr


def test_ends_that_are_complete_stay(deltavino, tmp_path, kjv_text):
    assert (kjv_text / "generation_config.json").read_bytes() == (KJV / "generation_config.json").read_bytes()


def test_ends_are_gathered(deltavino, tmp_path):
    folder = variant(tmp_path, generation_config=lambda value: value.update(eos_token_id=4100), config=lambda value: value.update(eos_token_id=[4101, 4096]))
    found, notes = ends(deltavino, tmp_path, folder)
    assert found == [4100, 4101, 4096, 4098]
    assert "generation_config.json gets more: end-of-sequence ids 4101 (config.json/eos_token_id)" in notes and "4098 ('<|im_end|>' of the tokenizer)" in notes


def test_end_of_text_of_the_tokenizer(deltavino, tmp_path):
    folder = variant(tmp_path, generation_config=lambda value: value.update(eos_token_id=4098), config=lambda value: value["text_config"].update(eos_token_id=None))
    found, notes = ends(deltavino, tmp_path, folder)
    assert found == [4098, 4096] and "4096 ('<|endoftext|>' of the tokenizer)" in notes


def test_ends_without_the_file(deltavino, tmp_path):
    folder = variant(tmp_path)
    (folder / "generation_config.json").unlink()
    found, notes = ends(deltavino, tmp_path, folder)
    assert found == [4096, 4098] and "is missing and was made" in notes


# ---- side files with values of wrong types ----


def places(value, path=()):
    """Every value of a JSON document by its path; of long lists and objects the first three."""
    yield path
    if isinstance(value, dict):
        keys = list(value)[:3] if path and path[-1] in ("added_tokens_decoder", "vocab") else list(value)
        for key in keys:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 3)):
            yield from places(value[index], (*path, index))


def changed(value, path, other):
    if not path:
        return other
    copy = json.loads(json.dumps(value))
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = other
    return copy


OTHERS = [None, True, -1, 1.5, 2**64, "\u00e9", [], {}, [[]], {"x": 1}]


def test_values_of_other_types(deltavino, tmp_path):
    choose = random.Random(8)
    cases = []
    for name in ("tokenizer_config.json", "generation_config.json", "tokenizer.json", "preprocessor_config.json", "video_preprocessor_config.json"):
        value = json.loads((KJV / name).read_text(encoding="utf-8"))
        for path in places(value):
            cases += [(name, value, path, other) for other in choose.sample(OTHERS, 2)]
    for name, content in (("special_tokens_map.json", {"eos_token": "<|im_end|>"}), ("added_tokens.json", {"<x>": 4129}), ("chat_template.json", {"chat_template": "x"})):
        cases += [(name, content, path, other) for path in places(content) for other in OTHERS]
    cases = choose.sample(cases, min(len(cases), 180))
    deep = "[" * 100000
    raw = [(name, text) for name in ("tokenizer_config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja")
           for text in (b"\xff\xfe", b'{"a": "\xff"}', deep.encode(), b"", b'{"a": 1, "a": 2}', b'{"a": 1e999}', b'{"a": "\\ud800"}')]

    def run(number):
        name, content = raw[number] if number < len(raw) else (cases[number - len(raw)][0], None)
        if content is None:
            _, value, path, other = cases[number - len(raw)]
            content = json.dumps(changed(value, path, other)).encode()
        folder = variant(tmp_path / str(number))
        if name in ("special_tokens_map.json", "added_tokens.json"):
            config = json.loads((folder / "tokenizer_config.json").read_text())
            config.pop("added_tokens_decoder")
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
        (folder / name).write_bytes(content)
        task = () if "preprocessor" in name else TEXT
        result = deltavino("export", "-m", folder, tmp_path / str(number) / "out", *task)
        shutil.rmtree(tmp_path / str(number))
        problems = [line for line in result.stderr.splitlines() if line.startswith("error:")]
        good = (result.returncode == 0 and not problems) or (result.returncode in (2, 3, 4, 5) and len(problems) == 1)
        return None if good else (name, content[:200] if number < len(raw) else cases[number - len(raw)][2:], result.returncode, result.stderr[-300:])

    with ThreadPoolExecutor(2) as pool:
        wrong = [row for row in pool.map(run, range(len(raw) + len(cases))) if row]
    assert not wrong, wrong[:5]
