#!/usr/bin/env python3
"""Writes src/runtime/chat/jinja_case_tables.hpp: the case mappings and the unprintable characters of Python's str."""

import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "src" / "runtime" / "chat" / "jinja_case_tables.hpp"
POINTS = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]


def ranges(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """[first, last, stride, difference] of code points that move by the same difference."""
    found: list[list[int]] = []
    for point, moved in pairs:
        if found and found[-1][3] == moved:
            first, last, stride, _ = found[-1]
            if point - last in ((1, 2) if first == last else (stride,)):
                found[-1][1:3] = [point, point - last]
                continue
        found.append([point, point, 1, moved])
    return found


def rows(entries: list[str], width: int = 112) -> str:
    lines, line = [], "   "
    for entry in entries:
        if len(line) + len(entry) + 1 > width:
            lines.append(line)
            line = "   "
        line += " " + entry
    return "\n".join([*lines, line])


def mapping(name: str, to: Callable[[str], str], base: Callable[[str], str]) -> str:
    moved = [(c, to(chr(c))) for c in POINTS if to(chr(c)) != base(chr(c))]
    simple = ranges([(c, ord(text) - c) for c, text in moved if len(text) == 1])
    special = [(c, text) for c, text in moved if len(text) > 1]
    escaped = {c: "".join(f"\\x{byte:02x}" for byte in text.encode()) for c, text in special}
    return (
        f"inline constexpr CaseRange k{name}Ranges[] = {{\n"
        + rows([f"{{{a:#x}, {b:#x}, {stride}, {by}}}," for a, b, stride, by in simple])
        + f"\n}};\ninline constexpr CaseSpecial k{name}Specials[] = {{\n"
        + rows([f'{{{c:#x}, "{escaped[c]}"}},' for c, _ in special])
        + "\n};\n"
    )


def main() -> None:
    hidden: list[list[int]] = []
    for point in range(0x80, 0x110000):
        if unicodedata.category(chr(point)) in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp", "Zs"}:
            if hidden and hidden[-1][1] == point - 1:
                hidden[-1][1] = point
            else:
                hidden.append([point, point])
    TARGET.write_text(
        f"// Made by tools/case_tables.py from Unicode {unicodedata.unidata_version}; not edited by hand.\n"
        "// clang-format off\n#pragma once\n\n#include <cstdint>\n\nnamespace deltavino::runtime::jinja {\n\n"
        "// Every `stride`th code point from `first` to `last` moves by `difference`.\n"
        "struct CaseRange {\n    std::uint32_t first;\n    std::uint32_t last;\n    std::uint32_t stride;\n"
        "    std::int32_t difference;\n};\n"
        "// One that becomes several, in UTF-8.\n"
        "struct CaseSpecial {\n    std::uint32_t point;\n    const char* text;\n};\n"
        "struct PointRange {\n    std::uint32_t first;\n    std::uint32_t last;\n};\n\n"
        + mapping("Upper", str.upper, str)
        + mapping("Lower", str.lower, str)
        + "// Where a capital at the beginning of a word differs from the one inside.\n"
        + mapping("Title", str.title, str.upper)
        + "// Assigned characters for which str.isprintable() is false.\n"
        "inline constexpr PointRange kUnprintable[] = {\n"
        + rows([f"{{{a:#x}, {b:#x}}}," for a, b in hidden])
        + "\n};\n\n}  // namespace deltavino::runtime::jinja\n"
    )


if __name__ == "__main__":
    sys.exit(main())
