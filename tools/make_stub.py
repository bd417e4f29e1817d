#!/usr/bin/env python3
"""Prints the type stub of the installed extension deltavino._deltavino, as python/deltavino/_deltavino.pyi has it.

    make_stub.py FOLDER_OF_NANOBIND
"""

import importlib
import re
import sys

sys.path.append(sys.argv[1])
stubgen = importlib.import_module("stubgen")
generator = stubgen.StubGen(importlib.import_module("deltavino._deltavino"))
generator.put(generator.module)
text = generator.get()
text = re.sub(r"\bos\.PathLike\b", "os.PathLike[str]", text)
text = re.sub(r": Callable\b(?!\[)", ": Callable[..., object]", text)
print(text.replace("-> dict:", "-> dict[str, str]:"), end="")
