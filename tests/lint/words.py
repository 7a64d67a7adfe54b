#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Text rules for the whole tree: a licence line in every source, ASCII, no trailing blanks, no tabs in C, no unfinished places, no paths
of somebody's machine."""
import re
import sys

from tree import ROOT, Findings, files, read

SOURCES = (".c", ".h", ".S", ".py", ".cc", ".cpp", ".bash", "meson.build", "meson_options.txt")
DOT_FILES = [".ci/run", ".clang-format", ".clang-tidy", ".editorconfig", ".gitignore"]
BINARY = (".png", ".qtrace", ".xz", ".zst", ".gz", ".o", ".a", ".so")
KEPT_INPUTS = ROOT / "tests/fuzz/corpus/"  # and what lies in its folders: whatever a parser is given
# Written in two parts each, so that this file does not hold them.
FORBIDDEN = [
    (re.compile(r"(?<![\w.}])/(wo" r"rk|fa" r"rm|ro" r"ot|ho" r"me)/"), "a path of one machine"),
    (re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b"), "an unfinished place; make it an issue"),
    (re.compile(r"\b(not imple" r"mented|st" r"ub that)\b", re.I), "an unfinished place; make it an issue"),
]


def is_source(path, text):
    return path.name.endswith(SOURCES) or text.startswith("#!")


def check_line(path, number, line, findings):
    for pattern, what in FORBIDDEN:
        if pattern.search(line):
            findings.add(path, number, what)
    if not line.isascii():
        findings.add(path, number, "not ASCII: " + "".join(c for c in line if ord(c) > 126))
    if line != line.rstrip() and path.suffix != ".md":
        findings.add(path, number, "trailing blanks")
    if "\t" in line and path.suffix in (".c", ".h", ".py", ".def"):
        findings.add(path, number, "a tab")


def main():
    findings = Findings()
    paths = [p for p in files() if not p.name.endswith(BINARY) and KEPT_INPUTS not in p.parents] + [ROOT / name for name in DOT_FILES if (ROOT / name).exists()]
    for path in paths:
        text = read(path)
        lines = text.split("\n")
        if is_source(path, text) and not any("SPDX-License-Identifier: MIT" in line for line in lines[:3]):
            findings.add(path, 1, "no SPDX-License-Identifier: MIT in the first three lines")
        if text and not text.endswith("\n"):
            findings.add(path, len(lines), "no line end at the end of the file")
        for number, line in enumerate(lines, 1):
            check_line(path, number, line, findings)
    findings.end(f"{len(paths)} files")


if __name__ == "__main__":
    sys.exit(main())
