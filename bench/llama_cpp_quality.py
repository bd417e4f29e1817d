#!/usr/bin/env python3
"""What the formats of ggml cost: KL of llama.cpp's logits to float32, on the windows of bench/quality.py.

    bench/llama_cpp_quality.py --source TREE --tools DIR --work DIR [--json docs/quality.json] [--windows N]
                               [--checkpoint DIR --text FILE --calibration FILE]

TREE and DIR are those of bench/llama_cpp.py, whose page says where they come from; the library of DIR and the Python
declarations of llama-cpp-python beside TREE give the logits. Run it with the Python of .venv-parity.

The checkpoint becomes a file of ggml in float32; llama-quantize makes each format of it, alone and with an importance
matrix of llama-imatrix on the calibration text: for the bundled model the King James Bible without the held-out verses,
as in bench/quality.py. Windows of 256 tokens, each from empty states; the truth is the float32 export by deltavino in
OpenVINO, in float32. KL(truth || model) in nats and agreement of the most likely token are means over all positions, as
in `deltavino eval`; the gap is that of the perplexity. llama.cpp quantizes activations to 8 bit in products with
quantized weights, in blocks; the cost of that is in its numbers, as it is for whoever runs it.

The row "F32" must be near zero, or the two programs do not compute the same model: more than 0.0001 stops the script.
Bytes are those of the tensors. k-quants and IQ4_XS need rows of 256 columns or a multiple; llama-quantize takes another
format where a row is shorter. How many tensors have which type is printed and kept in the JSON. At the end deltavino
exports with `--target-size` what the formats of EQUAL take, alone and calibrated on the same text.
"""

import argparse
import ctypes
import json
import sys
import types
from collections import Counter
from pathlib import Path

import llama_cpp as speed
import numpy as np
import quality
from dynamic_quantization import EXACT, WINDOW, divergence, log_probabilities, log_softmax, windows

FORMATS = ("F32", "Q8_0", "Q4_0", "IQ4_NL", "IQ4_XS", "Q4_K_S", "Q4_K_M", "Q5_K_M")
EQUAL = ("IQ4_XS", "Q4_K_S", "Q4_K_M", "Q5_K_M")  # deltavino exports as many bytes
PLAIN, WEIGHED = "llama.cpp", "llama.cpp, imatrix"
WITHOUT_MATRIX = ("F32", "Q8_0")
MOST_BETWEEN_PROGRAMS = 1e-4


def logits_of_llama(library: types.ModuleType, path: Path, texts: list[np.ndarray]) -> list[np.ndarray]:
    """Log-probabilities [tokens, vocabulary] of each window, in float64; keys and values in float32."""
    model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
    options = library.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = WINDOW
    options.type_k = options.type_v = 0  # GGML_TYPE_F32
    options.n_threads = options.n_threads_batch = 1  # more wait for each other
    context = library.llama_init_from_model(model, options)
    size = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    batch = library.llama_batch_init(WINDOW, 0, 1)
    found = []
    for ids in texts:
        library.llama_memory_clear(library.llama_get_memory(context), True)
        batch.n_tokens = ids.shape[1]
        for i, token in enumerate(ids[0]):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = int(token), i, 1, 0, 1
        if library.llama_decode(context, batch) != 0:
            raise SystemExit(f"llama.cpp does not decode a window with {path}")
        found.append(log_softmax(np.ctypeslib.as_array(library.llama_get_logits(context), (ids.shape[1], size))))
    library.llama_batch_free(batch)
    library.llama_free(context)
    library.llama_model_free(model)
    return found


def tensors(path: Path, tree: Path) -> tuple[int, dict[str, int]]:
    """Bytes of all tensors, and how many matrices have each type."""
    sys.path.insert(0, str(tree / "gguf-py"))
    import gguf

    found = gguf.GGUFReader(path).tensors
    return sum(int(t.n_bytes) for t in found), dict(Counter(t.tensor_type.name for t in found if len(t.shape) > 1))


def perplexity(texts: list[np.ndarray], found: list[np.ndarray]) -> float:
    rows = [-logs[np.arange(len(logs) - 1), ids[0, 1:]] for ids, logs in zip(texts, found, strict=True)]
    return float(np.exp(np.concatenate(rows).mean()))


def row(name: str, producer: str, texts: list[np.ndarray], truth: list[np.ndarray], found: list[np.ndarray]) -> dict:
    same = np.mean([a.argmax(-1) == b.argmax(-1) for a, b in zip(truth, found, strict=True)])
    return {"format": f"ggml {name}", "producer": producer, "gap": perplexity(texts, found) - perplexity(texts, truth),
            "kl": divergence(truth, found), "top1": float(same)}  # fmt: skip


def of_equal_bytes(work: Path, checkpoint: Path, calibration: Path, text: Path, most: int, rows: list[dict]) -> list[dict]:
    """What deltavino makes of the same bytes, alone and calibrated; in float32, activations not quantized."""
    sizes = {row["format"]: row["bytes"] for row in rows if row["producer"] == PLAIN and row["format"].removeprefix("ggml ") in EQUAL}
    program, made = str(quality.ROOT / "build" / "deltavino"), {}
    for name, size in sizes.items():
        for producer, options in ((quality.OURS, []), (quality.ON_TEXT, ["--calibrate", str(calibration)])):
            made[name, producer] = work / f"{name}{len(options)}"
            quality.run([program, "export", "-m", str(checkpoint), str(made[name, producer]), "--task", quality.TEXT_TASK, "--weight-format", "int4",
                         "--target-size", f"{size / 1e6}MB", "--force", *options])  # fmt: skip
    output = quality.run([program, "eval", "--text", str(text), "--windows", str(most), "--json", str(work / "float"), *map(str, made.values())])
    reference, *results = json.loads(output)["models"]
    return [{"format": f"{name}, its bytes", "producer": producer, "gap": found["perplexity"] - reference["perplexity"], "kl": found["kl_divergence"],
             "top1": found["top1_agreement"], "bytes": found["weight_bytes"]}
            for (name, producer), found in zip(made, results, strict=True)]  # fmt: skip


def check_tokens(library: types.ModuleType, path: Path, text: str, expected: np.ndarray) -> None:
    """The importance matrix is made on llama.cpp's own tokens: they must be the tokenizer's."""
    model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
    data = text.encode()
    out = (ctypes.c_int32 * (len(data) + 8))()
    count = library.llama_tokenize(library.llama_model_get_vocab(model), data, len(data), out, len(out), False, False)
    library.llama_model_free(model)
    count = min(count - 8, len(expected))  # the end of the piece may cut a word
    if count < 1 or not np.array_equal(np.array(out[:count]), expected[:count]):
        raise SystemExit("llama.cpp cuts the text into other tokens than the tokenizer of the checkpoint")


def importance(tools: Path, plain: Path, text: Path, target: Path) -> Path:
    if not target.exists():
        speed.run([tools / "llama-imatrix", "-m", plain, "-f", text, "-o", target, "-c", 256, "--chunks", 64])
    return target


def write_json(path: Path, rows: list[dict]) -> None:
    """Exchanges the rows of ggml, all others stay as they are."""
    report = json.loads(path.read_text())
    report["rows"] = [found for found in report["rows"] if not found["format"].startswith("ggml ")] + rows
    path.write_text(json.dumps(report, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--tools", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="exchange the rows of ggml in this file")
    parser.add_argument("--windows", type=int, default=0, help="0: all of the text")
    parser.add_argument("--checkpoint", type=Path, help="another one with its own texts; a text model")
    parser.add_argument("--text", type=Path, default=quality.CHECKPOINT / "held_out.txt")
    parser.add_argument("--calibration", type=Path)
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(exist_ok=True)
    checkpoint = arguments.checkpoint or work / "checkpoint"
    if not checkpoint.exists():
        quality.text_only_checkpoint(checkpoint)
    calibration = arguments.calibration or quality.calibration_text(work / "calibration.txt")
    if calibration is None:
        raise SystemExit("the calibration text is missing: tools/setup.sh --texts")
    quality.run([str(quality.ROOT / "build" / "deltavino"), "export", "-m", str(checkpoint), str(work / "float"), "--task", quality.TEXT_TASK,
                 "--force", "--weight-format", "fp32"])  # fmt: skip
    texts = windows(work / "float", arguments.text, arguments.windows or 10**9)
    truth = log_probabilities(work / "float", texts, EXACT)
    library = speed.load_library(arguments.source, arguments.tools)
    plain = speed.convert(arguments.source, checkpoint, work / "F32.gguf", "f32")
    check_tokens(library, plain, arguments.text.read_text(encoding="utf-8")[:20000], np.concatenate(texts, 1)[0])
    matrix = importance(arguments.tools, plain, calibration, work / "imatrix.gguf")
    rows = []
    for name in FORMATS:
        for producer in (PLAIN,) if name in WITHOUT_MATRIX else (PLAIN, WEIGHED):
            options = ["--imatrix", matrix] if producer == WEIGHED else []
            path = plain if name == "F32" else speed.quantize(arguments.tools, plain, work / f"{name}{'-imatrix' if options else ''}.gguf", name, *options)
            found = row(name, producer, texts, truth, logits_of_llama(library, path, texts))
            found["bytes"], found["types"] = tensors(path, arguments.source)
            if name == "F32" and found["kl"] > MOST_BETWEEN_PROGRAMS:
                raise SystemExit(f"llama.cpp in float32 is at a KL of {found['kl']:.6f}: not the same model")
            print(f"| {name} | {producer} | {found['kl']:.5f} | {found['bytes'] / 1e6:.2f} MB | {found['gap']:+.4f} | {found['types']} |", flush=True)
            rows.append(found)
    for found in of_equal_bytes(work, checkpoint, calibration, arguments.text, arguments.windows, rows):
        print(f"| {found['format']} | {found['producer']} | {found['kl']:.5f} | {found['bytes'] / 1e6:.2f} MB | {found['gap']:+.4f} | |")
        rows.append(found)
    if arguments.json:
        write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
