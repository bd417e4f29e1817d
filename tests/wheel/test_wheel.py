"""The installed wheel: the command, the functions, their exceptions, and that they stop."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import KJV, ROOT
from environment import exported, installed, wheel  # noqa: F401  (fixtures)

USAGE, INPUT, OUTPUT = 2, 3, 5
PROMPT = "And the LORD said unto"


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def good(result: subprocess.CompletedProcess) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_wheel_needs_openvino_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    needed = re.findall(r"^Requires-Dist: (\S+)", metadata, re.MULTILINE)
    assert needed == ["openvino==2026.4.1", "openvino-tokenizers==2026.4.1.0"]
    assert not [name for name in names if "libopenvino" in name or "libtbb" in name]
    assert "-manylinux_" in wheel.name


def test_licences_of_what_is_inside(wheel: Path) -> None:
    """Of each library that auditwheel copied, as dpkg knows it by name; of headers; and what those texts refer to."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        folder = next(name for name in names if name.endswith(".dist-info/METADATA")).removesuffix("METADATA")
        metadata = archive.read(folder + "METADATA").decode()
        folder += "licenses/"
        texts = {name.removeprefix(folder): archive.read(name).decode() for name in names if name.startswith(folder)}
    assert "LICENSE" in texts
    assert sorted(re.findall(r"^License-File: (.+)", metadata, re.MULTILINE)) == sorted(texts)
    packages = {line.split()[0] for line in texts["bundled/versions.txt"].splitlines()}
    assert {"libeigen3-dev", "libcli11-dev", "nlohmann-json3-dev"} <= packages
    libraries = [Path(name).name for name in names if name.startswith("deltavino.libs/")]
    assert len(libraries) > 5
    for library in libraries:
        plain = re.sub(r"^([^.]+)-[0-9a-f]{8}\.", r"\1.", library)
        said = good(subprocess.run(["dpkg-query", "-S", f"*/{plain}"], capture_output=True, text=True))
        assert packages & {line.split(":")[0] for line in said.splitlines()}, library
    for package in packages | {"nanobind", "robin_map"}:
        assert re.search("copyright|license", texts[f"bundled/{package}"], re.IGNORECASE), package
    referred = set(re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", "".join(texts.values())))
    assert len(referred) > 2
    for name in referred:
        assert len(texts[f"bundled/common-{name}"]) > 1000, name


def test_command(installed, tmp_path: Path) -> None:
    assert good(installed.run(installed.program, "--version")).startswith("deltavino 0.2.0 (OpenVINO 2026.4.1")
    wrong = installed.run(installed.program, "export")
    assert wrong.returncode == USAGE and wrong.stderr.startswith("error: ")
    good(installed.run(installed.program, "export", "-m", KJV, tmp_path / "out", "--weight-format", "int4"))
    said = good(installed.run(installed.program, "generate", tmp_path / "out", "--prompt", "What is in the picture?",
                              "--image", KJV / "pictures" / "red-circle-on-blue.png"))
    assert "red circle" in said
    good(installed.run(installed.program, "check", tmp_path / "out", "--against", KJV, "--tokens", "40"))


def test_export_is_the_programs(installed, exported: Path, tmp_path: Path) -> None:
    good(installed.run(installed.program, "export", "-m", KJV, tmp_path / "out", "--task", "text-generation-with-past"))
    assert digests(exported) == digests(tmp_path / "out")


def test_needs_no_torch_or_transformers(installed, tmp_path: Path) -> None:
    """Neither is there; and an export does not even load numpy."""
    code = """if True:
        import sys, deltavino
        deltavino.export(sys.argv[1], sys.argv[2], task='text-generation-with-past')
        print([name for name in ('torch', 'transformers', 'numpy', 'openvino') if name in sys.modules])"""
    assert good(installed.script(code, KJV, tmp_path / "out")).strip() == "[]"


def test_progress_notes_and_summary(installed, tmp_path: Path) -> None:
    code = """if True:
        import sys, json, deltavino
        steps, notes = [], []
        summary = deltavino.export(sys.argv[1], sys.argv[2], task='text-generation-with-past', weight_format='int4',
                                   group_size=64, keep=['*.o_proj.*=int8_asym'],
                                   progress=lambda *step: steps.append(step), note=notes.append)
        print(json.dumps({'steps': steps, 'notes': notes, 'files': {f.name: f.bytes for f in summary.files},
                          'stored': sorted({t.storage for t in summary.tensors}), 'task': summary.task}))"""
    found = json.loads(good(installed.script(code, KJV, tmp_path / "out")))
    assert found["steps"][-1][0] == "weights" and found["steps"][-1][1] == found["steps"][-1][2] > 0
    assert any("vision tower" in note for note in found["notes"])
    assert found["files"] == {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert "u4 in groups of 64" in found["stored"] and "u8 per channel" in found["stored"]


def test_dry_run(installed, tmp_path: Path) -> None:
    code = """if True:
        import sys, deltavino
        print(deltavino.export(sys.argv[1], sys.argv[2], dry_run=True).bytes_written)"""
    assert int(good(installed.script(code, KJV, tmp_path / "out"))) > 1_000_000
    assert not list(tmp_path.iterdir())


def test_verify(installed, tmp_path: Path) -> None:
    good(installed.script("import sys, deltavino; deltavino.export(sys.argv[1], sys.argv[2], verify=True)",
                          KJV, tmp_path / "out"))
    assert (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize(("call", "kind", "parent"), [
    ("export(sys.argv[1], 'x', weight_format='int3')", "UsageError", "ValueError"),
    ("export('/nowhere', 'x')", "InputError", "ValueError"),
    ("export(sys.argv[1], '/proc/x')", "OutputError", "OSError"),
    ("export('/etc', 'x')", "InputError", "ValueError"),
    ("inspect('/nowhere/at/all')", "InputError", "ValueError"),
    ("check('/nowhere')", "InputError", "ValueError"),
    ("generate('/nowhere', 'x')", "InputError", "ValueError"),
    ("build(sys.argv[1], name='other')", "UsageError", "ValueError"),
    ("export(sys.argv[1], 'x', group_size='64')", "TypeError", "TypeError"),
    ("export('nobody/nothing', 'x', cache_dir='/proc/x')", "", "Exception"),
])
def test_exceptions_by_kind(installed, call: str, kind: str, parent: str) -> None:
    code = f"""if True:
        import sys, deltavino
        try:
            deltavino.{call}
        except {parent} as error:
            print(type(error).__name__, isinstance(error, deltavino.Error), error)"""
    said = good(installed.script(code, KJV))
    assert said.startswith(kind) and said.split()[1] == str(kind != "TypeError")


def test_exit_codes_are_those_of_the_header(installed) -> None:
    header = (ROOT / "include" / "deltavino" / "error.hpp").read_text()
    kinds = dict(re.findall(r"^    (\w+) = (\d+),", header, re.MULTILINE))
    said = good(installed.script(
        "import deltavino._errors as e; print({k: v.__name__ for k, v in e._KINDS.items()})"))
    names = eval(said)
    assert set(names) == {int(code) for code in kinds.values()}
    for name, code in kinds.items():
        assert names[int(code)] in {name + "Error", name, "BugError" if name == "Internal" else ""}


def test_inspect_check_eval(installed, exported: Path) -> None:
    code = """if True:
        import sys, json, deltavino
        checkpoint, out, text = sys.argv[1:]
        print(json.dumps([
            deltavino.inspect(checkpoint), deltavino.inspect(out),
            (lambda r: [r.good, r.verdict, r.text(), json.loads(r.json()), r.html()[:15]])(
                deltavino.check(out, against=checkpoint, tokens=40)),
            [[str(m.model), m.perplexity, m.kl_divergence]
             for m in deltavino.eval(out, out, text=text, windows=2).models]]))"""
    checkpoint, directory, checked, evaluated = json.loads(good(installed.script(code, KJV, exported,
                                                                                 KJV / "held_out.txt")))
    assert checkpoint == json.loads(good(installed.run(installed.program, "inspect", KJV, "--json")))
    assert directory == json.loads(good(installed.run(installed.program, "inspect", exported, "--json")))
    assert checked[0] is True and checked[1] in checked[2] and checked[3]["good"] is True
    assert checked[4].lower().startswith("<!doctype html>")
    assert evaluated[0][1] == evaluated[1][1] > 1 and evaluated[1][2] == 0


def test_generate_gives_the_programs_answer_in_pieces(installed, exported: Path) -> None:
    code = """if True:
        import sys, deltavino
        pieces = []
        def read():
            answer = yield from deltavino.generate(sys.argv[1], sys.argv[2], raw=True, max_new_tokens=30)
            assert answer.text == ''.join(pieces), answer.text
            assert answer.finish is deltavino.FinishReason.Length and len(answer.ids) == 30
        for piece in read():
            pieces.append(piece)
        assert len(pieces) > 10, pieces
        print(''.join(pieces))"""
    program = installed.run(installed.program, "generate", exported, "--raw", "--prompt", PROMPT,
                            "--max-new-tokens", "30")
    assert good(installed.script(code, exported, PROMPT)) == good(program)


def test_generate_runs_a_checkpoint_from_the_cache(installed, tmp_path: Path) -> None:
    code = f"""if True:
        import glob, os, sys, deltavino
        os.environ['DELTAVINO_CACHE'] = {str(tmp_path / "cache")!r}
        notes = []
        for again in range(2):
            print(''.join(deltavino.generate(sys.argv[1], sys.argv[2], raw=True, max_new_tokens=5, note=notes.append,
                                             task='text-generation-with-past', weight_format='int8')))
        try:
            [kept] = glob.glob(os.environ['DELTAVINO_CACHE'] + '/**/openvino_model.xml', recursive=True)
            deltavino.generate(os.path.dirname(kept), 'x', sym=True)
        except deltavino.UsageError:
            print('refused')"""
    first, second, refused = good(installed.script(code, KJV, PROMPT)).splitlines()
    assert first == second and refused == "refused"


def test_conversation_and_left_generators(installed, exported: Path) -> None:
    code = """if True:
        import sys, deltavino
        runner = deltavino.Runner(sys.argv[1], system='Be short.')
        first = ''.join(runner.ask('Who made the earth?', max_new_tokens=8))
        left = runner.ask('And who?', max_new_tokens=100000, ignore_eos=True)
        next(left)
        try:
            next(runner.ask('At once?'))
        except RuntimeError as error:
            assert 'still being made' in str(error)
        left.close()
        runner.begin('Be short.')
        assert ''.join(runner.ask('Who made the earth?', max_new_tokens=8)) == first
        print('done')"""
    assert good(installed.script(code, exported)) == "done\n"


def test_built_model_gives_the_logits_of_the_directory(installed, exported: Path) -> None:
    code = """if True:
        import gc, sys, deltavino, openvino as ov, numpy as np
        def logits(model):
            compiled = ov.Core().compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
            ids = np.arange(100, 140, dtype=np.int64)[None]
            names = {i.any_name for i in compiled.inputs}
            feed = {'input_ids': ids, 'attention_mask': np.ones_like(ids), 'beam_idx': np.zeros(1, np.int32),
                    'position_ids': np.arange(40)[None]}
            return compiled({k: v for k, v in feed.items() if k in names})['logits']
        model = deltavino.build(sys.argv[1])
        gc.collect()
        assert isinstance(model, ov.Model)
        built = logits(model)
        np.testing.assert_array_equal(built, logits(ov.Core().read_model(sys.argv[2] + '/openvino_model.xml')))
        print(built.shape)"""
    assert good(installed.script(code, KJV, exported)).startswith("(1, 40, ")


# Long enough to be interrupted after a second.
BUSY = {
    "export": "deltavino.export(big, out, weight_format='int4')",
    "export with progress": "deltavino.export(big, out, weight_format='int4', progress=lambda *a: None)",
    "build": "deltavino.build(big, weight_format='int4')",
    "eval": "deltavino.eval(small, small, text=text)",
    "bench": "deltavino.bench(small, prompt_tokens=[100000])",
    "check": "deltavino.check(small, against=kjv, text=text, tokens=100000)",
    "generate": "list(deltavino.generate(small, 'x', raw=True, ignore_eos=True, max_new_tokens=10**9))",
}


@pytest.fixture(scope="session")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose conversion takes long: the embedding of the bundled one, many times as large."""
    import struct

    folder = tmp_path_factory.mktemp("big")
    for path in KJV.iterdir():
        if path.is_file() and path.name not in {"model.safetensors", "config.json"}:
            (folder / path.name).write_bytes(path.read_bytes())
    rows = 8_000_000
    config = json.loads((KJV / "config.json").read_text())
    text = config.get("text_config", config)
    text["vocab_size"] = rows
    (folder / "config.json").write_text(json.dumps(config))
    content = (KJV / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    name = next(n for n in header if n.endswith("embed_tokens.weight"))
    entry = header.pop(name)
    begin, end = entry["data_offsets"]
    data = data[:begin] + data[end:]
    for other in header.values():
        if other.get("data_offsets", [0])[0] >= end:
            other["data_offsets"] = [offset - (end - begin) for offset in other["data_offsets"]]
    size = rows * entry["shape"][1] * 2
    header[name] = {**entry, "shape": [rows, entry["shape"][1]], "data_offsets": [len(data), len(data) + size]}
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(packed)) + packed + data)
        file.truncate(8 + len(packed) + len(data) + size)  # zeros that take no disk
    return folder


def processor_seconds(process: int) -> float:
    """What a process, which may have ended, has used: the clock says nothing on a busy machine."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("name", BUSY)
def test_ctrl_c(installed, exported: Path, big: Path, tmp_path: Path, name: str) -> None:
    """Another Python thread runs meanwhile, so the GIL is free; SIGINT raises KeyboardInterrupt soon."""
    code = f"""if True:
        import signal, sys, threading, time, deltavino
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        big, small, kjv, text, out = sys.argv[1:]
        def tick():
            time.sleep(0.3)
            print('running', flush=True)
        threading.Thread(target=tick, daemon=True).start()
        try:
            {BUSY[name]}
            print('ended')
        except KeyboardInterrupt:
            print('stopped', flush=True)"""
    process = subprocess.Popen([installed.python, "-c", code, big, exported, KJV, KJV / "held_out.txt",
                                tmp_path / "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "running\n", process.communicate()
    before = processor_seconds(process.pid)
    process.send_signal(signal.SIGINT)
    line = process.stdout.readline()
    seconds = processor_seconds(process.pid) - before
    assert process.wait(60) == 0, process.stderr.read()
    assert line == "stopped\n"
    assert seconds < 4.0, "it takes some tenths of a second"
    assert not (tmp_path / "out").exists()


def test_a_callback_that_raises_ends_the_work(installed, big: Path, tmp_path: Path) -> None:
    code = """if True:
        import sys, deltavino
        def stop(stage, done, total):
            raise LookupError('enough')
        try:
            deltavino.export(sys.argv[1], sys.argv[2], progress=stop)
        except LookupError as error:
            print(error)"""
    assert good(installed.script(code, big, tmp_path / "out")) == "enough\n"
    assert not list(tmp_path.iterdir())


def test_keywords_are_the_options(installed) -> None:
    """What --help lists is a keyword, or its name is one of these."""
    said = good(installed.script("""if True:
        import inspect, json, deltavino
        print(json.dumps({name: list(inspect.signature(getattr(deltavino, name)).parameters)
                          for name in ('export', 'generate', 'inspect', 'check', 'eval', 'bench')}))"""))
    other = {"--image": "images", "--model": "models", "--json": None, "--report": "report", "--help": None,
             "--quiet": None, "--json-errors": None, "--file": None, "--chat": None, "--no-think": "think",
             "--stop": "stop"}
    for command, keywords in json.loads(said).items():
        options = re.findall(r"^ +(?:-\w, )?(--[\w-]+)", good(installed.run(installed.program, command, "--help")),
                             re.MULTILINE)
        assert len(options) > 3
        for option in options:
            keyword = option[2:].replace("-", "_")
            allowed = option in other and (other[option] is None or other[option] in keywords)
            # In the mapping of that keyword:
            allowed |= "ovms" in keywords and ("_" in option or keyword in ("pooling", "normalize", "truncate"))
            assert keyword in keywords or allowed, f"{command} {option}"


def test_types(installed, tmp_path: Path) -> None:
    sample, mistaken = ((tmp_path / name).with_suffix(".py") for name in ("sample", "mistaken"))
    sample.write_text("""if True:
    import deltavino

    summary: deltavino.ExportSummary = deltavino.export("a", "b", weight_format="int4", keep=["x=fp16"])
    total: int = sum(file.bytes for file in summary.files)
    pieces: list[str] = list(deltavino.generate("b", "Why?", temperature=0.7, images=["cat.png"]))
    perplexities: list[float] = [model.perplexity for model in deltavino.eval("b", text="c").models]
    good: bool = deltavino.check("b", against="a").good
    try:
        deltavino.inspect("a")["tensors"]
    except deltavino.InputError as error:
        code: int = error.exit_code
""")
    mistaken.write_text("""if True:
    import deltavino

    deltavino.export("a", "b", weight_format="int3")
    deltavino.generate("b", 3)
    number: int = deltavino.check("b").verdict
""")
    mypy = [str(Path(sys.executable).parent / "mypy"), "--strict", "--python-executable", str(installed.python),
            "--cache-dir", str(tmp_path / "cache")]
    right = subprocess.run([*mypy, str(sample)], capture_output=True, text=True)
    assert right.returncode == 0, right.stdout
    wrong = subprocess.run([*mypy, str(mistaken)], capture_output=True, text=True)
    assert wrong.stdout.count("error:") == 3, wrong.stdout
    package = next((installed.folder / "lib").glob("python3*/site-packages/deltavino"))
    own = subprocess.run([*mypy, "-p", "deltavino"], capture_output=True, text=True, cwd=package.parent)
    assert own.returncode == 0, own.stdout


def test_stub_is_that_of_the_extension(installed) -> None:
    import nanobind

    made = installed.run(installed.python, ROOT / "tools" / "make_stub.py", Path(nanobind.__file__).parent)
    assert good(made) == (ROOT / "python" / "deltavino" / "_deltavino.pyi").read_text(), (
        "the extension changed: run tools/make_stub.py")
