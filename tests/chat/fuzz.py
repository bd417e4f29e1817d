#!/usr/bin/env python3
"""Compares the renderer with jinja2 on random expressions and templates, for as many seeds as wanted.

    fuzz.py TOOL [--seeds FROM TO]     TOOL: build/deltavino_test_tool
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from expressions import expression_case, template_case
from reference import UNSUPPORTED, answers, difference


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", type=Path)
    parser.add_argument("--seeds", nargs=2, type=int, default=[0, 20000])
    arguments = parser.parse_args()
    wrong = 0
    for make in (expression_case, template_case):
        unsupported: dict[str, int] = {}
        cases = [make(seed) for seed in range(*arguments.seeds)]
        for seed, (case, answer) in enumerate(zip(cases, answers(arguments.tool, cases), strict=True), arguments.seeds[0]):
            if answer.get("kind") == UNSUPPORTED:
                reason = answer["error"].split(": ", 1)[-1]
                unsupported[reason] = unsupported.get(reason, 0) + 1
            if (problem := difference(case, answer, unsupported_is_fine=True)) is not None:
                wrong += 1
                print(f"{make.__name__} {seed}: {case['template']!r}\n  {problem}")
        print(f"{make.__name__}: {len(cases)} compared, not supported: {sum(unsupported.values())}")
        for reason, count in sorted(unsupported.items(), key=lambda row: -row[1]):
            print(f"  {count:6d}  {reason}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
