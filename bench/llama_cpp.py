#!/usr/bin/env python3
"""Speed of an exported directory beside llama.cpp with the same checkpoint, in alternating fresh processes.

    bench/llama_cpp.py CHECKPOINT DIR [DIR ...] --source TREE --tools DIR --work DIR [--formats Q4_0,Q4_K_M]
                       [--prompt-tokens 512,2048] [--new-tokens 64] [--rounds 6] [--threads 2]

Each DIR is measured by `deltavino bench`, each format of ggml by llama-bench: the prompts, and new tokens after the first
of them, each in a process of its own. Both read something before what counts. llama-bench has its own default settings.
Every second round is in the opposite order. Prints medians, least
and most, and for each DIR and format the ratio in the same round. llama.cpp's threads wait for each other without sleeping
and suffer more than ours where other programs run: a measurement during which others took more than a tenth of the
processors is made again, at most four times in all, and the one with the least is taken; their share is printed. On a busy
machine --one-thread is fairer: both run in this Python on one thread, the time is the processor's, prompts are read in
pieces of 512 tokens.

TREE is a source tree of llama.cpp, DIR of --tools holds its programs. PyPI has both in the source package of
llama-cpp-python, below vendor/llama.cpp; what was measured had version 0.3.36 with commit 0c1e57098:

    pip download --no-deps --no-binary :all: llama-cpp-python==0.3.36 && tar xzf llama_cpp_python-0.3.36.tar.gz
    cmake -S llama_cpp_python-0.3.36/vendor/llama.cpp -B llama -DCMAKE_BUILD_TYPE=Release -DLLAMA_OPENSSL=OFF \\
          -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF
    cmake --build llama --target llama-bench llama-quantize llama-imatrix

and then `--source llama_cpp_python-0.3.36/vendor/llama.cpp --tools llama/bin`. TREE's convert_hf_to_gguf.py needs torch
and transformers: run this with the Python of .venv-parity (tools/setup.sh --parity). bench/sparse_checkpoint.py --full
makes checkpoints of published sizes. --work keeps the files of ggml; those that are there are not made again.
"""

import argparse
import ctypes
import functools
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PIECE = 512  # tokens that are read at once, as `generate` and llama.cpp's defaults have it
SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)

# convert_hf_to_gguf.py knows a tokenizer by a hash of what it makes of a text; one with another vocabulary is unknown to
# it, and a checkpoint without one cannot be converted. The splitting rule is Qwen3.5's in both cases.
CONVERT = """
import sys
from pathlib import Path
tree, checkpoint, target, kind = sys.argv[1:]
sys.path[:0] = [tree, tree + "/gguf-py"]
import convert_hf_to_gguf
from conversion.base import TextModel
TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen35"
def without_vocabulary(self):
    self._set_vocab_none()
    self.gguf_writer.add_vocab_size(self.hparams["vocab_size"])
if not (Path(checkpoint) / "tokenizer.json").exists():
    for made in (TextModel, *TextModel.__subclasses__()):
        made.set_vocab = without_vocabulary
sys.argv = ["convert", checkpoint, "--outfile", target, "--outtype", kind, "--no-mtp"]
convert_hf_to_gguf.main()
"""


def run(command: list) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command[:3]))} ... failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def convert(tree: Path, checkpoint: Path, target: Path, kind: str) -> Path:
    if not target.exists():
        run([sys.executable, "-c", CONVERT, tree, checkpoint, target, kind])
    return target


def quantize(tools: Path, source: Path, target: Path, kind: str, *options: object) -> Path:
    if not target.exists():
        run([tools / "llama-quantize", *options, source, target, kind, os.cpu_count()])
    return target


def rate_of_llama(tools: Path, model: Path, what: tuple[int, int], threads: int) -> float:
    """Tokens a second: of a prompt, or of new ones after it where their number is not 0."""
    prompt, new = what
    lengths = ["-p", 0, "-n", new, "-d", prompt] if new else ["-p", prompt, "-n", 0]
    (found,) = json.loads(run([tools / "llama-bench", "-m", model, "-t", threads, "-r", 1, "-o", "json", *lengths]))
    return found["avg_ts"]


def rate_of_ours(program: Path, model: Path, what: tuple[int, int], threads: int) -> float:
    prompt, new = what
    report = json.loads(run([program, "bench", model, "--rounds", 1, "--threads", threads, "--new-tokens", new or 1, "--json", "--quiet",
                             "--prompt-tokens", prompt]))  # fmt: skip
    (found,) = report["models"][0]["processes"][0]["lengths"]
    return found["new_tokens"] / found["decode_seconds"] if new else found["prompt_tokens"] / found["prefill_seconds"]


def load_library(source: Path, tools: Path) -> types.ModuleType:
    """llama-cpp-python's declarations over the library of `tools`, without the rest of that package."""
    os.environ["LLAMA_CPP_LIB_PATH"] = str(tools.resolve())
    package = types.ModuleType("llama_cpp")
    package.__path__ = [str(source.resolve().parents[1] / "llama_cpp")]
    sys.modules["llama_cpp"] = package
    import llama_cpp.llama_cpp as library

    library.llama_log_set(SILENT, ctypes.c_void_p(0))
    library.llama_backend_init()
    return library


def pieces(length: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + PIECE, length)) for begin in range(0, length, PIECE)]


def seconds_of_ours(directory: Path, prompts: list[int], new: int) -> dict[str, float]:
    """Processor seconds of one thread."""
    import inference
    import openvino as ov

    core = ov.Core()
    model = core.read_model(directory / "openvino_model.xml")
    inference.keep_last_token(model)
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1})
    request = compiled.create_infer_request()

    def read(ids: np.ndarray, past: int) -> None:
        request.infer(inference.feeds(compiled, ids[None], past))

    return timed(read, request.reset_state, compiled.output(0).partial_shape[-1].get_length(), prompts, new)


def seconds_of_llama(library: types.ModuleType, path: Path, prompts: list[int], new: int) -> dict[str, float]:
    """The same; pieces as long, keys and values in float16, which is its default."""
    model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
    options = library.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch = max(prompts) + new + PIECE, PIECE, PIECE
    options.n_threads = options.n_threads_batch = 1
    context = library.llama_init_from_model(model, options)
    batch = library.llama_batch_init(PIECE, 0, 1)

    def read(ids: np.ndarray, past: int) -> None:
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = int(token), past + i, 1, 0
            batch.logits[i] = i == len(ids) - 1
        if library.llama_decode(context, batch) != 0:
            raise SystemExit(f"llama.cpp does not decode with {path}")
        library.llama_get_logits(context)  # waits for it

    def forget() -> None:
        library.llama_memory_clear(library.llama_get_memory(context), True)

    return timed(read, forget, library.llama_vocab_n_tokens(library.llama_model_get_vocab(model)), prompts, new)


def timed(read: Callable[[np.ndarray, int], None], forget: Callable[[], None], vocabulary: int, prompts: list[int], new: int) -> dict[str, float]:
    ids = np.random.default_rng(0).integers(0, vocabulary, max(prompts) + new)
    found = {}
    for number, length in enumerate([prompts[0], *prompts]):  # the first one is not counted
        forget()
        start = time.process_time()
        for begin, end in pieces(length):
            read(ids[begin:end], begin)
        if number > 0:
            found[f"prompt of {length}"] = time.process_time() - start
        if number == 1:
            start = time.process_time()
            for i in range(length, length + new):
                read(ids[i : i + 1], i)
            found["new tokens"] = time.process_time() - start
    return found


def rates_on_one_thread(who: str, arguments: argparse.Namespace, wanted: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Tokens for a second of processor time, in a process of its own."""
    command = [sys.executable, __file__, arguments.checkpoint, *arguments.directories, "--source", arguments.source, "--tools", arguments.tools,
               "--work", arguments.work, "--prompt-tokens", arguments.prompt_tokens, "--new-tokens", arguments.new_tokens, "--one", who]  # fmt: skip
    seconds = json.loads(run(command))
    return {key: (new or prompt) / seconds[key] for key, (prompt, new) in wanted.items()}


def processor_seconds() -> tuple[float, float]:
    """Of the whole machine (0 where the system does not tell), and of the children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        user, nice, system, _, _, irq, soft, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    except OSError:
        return 0.0, 0.0
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK"), children.ru_utime + children.ru_stime


def share_of_others(before: tuple[float, float], seconds: float) -> float:
    """Of the processors, since then."""
    after = processor_seconds()
    others = (after[0] - before[0]) - (after[1] - before[1])
    return max(0.0, others) / (seconds * (os.cpu_count() or 1))


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def wait_for_quiet(most: float) -> None:
    """Until others leave the processors to us when we ask for them; after three minutes without that, go on."""
    for _ in range(60):
        before, start = processor_seconds(), time.perf_counter()
        probes = [multiprocessing.Process(target=spin, args=(0.5,)) for _ in range(os.cpu_count() or 1)]
        for probe in probes:
            probe.start()
        for probe in probes:
            probe.join()
        if share_of_others(before, time.perf_counter() - start) <= most:
            return
        time.sleep(2.5)


def undisturbed(measure: Callable[[], float], most: float, tries: int) -> tuple[float, float]:
    """The first measurement during which others took at most that share of the processors, else the one with the least."""
    best: tuple[float, float] | None = None
    for _ in range(tries):
        wait_for_quiet(most)
        before, start = processor_seconds(), time.perf_counter()
        rate = measure()
        share = share_of_others(before, time.perf_counter() - start)
        if best is None or share < best[1]:
            best = rate, share
        if share <= most:
            break
    assert best is not None
    return best


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def print_tables(found: dict[str, list[dict[str, float]]], ours: list[str], theirs: list[str]) -> None:
    what = list(next(iter(found.values()))[0])
    print("\n| tokens a second, median (least-most) | " + " | ".join(what) + " |\n|---" + "|---" * len(what) + "|")
    for name, rounds in found.items():
        print(f"| {name} | " + " | ".join(spread([r[key] for r in rounds], 1) for key in what) + " |")
    print("\n| ratio in the same round | " + " | ".join(what) + " |\n|---" + "|---" * len(what) + "|")
    for a in ours:
        for b in theirs:
            ratios = {key: [x[key] / y[key] for x, y in zip(found[a], found[b], strict=True)] for key in what}
            print(f"| {a} over {b} | " + " | ".join(spread(ratios[key], 2) for key in what) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("directories", type=Path, nargs="+")
    parser.add_argument("--source", type=Path, required=True, help="source tree of llama.cpp")
    parser.add_argument("--tools", type=Path, required=True, help="folder with llama-bench and llama-quantize")
    parser.add_argument("--work", type=Path, required=True, help="keep the files of ggml here")
    parser.add_argument("--formats", default="Q4_0,Q4_K_M")
    parser.add_argument("--prompt-tokens", default="512,2048")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--most-of-others", type=float, default=0.1, help="share of the processors beyond which a measurement is repeated")
    parser.add_argument("--tries", type=int, default=4)
    parser.add_argument("--program", type=Path, default=ROOT / "build" / "deltavino")
    parser.add_argument("--one-thread", action="store_true", help="one thread, processor time")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write every round's rates here")
    arguments = parser.parse_args()
    arguments.work.mkdir(exist_ok=True)
    prompts = [int(length) for length in arguments.prompt_tokens.split(",")]
    if arguments.one:
        seconds = (seconds_of_llama(load_library(arguments.source, arguments.tools), Path(arguments.one), prompts, arguments.new_tokens)
                   if arguments.one.endswith(".gguf") else seconds_of_ours(Path(arguments.one), prompts, arguments.new_tokens))  # fmt: skip
        print(json.dumps(seconds))
        return
    name = arguments.checkpoint.name
    plain = convert(arguments.source, arguments.checkpoint, arguments.work / f"{name}-bf16.gguf", "bf16")
    models = {directory.name: directory for directory in arguments.directories}
    theirs = {f"llama.cpp {kind}": quantize(arguments.tools, plain, arguments.work / f"{name}-{kind}.gguf", kind)
              for kind in arguments.formats.split(",")}  # fmt: skip
    for label, path in theirs.items():
        print(f"{label}: {path.stat().st_size / 1e6:.1f} MB")
    wanted = {f"prompt of {length}": (length, 0) for length in prompts} | {"new tokens": (prompts[0], arguments.new_tokens)}
    everyone = [*models, *theirs]
    found: dict[str, list[dict[str, float]]] = {who: [] for who in everyone}
    shares: list[float] = []
    for turn in range(arguments.rounds):
        for who in everyone if turn % 2 == 0 else reversed(everyone):
            if arguments.one_thread:
                found[who].append(rates_on_one_thread(str({**models, **theirs}[who]), arguments, wanted))
                print(f"round {turn + 1}, {who}: {found[who][-1]}", file=sys.stderr, flush=True)
                continue
            program, function = (arguments.tools, rate_of_llama) if who in theirs else (arguments.program, rate_of_ours)
            rates: dict[str, float] = {}
            for key, what in wanted.items():
                call = functools.partial(function, program, {**models, **theirs}[who], what, arguments.threads)
                rates[key], share = undisturbed(call, arguments.most_of_others, arguments.tries)
                shares.append(share)
                print(f"round {turn + 1}, {who}, {key}: {rates[key]:.1f}, others {share:.0%}", file=sys.stderr, flush=True)
            found[who].append(rates)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    if shares:
        print(f"others took {statistics.median(shares):.0%} of the processors ({min(shares):.0%}-{max(shares):.0%})")
    print_tables(found, list(models), list(theirs))


if __name__ == "__main__":
    main()
