#!/usr/bin/env python3
"""Prints the type stub of the installed extension deltavino._deltavino, as python/deltavino/_deltavino.pyi has it.

    make_stub.py FOLDER_OF_NANOBIND

nanobind may be another environment's. Its maker of stubs needs typing_extensions below Python 3.11, which is taken from
beside it.
"""

import importlib
import re
import sys
from pathlib import Path

nanobind = Path(sys.argv[1])
sys.path += [str(nanobind), str(nanobind.parent)]
stubgen = importlib.import_module("stubgen")
generator = stubgen.StubGen(importlib.import_module("deltavino._deltavino"))
generator.put(generator.module)
text = generator.get()
text = re.sub(r"\bos\.PathLike\b", "os.PathLike[str]", text)
text = re.sub(r": Callable\b(?!\[)", ": Callable[..., object]", text)
print(text.replace("-> dict:", "-> dict[str, str]:"), end="")
