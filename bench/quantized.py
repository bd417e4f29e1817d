#!/usr/bin/env python3
"""Export of checkpoints that are quantized already beside the same geometry in bfloat16: time and peak memory.

    bench/quantized.py [--layers 2] [--rounds 5] [--to int4] [--sources bf16 fp8 awq gptq] [--real-vocabulary]
                       [--scratch DIR]

Random weights at the widths of Qwen3.6-27B (tests/data/configs), written to DIR and removed again. The sources
alternate, in another order each round, with the files in the page cache; the ratio is the median of the ratios
within the rounds, so that what else runs on the machine weighs on both sides. Processor seconds are those of the
program and the kernel for it. With --real-vocabulary the checkpoint has embedding and head of 248320 rows (holes in
the file) and a made tokenizer.json of as many entries; that is for memory. Needs numpy only.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "tests" / "data" / "configs" / "Qwen3.6-27B.json"
TOKENIZER = ROOT / "examples" / "kjv-tiny"
SMALL_VOCABULARY = 1024
BLOCK = 128  # rows and columns that share a scale of FP8, columns of AWQ and GPTQ
REPEATED = 1 << 22  # random numbers that are made once and then repeated
METHODS = {
    "bf16": None,
    "fp8": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [BLOCK, BLOCK]},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": BLOCK, "version": "gemm", "zero_point": True},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": BLOCK, "desc_act": False, "sym": False},
}


def tensors(config: dict):
    """Names and shapes, and whether a quantizer takes them."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    key_heads, value_heads = config["linear_num_key_heads"], config["linear_num_value_heads"]
    values = value_heads * config["linear_value_head_dim"]
    channels = 2 * key_heads * config["linear_key_head_dim"] + values
    yield "model.embed_tokens.weight", [config["vocab_size"], hidden], False
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", [hidden], False
        yield p + "post_attention_layernorm.weight", [hidden], False
        if i % config["full_attention_interval"] == config["full_attention_interval"] - 1:
            queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
            yield p + "self_attn.q_proj.weight", [2 * queries, hidden], True
            yield p + "self_attn.k_proj.weight", [keys, hidden], True
            yield p + "self_attn.v_proj.weight", [keys, hidden], True
            yield p + "self_attn.o_proj.weight", [hidden, queries], True
            yield p + "self_attn.q_norm.weight", [head], False
            yield p + "self_attn.k_norm.weight", [head], False
        else:
            yield p + "linear_attn.in_proj_qkv.weight", [channels, hidden], True
            yield p + "linear_attn.in_proj_z.weight", [values, hidden], True
            yield p + "linear_attn.in_proj_a.weight", [value_heads, hidden], False
            yield p + "linear_attn.in_proj_b.weight", [value_heads, hidden], False
            yield p + "linear_attn.conv1d.weight", [channels, 1, config["linear_conv_kernel_dim"]], False
            yield p + "linear_attn.dt_bias", [value_heads], False
            yield p + "linear_attn.A_log", [value_heads], False
            yield p + "linear_attn.norm.weight", [config["linear_value_head_dim"]], False
            yield p + "linear_attn.out_proj.weight", [hidden, values], True
        yield p + "mlp.gate_proj.weight", [inner, hidden], True
        yield p + "mlp.up_proj.weight", [inner, hidden], True
        yield p + "mlp.down_proj.weight", [hidden, inner], True
    yield "model.norm.weight", [hidden], False
    yield "lm_head.weight", [config["vocab_size"], hidden], False


class Numbers:
    """Random values of the types that the checkpoints hold."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.normal = generator.standard_normal(REPEATED, np.float32)
        self.words = generator.integers(0, 1 << 32, REPEATED, np.uint32).astype("<u4")
        codes = np.arange(256)
        exponent, fraction = codes >> 3 & 15, codes & 7
        value = np.where(exponent == 0, fraction / 8 * 2.0**-6, (1 + fraction / 8) * 2.0 ** (exponent - 7.0))
        positive = value[:127]  # 127 is NaN
        middles = (positive[1:] + positive[:-1]) / 2
        scaled = np.clip(self.normal / 4, -1, 1) * 448
        self.float8 = np.searchsorted(middles, np.abs(scaled)).astype(np.uint8) | (scaled < 0).astype(np.uint8) << 7

    def bfloat16(self, count: int, scale: float) -> bytes:
        bits = ((self.normal * np.float32(scale)).view(np.uint32) >> 16).astype("<u2")
        return np.resize(bits, count).tobytes()

    def float16(self, count: int, scale: float) -> bytes:
        values = (np.abs(self.normal[: 1 << 16]) * 0.1 + 1) * scale
        return np.resize(values.astype("<f2"), count).tobytes()


def stored(name: str, shape: list[int], source: str, numbers: Numbers):
    """The tensors that hold one weight: (name, type, shape, bytes)."""
    count, scale = int(np.prod(shape)), shape[-1] ** -0.5
    if source == "bf16":
        yield name, "BF16", shape, numbers.bfloat16(count, scale)
        return
    rows, columns = shape
    module = name.removesuffix(".weight")
    if source == "fp8":
        blocks = [-(-rows // BLOCK), -(-columns // BLOCK)]
        yield name, "F8_E4M3", shape, np.resize(numbers.float8, count).tobytes()
        yield name + "_scale_inv", "BF16", blocks, numbers.bfloat16(int(np.prod(blocks)), scale / 112)
        return
    words = [columns, rows // 8] if source == "awq" else [columns // 8, rows]
    groups = columns // BLOCK
    yield module + ".qweight", "I32", words, np.resize(numbers.words, int(np.prod(words))).tobytes()
    yield module + ".qzeros", "I32", [groups, rows // 8], np.resize(numbers.words, groups * rows // 8).tobytes()
    yield module + ".scales", "F16", [groups, rows], numbers.float16(groups * rows, scale / 4)


def write_checkpoint(folder: Path, source: str, layers: int, real_vocabulary: bool, numbers: Numbers) -> None:
    folder.mkdir(parents=True)
    config = json.loads(CONFIG.read_text())["text_config"]
    config |= {"architectures": ["Qwen3_5ForCausalLM"], "num_hidden_layers": layers}
    config.pop("layer_types", None)
    config["full_attention_interval"] = min(config["full_attention_interval"], layers)  # one layer needs it
    if not real_vocabulary:
        config |= {"vocab_size": SMALL_VOCABULARY, "eos_token_id": 0, "bos_token_id": None}
    if METHODS[source]:
        config["quantization_config"] = METHODS[source]
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    header, offset = {}, 0
    # The header needs all sizes before the first byte; the data is made a second time for the file.
    for data in (False, True):
        if data:
            text = json.dumps(header).encode()
            file = (folder / "model.safetensors").open("wb")
            file.write(struct.pack("<Q", len(text)) + text)
            start = file.tell()
            file.truncate(start + offset)
        for name, shape, quantized in tensors(config):
            hole = shape[0] > SMALL_VOCABULARY and shape[0] == config["vocab_size"]
            if hole:  # never whole in memory
                parts = [(name, "BF16", shape, 2 * int(np.prod(shape)))]
            else:
                parts = stored(name, shape, source if quantized else "bf16", numbers)
            for part, dtype, part_shape, content in parts:
                if not data:
                    size = content if hole else len(content)
                    header[part] = {"dtype": dtype, "shape": part_shape, "data_offsets": [offset, offset + size]}
                    offset += size
                elif not hole:
                    file.seek(start + header[part]["data_offsets"][0])
                    file.write(content)
    file.close()


def write_tokenizer(folder: Path, entries: int) -> None:
    """The bundled tokenizer with `entries` made-up tokens, each the merge of two before it."""
    tokenizer = json.loads((TOKENIZER / "tokenizer.json").read_text())
    model = tokenizer["model"]
    letters = sorted(model["vocab"], key=model["vocab"].get)[:256]
    chance = random.Random(0)
    tokens, known, merges = list(letters), set(letters), []
    frequent = [letter for letter in letters if letter.isascii() and letter.isalpha()] + ["Ġ"]
    while len(tokens) < entries:
        left = chance.choice(tokens if chance.random() < 0.5 else frequent)
        right = chance.choice(tokens if chance.random() < 0.5 else frequent)
        if len(left) + len(right) <= 12 and left + right not in known:
            tokens.append(left + right)
            known.add(left + right)
            merges.append([left, right])
    model["vocab"] = {token: i for i, token in enumerate(tokens)}
    model["merges"] = merges
    moved = {}
    for i, added in enumerate(tokenizer["added_tokens"]):
        moved[str(added["id"])] = str(entries + i)
        added["id"] = entries + i
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    config = json.loads((TOKENIZER / "tokenizer_config.json").read_text())
    if "added_tokens_decoder" in config:
        config["added_tokens_decoder"] = {moved.get(k, k): v for k, v in config["added_tokens_decoder"].items()}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    shutil.copy(TOKENIZER / "chat_template.jinja", folder)


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak megabytes of a command; raises when it fails."""
    # In a small process of its own: the peak of a child begins with that of its parent.
    script = (
        "import os,sys,time\n"
        "start=time.perf_counter()\n"
        "pid=os.posix_spawn(sys.argv[1],sys.argv[1:],os.environ,file_actions=[(os.POSIX_SPAWN_OPEN,1,os.devnull,1,0)])\n"
        "_,status,used=os.wait4(pid,0)\n"
        "print(time.perf_counter()-start,used.ru_utime+used.ru_stime,used.ru_maxrss*1024/1e6)\n"
        "sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    wall, processor, peak = map(float, done.stdout.split())
    return wall, processor, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--to", default="int4", help="--weight-format of the export [int4]")
    parser.add_argument("--sources", nargs="+", choices=METHODS, default=["bf16", "fp8"], help="the first is the reference")
    parser.add_argument("--real-vocabulary", action="store_true")
    parser.add_argument("--scratch", type=Path, help="folder for some gigabytes [the system's]")
    parser.add_argument("--program", default=os.environ.get("DELTAVINO", str(ROOT / "build" / "deltavino")))
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="bench-quantized-", dir=arguments.scratch))
    try:
        run(arguments, work)
    finally:
        shutil.rmtree(work)


def run(arguments: argparse.Namespace, work: Path) -> None:
    numbers = Numbers()
    for source in arguments.sources:
        write_checkpoint(work / source, source, arguments.layers, arguments.real_vocabulary, numbers)
        if arguments.real_vocabulary:
            added = len(json.loads((TOKENIZER / "tokenizer.json").read_text())["added_tokens"])
            write_tokenizer(work / source, 248070 - added)
    print(subprocess.run([arguments.program, "--version"], capture_output=True, text=True, check=True).stdout.strip())
    print(f"load average before: {os.getloadavg()[0]:.2f}, cores: {os.cpu_count()}")
    results: dict[str, list[tuple[float, float, float]]] = {source: [] for source in arguments.sources}
    for turn in range(arguments.rounds):
        order = arguments.sources[turn % len(arguments.sources) :] + arguments.sources[: turn % len(arguments.sources)]
        for source in order:
            subprocess.run(["cat", str(work / source / "model.safetensors")], stdout=subprocess.DEVNULL, check=True)
            command = [arguments.program, "export", "-m", str(work / source), str(work / "out"), "--task"]
            command += ["text-generation-with-past", "--weight-format", arguments.to]
            command += [] if arguments.real_vocabulary else ["--disable-convert-tokenizer"]
            results[source].append(measured(command))
            shutil.rmtree(work / "out")
    print(f"load average after: {os.getloadavg()[0]:.2f}\n")
    print(f"| to {arguments.to} from | wall seconds | ratio | processor seconds | ratio | peak memory |\n|---|---|---|---|---|---|")
    reference = results[arguments.sources[0]]
    for source, samples in results.items():
        size = (work / source / "model.safetensors").stat().st_size / 1e9
        cells = []
        for part in (0, 1):
            ratios = [sample[part] / base[part] for sample, base in zip(samples, reference, strict=True)]
            cells += [f"{statistics.median(s[part] for s in samples):.2f}", f"{statistics.median(ratios):.2f}"]
        peak = max(sample[2] for sample in samples)
        print(f"| {source} ({size:.2f} GB) | {' | '.join(cells)} | {peak:.0f} MB |")
    for source in arguments.sources[1:]:
        for part, what in ((0, "wall"), (1, "processor")):
            each = [f"{b[part] / a[part]:.2f}" for a, b in zip(reference, results[source], strict=True)]
            print(f"{what}, {source} over {arguments.sources[0]}, round by round: {' '.join(each)}")


if __name__ == "__main__":
    main()
