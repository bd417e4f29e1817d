#!/usr/bin/env python3
"""Canonical composition by openvino_tokenizers against Python's: normalize_unicode.py [SEQUENCES]

Random sequences of a letter and two to four combining marks, with a fixed seed. Prints the share that differs, by what
differs, and the shortest examples. Needs the wheels openvino and openvino_tokenizers.
"""

import random
import sys
import unicodedata

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from openvino_tokenizers import _get_factory


def normalizer(form: str) -> ov.CompiledModel:
    factory = _get_factory()
    text = ops.parameter([-1], ov.Type.string, "text")
    parts = factory.create("StringTensorUnpack", [text.output(0)], {})
    made = factory.create("CharsMapNormalization", parts.outputs(),
                          {"normalization_form": form, "remove_extra_whitespaces": False, "add_dummy_prefix": False,
                           "escape_whitespaces": False, "case_fold": False, "nmt": False})  # fmt: skip
    packed = factory.create("StringTensorPack", made.outputs(), {})
    return ov.Core().compile_model(ov.Model([ops.result(packed.output(0))], [text], "normalizer"), "CPU")


def sequences(count: int) -> list[str]:
    stream = random.Random(1)
    marks = [chr(c) for c in range(0x300, 0x370) if unicodedata.combining(chr(c))]
    letters = [chr(c) for c in range(0x61, 0x7B)]
    return [stream.choice(letters) + "".join(stream.choices(marks, k=stream.randint(2, 4))) for _ in range(count)]


def points(text: str) -> str:
    return " ".join(f"U+{ord(c):04X}" for c in text)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    texts = sequences(count)
    for form in ("nfd", "nfc"):
        made = [str(text) for text in normalizer(form)(np.array(texts))[0]]
        wanted = [unicodedata.normalize(form.upper(), text) for text in texts]
        wrong = [i for i in range(count) if made[i] != wanted[i]]
        print(f"{form}: {len(wrong)} of {count} differ")
        for i in sorted(wrong, key=lambda i: (len(texts[i]), texts[i]))[:3]:
            print(f"  {points(texts[i])}\n    expected {points(wanted[i])}\n    found    {points(made[i])}")


if __name__ == "__main__":
    main()
