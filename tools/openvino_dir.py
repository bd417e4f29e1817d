#!/usr/bin/env python3
"""Prints the CMake folder inside the installed openvino wheel, without loading the library."""

import importlib.util
from pathlib import Path

spec = importlib.util.find_spec("openvino")
if spec is None or spec.origin is None:
    raise SystemExit("openvino is not installed in this environment")
print(Path(spec.origin).parent / "cmake")
