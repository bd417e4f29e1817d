#!/usr/bin/env python3
"""nncf's own calibrated 4-bit compression of a float export, for bench/quality.py.

    bench/nncf_calibrated.py FLOAT TEXT OUTPUT WAY [GROUP] [--tokens N]

FLOAT: a float32 export of deltavino with its tokenizer. TEXT: what to calibrate on; as many windows of as many tokens
are taken, spread as evenly, as by `deltavino export --calibrate`. WAY: gptq, awq (with scale estimation) or all of
them. Writes OUTPUT/openvino_model.xml. Needs nncf and the tokenizers extension (tools/setup.sh --parity).
"""

import argparse
import json
import sys
import time
from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from tokenizers import Tokenizer

WINDOW = 256
WAYS = {"gptq": {"gptq": True}, "awq": {"awq": True, "scale_estimation": True}, "all": {"gptq": True, "awq": True, "scale_estimation": True}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("float", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("group", type=int, nargs="?", default=128)
    parser.add_argument("--tokens", type=int, default=16384)
    arguments = parser.parse_args()
    ids = Tokenizer.from_file(str(arguments.float / "tokenizer.json")).encode(arguments.text.read_text(), add_special_tokens=False).ids
    count = min(arguments.tokens, len(ids)) // WINDOW
    windows = [np.array(ids[begin : begin + WINDOW])[None] for begin in ((len(ids) - WINDOW) * w // (count - 1) for w in range(count))]
    model = ov.Core().read_model(arguments.float / "openvino_model.xml")
    names = {name for value in model.inputs for name in value.get_names()}
    made = {"input_ids": lambda w: w, "attention_mask": np.ones_like, "beam_idx": lambda w: np.zeros(1, np.int32),
            "position_ids": lambda w: np.arange(w.shape[1])[None]}
    samples = [{name: make(window) for name, make in made.items() if name in names} for window in windows]
    start = time.monotonic()
    compressed = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT4_ASYM, group_size=arguments.group, ratio=1.0,
                                       dataset=nncf.Dataset(samples), subset_size=len(samples), **WAYS[arguments.way])
    print(json.dumps({"seconds": time.monotonic() - start}), file=sys.stderr)
    arguments.output.mkdir(parents=True, exist_ok=True)
    ov.save_model(compressed, arguments.output / "openvino_model.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main()
