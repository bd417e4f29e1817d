#!/usr/bin/env python3
"""Disk that exports of the published sizes need: `export --dry-run` on checkpoints that are holes.

    sizes.py [--program build/deltavino]

Language models only; a vision tower adds 0.2 to 0.9 GB to the checkpoint and about half of that to an export in
4 bit. Prints rows of README's table. Needs no disk and no packages.
"""

import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

# hidden, layers, heads, key-value heads, value heads of the delta rule, inner, head tied to the embedding
DENSE = {
    "0.8B": (1024, 24, 8, 2, 16, 3584, True),
    "2B": (2048, 24, 8, 2, 16, 6144, True),
    "4B": (2560, 32, 16, 4, 32, 9216, True),
    "9B": (4096, 32, 16, 4, 32, 12288, False),
    "27B": (5120, 64, 24, 4, 48, 17408, False),
}
MIXTURES = {"35B-A3B": "35b-a3b"}
VOCABULARY, HEAD, DELTA, KEY_HEADS = 248320, 256, 128, 16


def tensors(geometry: tuple, vocabulary: int = VOCABULARY) -> dict[str, list[int]]:
    """Names and shapes of a dense checkpoint."""
    hidden, layers, heads, kv, values, inner, tied = geometry
    mixed = 2 * KEY_HEADS * DELTA + values * DELTA
    delta = {"A_log": [values], "dt_bias": [values], "conv1d.weight": [mixed, 1, 4], "in_proj_a.weight": [values, hidden],
             "in_proj_b.weight": [values, hidden], "in_proj_qkv.weight": [mixed, hidden],
             "in_proj_z.weight": [values * DELTA, hidden], "norm.weight": [DELTA],
             "out_proj.weight": [hidden, values * DELTA]}  # fmt: skip
    attention = {"q_proj.weight": [2 * heads * HEAD, hidden], "k_proj.weight": [kv * HEAD, hidden],
                 "v_proj.weight": [kv * HEAD, hidden], "o_proj.weight": [hidden, heads * HEAD],
                 "q_norm.weight": [HEAD], "k_norm.weight": [HEAD]}  # fmt: skip
    found = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    if not tied:
        found["lm_head.weight"] = [vocabulary, hidden]
    for i in range(layers):
        layer = f"model.layers.{i}."
        mixer, parts = ("self_attn.", attention) if i % 4 == 3 else ("linear_attn.", delta)
        found |= {layer + mixer + name: shape for name, shape in parts.items()}
        found |= {layer + "mlp." + name: shape for name, shape in
                  {"gate_proj.weight": [inner, hidden], "up_proj.weight": [inner, hidden],
                   "down_proj.weight": [hidden, inner]}.items()}  # fmt: skip
        found |= {layer + name: [hidden] for name in ("input_layernorm.weight", "post_attention_layernorm.weight")}
    return found


def config(geometry: tuple, vocabulary: int = VOCABULARY) -> dict:
    hidden, layers, heads, kv, values, inner, tied = geometry
    return {
        "architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text", "dtype": "bfloat16", "vocab_size": vocabulary,
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv,
        "head_dim": HEAD, "linear_num_key_heads": KEY_HEADS, "linear_num_value_heads": values, "linear_key_head_dim": DELTA,
        "linear_value_head_dim": DELTA, "linear_conv_kernel_dim": 4, "full_attention_interval": 4, "intermediate_size": inner,
        "max_position_embeddings": 262144, "rms_norm_eps": 1e-6, "tie_word_embeddings": tied, "hidden_act": "silu", "eos_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25,
                            "mrope_section": [11, 11, 10], "mrope_interleaved": True},
    }  # fmt: skip


def write_dense(folder: Path, geometry: tuple, vocabulary: int = VOCABULARY) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config(geometry, vocabulary)))
    header, offset = {}, 0
    for name, shape in tensors(geometry, vocabulary).items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(packed)) + packed)
        file.truncate(8 + len(packed) + offset)


def gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB"


def bytes_of(text: str) -> float:
    number, unit = re.search(r": ([0-9.]+) (\w+) in \d+ files would be written", text).groups()
    return float(number) * {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/deltavino")
    program = parser.parse_args().program
    with tempfile.TemporaryDirectory() as work:
        for name in [*DENSE, *MIXTURES]:
            folder = Path(work) / name
            if name in DENSE:
                write_dense(folder, DENSE[name])
            else:
                subprocess.run([sys.executable, str(Path(__file__).parent / "sparse_checkpoint.py"), str(folder),
                                "--geometry", MIXTURES[name]], check=True, stdout=subprocess.DEVNULL)  # fmt: skip
            read = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
            sizes = []
            for options in (["int4"], ["int8"]):
                done = subprocess.run([program, "export", "-m", str(folder), str(Path(work) / "out"), "--dry-run",
                                       "--disable-convert-tokenizer", "--weight-format", *options],
                                      check=True, capture_output=True, text=True)  # fmt: skip
                sizes.append(gigabytes(bytes_of(done.stdout)))
            print(f"| {name} | {gigabytes(read)} | {' | '.join(sizes)} |", flush=True)


if __name__ == "__main__":
    main()
