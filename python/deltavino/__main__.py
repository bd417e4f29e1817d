"""The command `deltavino`: the program of the package takes the place of this process."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Never returns."""
    program = str(Path(__file__).parent / "bin" / "deltavino")
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
