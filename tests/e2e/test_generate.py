"""`deltavino generate`: what a user types and gets."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN, KJV, ROOT, run_deltavino
from safetensors.numpy import save_file

sys.path.insert(0, str(ROOT / "tests" / "chat"))
from reference import expected
from templates import TEMPLATES

USAGE, INPUT, UNSUPPORTED, OUTPUT, STOPPED = 2, 3, 4, 5, 130
CHATS = {chat["name"]: chat for chat in json.loads((GOLDEN / "kjv-tiny" / "vision.json").read_text())["chats"]}
PICTURES = KJV / "pictures"
QUESTION = "What is in the picture?"


def generate(model: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess:
    return run_deltavino("generate", model, "--precision", "f32", *arguments, **options)


def expected_text(name: str) -> str:
    return CHATS[name]["answer_text"].removesuffix("<|im_end|>")


def test_continues_text_as_transformers(kjv_text: Path, greedy: dict) -> None:
    entry = greedy["single"][1]
    result = generate(kjv_text, "--prompt", entry["prompt_text"], "--raw", "--max-new-tokens", 30, "--ignore-eos")
    assert result.returncode == 0, result.stderr
    assert result.stdout.removesuffix("\n") == entry["continuation_text"]
    assert "prompt 40 tokens, first token after" in result.stderr
    assert "tokens/s" in result.stderr
    assert "stopped at the limit of 30 tokens (--max-new-tokens)" in result.stderr


@pytest.mark.parametrize("name", ["red-circle-on-blue", "green-square-on-white", "yellow-triangle-on-black"])
def test_says_what_is_in_a_picture(kjv_vlm: Path, name: str) -> None:
    result = generate(kjv_vlm, "--image", PICTURES / f"{name}.png", "--prompt", QUESTION, "--no-think")
    assert result.returncode == 0, result.stderr
    color, shape, _, ground = name.split("-")
    assert result.stdout == f"A {color} {shape} on a {ground} ground.\n"


def test_json_gives_tokens(kjv_vlm: Path) -> None:
    chat = CHATS["two pictures"]
    images = [argument for picture in chat["pictures"] for argument in ("--image", KJV / picture)]
    result = generate(kjv_vlm, *images, "--prompt", QUESTION, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["prompt"] == chat["prompt_text"]
    assert answer["prompt_ids"] == chat["prompt_ids"]
    assert answer["ids"] == chat["answer_ids"]
    assert answer["finish"] == "end of sequence"


def test_chat_reads_lines_and_goes_on(kjv_vlm: Path) -> None:
    lines = [
        f"/image {PICTURES / 'red-circle-on-blue.png'}",
        QUESTION,
        f"/image {PICTURES / 'green-square-on-white.png'}",
        QUESTION,
        "/reset",
        "",
        f"/image {PICTURES / 'yellow-triangle-on-black.png'}\r",
        QUESTION,
        "/exit",
        "never read",
    ]
    result = generate(kjv_vlm, "--chat", "--json", input="\n".join(lines))
    assert result.returncode == 0, result.stderr
    first, second, third = [json.loads(line) for line in result.stdout.splitlines()]
    assert first["text"] == expected_text("red-circle-on-blue")
    assert first["context_tokens"] == 0
    # Kept is all up to where the first answer was opened; it is read again without its empty thinking block.
    turn_start = first["prompt_ids"][0]
    assert second["context_tokens"] == max(i for i, token in enumerate(first["prompt_ids"]) if token == turn_start)
    assert second["prompt"].startswith(f"<|im_start|>assistant\n{first['text']}<|im_end|>\n<|im_start|>user\n")
    assert "<|vision_start|><|image_pad|><|vision_end|>" + QUESTION in second["prompt"]
    # Nothing is left of them after /reset.
    assert third["text"] == expected_text("yellow-triangle-on-black")
    assert third["context_tokens"] == 0


def test_chat_survives_a_bad_picture(kjv_vlm: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.png"
    notes.write_text("not a picture")
    lines = [f"/image {notes}", QUESTION, "/imge typo", f"/image {PICTURES / 'red-circle-on-blue.png'}", QUESTION]
    result = generate(kjv_vlm, "--chat", input="\n".join(lines) + "\n")
    assert result.stdout == expected_text("red-circle-on-blue") + "\n"
    assert "notes.png': its content is neither PNG nor JPEG" in result.stderr
    assert "'/imge typo' is not known" in result.stderr
    assert result.returncode == USAGE


def test_a_system_turn_comes_first(kjv_text: Path) -> None:
    result = generate(kjv_text, "--system", "Be brief.", "--prompt", "Hello", "--think", "--json", "--max-new-tokens", 1)
    assert json.loads(result.stdout)["prompt"] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n"
    )


def test_sampling_is_repeated_by_its_seed(kjv_text: Path) -> None:
    def sample(seed: int) -> str:
        result = generate(kjv_text, "--prompt", "And the LORD", "--raw", "--temperature", 1.0, "--top-p", 0.95, "--seed", seed, "--max-new-tokens", 12)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert sample(3) == sample(3)
    assert sample(3) != sample(4)


def test_bad_input_is_named(kjv_text: Path, kjv_vlm: Path, tmp_path: Path) -> None:
    picture = PICTURES / "red-circle-on-blue.png"
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "half.png").write_bytes(picture.read_bytes()[:200])
    cases = [
        (INPUT, "it is not a directory", [tmp_path / "absent", "--prompt", "x"]),
        (USAGE, "is exported already", [kjv_text, "--prompt", "x", "--sym"]),
        (UNSUPPORTED, "there is no device 'TOASTER'", [kjv_text, "--prompt", "x", "--device", "TOASTER", "--precision", "f32"]),
        (INPUT, "absent.txt", [kjv_text, "--file", tmp_path / "absent.txt"]),
        (UNSUPPORTED, "the model is a text-only export", [kjv_text, "--prompt", "x", "--image", picture]),
        (INPUT, "text.png': its content is neither PNG nor JPEG", [kjv_vlm, "--prompt", "x", "--image", tmp_path / "text.png"]),
        (INPUT, "half.png': damaged PNG: the file ends before the picture does", [kjv_vlm, "--prompt", "x", "--image", tmp_path / "half.png"]),
        (INPUT, "absent.png", [kjv_vlm, "--prompt", "x", "--image", tmp_path / "absent.png"]),
        (USAGE, "there is nothing to answer", [kjv_text]),
        (USAGE, "--raw continues one prompt as it is", [kjv_text, "--prompt", "x", "--raw", "--no-think"]),
        (USAGE, "the prompt is empty", [kjv_text, "--prompt", "", "--raw"]),
        (USAGE, "--max-new-tokens is '0', expected a whole number of 1 or more", [kjv_text, "--prompt", "x", "--max-new-tokens", 0]),
        (USAGE, "--max-new-tokens is '-1', expected a whole number of 1 or more", [kjv_text, "--prompt", "x", "--max-new-tokens", -1]),
        (USAGE, "--max-new-tokens is '99999999999999999999'", [kjv_text, "--prompt", "x", "--max-new-tokens", "99999999999999999999"]),
        (USAGE, "--top-k is '-1', expected a whole number of 0 or more", [kjv_text, "--prompt", "x", "--top-k", -1]),
        (USAGE, "--seed is '-1'", [kjv_text, "--prompt", "x", "--seed", -1]),
        (USAGE, "--threads is '-1'", [kjv_text, "--prompt", "x", "--threads", -1]),
        (USAGE, "--temperature is 'hot', expected a number", [kjv_text, "--prompt", "x", "--temperature", "hot"]),
        (USAGE, "--prompt and --file do not go together", [kjv_text, "--prompt", "x", "--file", "y"]),
        (USAGE, "the model directory must be given", ["--prompt", "x"]),
        (USAGE, "the model was given already", [kjv_text, "-m", kjv_text, "--prompt", "x"]),
        (USAGE, "top-p is 1.5", [kjv_text, "--prompt", "x", "--top-p", 1.5]),
        (USAGE, "precision 'int8' is not known", [kjv_text, "--prompt", "x", "--precision", "int8"]),
        (UNSUPPORTED, "there is no device 'TOASTER' for OpenVINO on this machine; it has CPU", [kjv_text, "--prompt", "x", "--device", "TOASTER"]),
    ]
    for code, message, arguments in cases:
        result = run_deltavino("generate", *arguments, stdin=subprocess.DEVNULL)
        assert (result.returncode, result.stdout) == (code, ""), (arguments, result.stderr)
        assert message in result.stderr, (arguments, result.stderr)


@pytest.mark.parametrize(
    "name",
    [
        "openvino_tokenizer.xml",
        "openvino_detokenizer.xml",
        "openvino_text_embeddings_model.xml",
        "openvino_vision_embeddings_model.xml",
        "openvino_vision_embeddings_pos_model.xml",
        "openvino_vision_embeddings_merger_model.xml",
        "config.json",
    ],
)
def test_a_missing_file_is_named(kjv_vlm: Path, tmp_path: Path, name: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(kjv_vlm, model, copy_function=os.link)
    (model / name).unlink()
    result = generate(model, "--prompt", "x")
    assert result.returncode == INPUT
    assert name in result.stderr


def test_the_tokenizers_extension_is_named(kjv_text: Path) -> None:
    result = generate(kjv_text, "--prompt", "x", env={**os.environ, "OPENVINO_TOKENIZERS_PATH_GENAI": "/nowhere/lib.so"})
    assert result.returncode == UNSUPPORTED
    assert "`pip install openvino-tokenizers==" in result.stderr
    assert "/nowhere/lib.so" in result.stderr


def test_the_tokenizer_model_knows_what_files_do_not_say(kjv_vlm: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(kjv_vlm, model)
    for name in ("generation_config.json", "chat_template.jinja", "tokenizer_config.json"):
        (model / name).unlink()
    result = generate(model, "--image", PICTURES / "red-circle-on-blue.png", "--prompt", QUESTION)
    assert (result.returncode, result.stdout) == (0, expected_text("red-circle-on-blue") + "\n"), result.stderr
    assert "note:" not in result.stderr


def test_text_that_is_not_utf8_is_refused(kjv_text: Path) -> None:
    assert generate(kjv_text, "--raw", "--prompt", b"\xff\xfe".decode("utf-8", "surrogateescape")).returncode == USAGE
    result = generate(kjv_text, "--chat", "--max-new-tokens", 1, input="caf\udce9\nHello\n", errors="surrogateescape")
    assert result.returncode == USAGE
    assert "the text is not UTF-8" in result.stderr
    assert "prompt" in result.stderr  # the next question was answered


OTHER = """{%- if messages[0].role != 'system' %}{{- '[RULES] You answer in verse.\\n' }}{%- endif %}
{%- for message in messages %}{{- '[' + message.role|upper + '] ' + message.content + '\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '[ASSISTANT] ' }}{%- endif %}"""


def with_template(model: Path, folder: Path, text: str) -> Path:
    shutil.copytree(model, folder)
    (folder / "chat_template.jinja").write_text(text)
    return folder


def test_any_template_is_rendered(kjv_text: Path, tmp_path: Path) -> None:
    model = with_template(kjv_text, tmp_path / "model", OTHER)
    result = generate(model, "--prompt", "  Why? ", "--max-new-tokens", 1, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["prompt"] == "[RULES] You answer in verse.\n[USER]   Why? \n[ASSISTANT] "
    assert "note:" not in result.stderr


def answer_message(prompt: str, text: str) -> dict:
    """As a user of transformers takes an answer apart."""
    if not prompt.rstrip().endswith("<think>"):
        return {"role": "assistant", "content": text}
    thought, _, rest = text.partition("</think>")
    return {"role": "assistant", "content": rest.lstrip("\n"), "reasoning_content": thought.strip("\n")}


@pytest.mark.parametrize("thinking", [None, False, True])
@pytest.mark.parametrize("name", ["effort", "keeps the empty block", "default system text", "not ChatML", "switch at the top", "instruct", "always thinks", "vision, thinks", "vision, answers"])
def test_a_conversation_has_the_tokens_of_its_template(kjv_text: Path, tmp_path: Path, name: str, thinking: bool | None) -> None:
    model = with_template(kjv_text, tmp_path / "model", TEMPLATES[name])
    flags = [] if thinking is None else ["--think" if thinking else "--no-think"]
    result = generate(model, "--chat", "--json", "--max-new-tokens", 5, *flags, input="Why?\nAnd  then?\n Amen \n")
    assert result.returncode == 0, result.stderr
    messages: list[dict] = []
    history: list[int] = []
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == 3
    for question, answer in zip(["Why?", "And  then?", " Amen "], answers, strict=True):
        messages.append({"role": "user", "content": question})
        variables = {"bos_token": "", **({} if thinking is None else {"enable_thinking": thinking})}
        text, raised = expected({"template": TEMPLATES[name], "messages": messages, "variables": variables})
        assert text is not None, raised
        assert text.endswith(answer["prompt"])
        history = history[: answer["context_tokens"]] + answer["prompt_ids"]
        whole = generate(model, "--raw", "--prompt", text, "--json", "--max-new-tokens", 1)
        assert history == json.loads(whole.stdout)["prompt_ids"]
        history += answer["ids"]
        messages.append(answer_message(text, answer["text"]))


def test_a_template_that_cannot_be_rendered_is_named(kjv_text: Path, tmp_path: Path) -> None:
    cases = [
        (INPUT, "model-0', line 2: expected an expression", "{{ messages }}\n{{ }}"),
        (UNSUPPORTED, "model-1', line 1: the statement 'include' is not supported", "{% include 'x' %}"),
        (INPUT, "model-2' refuses this conversation: no user turn", "{{ raise_exception('no user turn') }}"),
        (UNSUPPORTED, "model-3', line 1: more than 10000000 steps", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
    ]
    for i, (code, message, text) in enumerate(cases):
        model = with_template(kjv_text, tmp_path / f"model-{i}", text)
        result = generate(model, "--prompt", "x", "--max-new-tokens", 1)
        assert (result.returncode, result.stdout) == (code, ""), result.stderr
        assert message in result.stderr
        assert generate(model, "--prompt", "x", "--raw", "--max-new-tokens", 1).returncode == 0


def test_no_template_is_said(kjv_text: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(kjv_text, model)
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        (model / name).unlink()
    xml = model / "openvino_tokenizer.xml"
    xml.write_text(re.sub(r"<chat_template .*?/>", "", xml.read_text()))
    result = generate(model, "--prompt", "x", "--max-new-tokens", 1, "--json", "--no-think")
    assert result.returncode == 0, result.stderr
    assert "there is no chat template in" in result.stderr
    assert json.loads(result.stdout)["prompt"] == "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def test_logits_that_are_no_numbers_end_it(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(KJV, checkpoint)
    tensors = load_file_as_float32(checkpoint / "model.safetensors")
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    tensors[name][5, 0] = np.nan
    save_file(tensors, checkpoint / "model.safetensors")
    model = tmp_path / "model"
    result = run_deltavino("export", "--model", checkpoint, model, "--task", "text-generation-with-past", "--allow-nonfinite")
    assert result.returncode == 0, result.stderr
    result = generate(model, "--prompt", "And", "--raw")
    assert (result.returncode, result.stdout) == (INPUT, "")
    assert "the model computed nan as the logit of token 5" in result.stderr


def load_file_as_float32(path: Path) -> dict[str, np.ndarray]:
    """safetensors' numpy reader knows no bfloat16: its bits are the upper half of a float32."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = data[8 + size + begin : 8 + size + end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[entry["dtype"]]).astype(np.float32)
        tensors[name] = values.reshape(entry["shape"]).copy()
    return tensors


def test_an_interrupt_stops_it(kjv_text: Path) -> None:
    program = os.environ.get("DELTAVINO", "build/deltavino")
    process = subprocess.Popen(
        [program, "generate", str(kjv_text), "--prompt", "And", "--raw", "--ignore-eos", "--max-new-tokens", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.read(1)  # it has begun
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == STOPPED
    assert b"tokens/s" in errors


def test_the_prompt_may_come_from_standard_input_or_a_file(kjv_text: Path, tmp_path: Path) -> None:
    def prompt(*arguments: object, **options: object) -> str:
        result = generate(kjv_text, "--json", "--raw", "--max-new-tokens", 1, *arguments, **options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)["prompt"]

    (tmp_path / "question.txt").write_text("one\ntwo\n\n")
    assert prompt(input="And the LORD\n") == "And the LORD"  # without the line end of the last line
    assert prompt("--prompt", "-", input="And\n the LORD\r\n") == "And\n the LORD"
    assert prompt("--prompt", "this", input="not this") == "this"
    assert prompt("--file", tmp_path / "question.txt") == "one\ntwo\n"
    assert prompt("-f", tmp_path / "question.txt", input="not this") == "one\ntwo\n"
    assert generate(kjv_text, input="").returncode == USAGE
    assert generate(kjv_text, "--chat", "--prompt", "-", input="x").returncode == USAGE


def test_several_files_may_follow_one_image(kjv_vlm: Path) -> None:
    chat = CHATS["two pictures"]
    images = [KJV / picture for picture in chat["pictures"]]
    question = ("--prompt", QUESTION, "--json", "--precision", "f32")
    for arguments in ([kjv_vlm, "--image", *images, *question], ["--image", *images, "-m", kjv_vlm, *question], [*question, "--image", *images, kjv_vlm]):
        result = run_deltavino("generate", *arguments)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["prompt_ids"] == chat["prompt_ids"]


def test_threads_give_the_same_tokens(kjv_text: Path, greedy: dict) -> None:
    entry = greedy["single"][1]
    result = generate(kjv_text, "--prompt", entry["prompt_text"], "--raw", "--max-new-tokens", 8, "--ignore-eos", "--threads", 1, "--json")
    assert json.loads(result.stdout)["ids"] == entry["continuation_ids"][:8], result.stderr


def test_compiled_models_are_kept_and_taken(kjv_vlm: Path, tmp_path: Path) -> None:
    """The second run reads what the first one kept; a file that broke off is made anew."""
    cache = tmp_path / "not" / "there"
    ask = ("--image", PICTURES / "red-circle-on-blue.png", "--prompt", QUESTION, "--max-new-tokens", 12)
    plain = generate(kjv_vlm, *ask)
    first = generate(kjv_vlm, *ask, "--compiled-cache", cache)
    kept = {file: file.stat().st_mtime_ns for file in cache.glob("*.blob")}
    assert len(kept) == 5, first.stderr  # the language model, and what pictures and tokens pass
    second = generate(kjv_vlm, *ask, "--compiled-cache", cache)
    assert {file: file.stat().st_mtime_ns for file in cache.glob("*.blob")} == kept
    for file in kept:
        mode = file.stat().st_mode
        file.chmod(0o600)  # the runtime lets nobody write to them
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        file.chmod(mode)
    third = generate(kjv_vlm, *ask, "--compiled-cache", cache)
    for result in (first, second, third):
        assert result.returncode == 0 and result.stdout == plain.stdout, result.stderr


def test_kept_models_find_their_own_weights(tmp_path: Path) -> None:
    """Products of ours leave their weights out of what is kept: two exports with the same graph, one cache."""
    cache = tmp_path / "cache"
    ask = ("--prompt", "And it came to pass", "--raw", "--temperature", 0, "--max-new-tokens", 40, "--json")
    answers, kept = {}, {}
    for again in (False, True):
        for search in ("least-error", "nncf"):
            out = tmp_path / search
            if not again:
                options = ("--task", "text-generation-with-past", "--weight-format", "int4", "--group-size", 32)
                result = run_deltavino("export", "-m", KJV, out, *options, "--scale-search", search)
                assert result.returncode == 0, result.stderr
            ids = json.loads(generate(out, *ask, "--compiled-cache", cache).stdout)["ids"]
            assert answers.setdefault(search, ids) == ids == json.loads(generate(out, *ask).stdout)["ids"]
        files = {file: file.stat().st_mtime_ns for file in cache.glob("*.blob")}
        kept = kept or files
        assert files == kept and len(kept) == 2
    assert answers["least-error"] != answers["nncf"]


@pytest.mark.parametrize("more", [(), ("--threads", 1)])
def test_the_plugin_alone_gives_the_same_tokens(kjv_text: Path, more: tuple) -> None:
    """Our linear attention against OpenVINO's, over more than one piece of a prompt."""
    prompt = ((KJV / "held_out.txt").read_text(encoding="utf-8") * 2)[:4000]
    ask = ("--prompt", prompt, "--raw", "--max-new-tokens", 48, "--json")
    ours = json.loads(generate(kjv_text, *ask, *more).stdout)
    theirs = json.loads(generate(kjv_text, *ask, "--plugin-only").stdout)
    assert len(ours["prompt_ids"]) > 512 and ours["ids"] == theirs["ids"] and len(ours["ids"]) == 48


def test_compiled_models_cannot_be_kept_in_a_file(kjv_text: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        result = generate(kjv_text, "--prompt", "And", "--compiled-cache", folder)
        assert result.returncode == OUTPUT and f"cannot create '{folder}'" in result.stderr, result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_settings_of_the_file_are_done_or_named(kjv_text: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(kjv_text, model, copy_function=os.link)

    def answer(settings: dict) -> tuple[dict, str]:
        (model / "generation_config.json").unlink()
        (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [4098, 4096], **settings}))
        result = generate(model, "--prompt", "In the beginning God created the", "--raw", "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout), result.stderr

    free, errors = answer({"max_new_tokens": 8})
    assert "note" not in errors
    first = free["ids"][0]
    assert answer({"max_new_tokens": 8, "suppress_tokens": [first]})[0]["ids"][0] != first
    assert first not in answer({"max_new_tokens": 8, "bad_words_ids": [[first]]})[0]["ids"]
    short, _ = answer({"max_length": 12})
    assert len(short["prompt_ids"]) + len(short["ids"]) == 12
    _, errors = answer({"max_new_tokens": 2, "num_beams": 3, "typical_p": 0.5})
    assert "asks for 'num_beams' 3, 'typical_p' 0.5, which this runner does not do" in errors


def test_what_cannot_be_written_is_an_error(kjv_text: Path) -> None:
    for arguments in ([], ["--json"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            program = os.environ.get("DELTAVINO", "build/deltavino")
            command = [program, "generate", str(kjv_text), "--prompt", "And", "--raw", "--ignore-eos", "--max-new-tokens", "1000", *arguments]
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=120)
        assert result.returncode == OUTPUT, result.stderr
        assert result.stderr.count("error: cannot write to standard output: No space left on device") == 1


def test_memory_grows_with_the_length_of_the_prompt(kjv_text: Path, tmp_path: Path) -> None:
    def peak(words: int) -> tuple[int, int]:
        (tmp_path / "prompt.txt").write_text("And the LORD said. " * words)
        program = os.environ.get("DELTAVINO", "build/deltavino")
        command = [program, "generate", str(kjv_text), "--file", str(tmp_path / "prompt.txt"), "--raw", "--json", "--max-new-tokens", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        tokens = len(json.loads(process.stdout.read())["prompt_ids"])
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        return tokens, usage.ru_maxrss * 1024

    tokens, small = peak(300)
    more_tokens, large = peak(1500)
    # Read at once, the longer one takes 64 kB more for each token more.
    assert (large - small) / (more_tokens - tokens) < 35e3, (small, large)
