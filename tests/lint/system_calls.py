#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/security.md lists each system call that src/sys makes by number, and no other: who writes a filter for a program on quarry goes by it."""
import re

from tree import ROOT, Findings, files, read, without_comments

DOCUMENT = ROOT / "docs/security.md"
NUMBER = re.compile(r"\bSYS_([a-z][a-z0-9_]*)\b")
HEAD = "| when | system calls |"


def made():
    """Each call, with the first place that makes it."""
    places = {}
    for path in files(".c", ".h", ".S", under=["src"]):
        for number, line in enumerate(without_comments(read(path)).split("\n"), 1):
            for name in NUMBER.findall(line):
                places.setdefault(name, (path, number))
    return places


def listed():
    """Each call of the table, with its line."""
    lines, names = read(DOCUMENT).split("\n"), {}
    for number in range(lines.index(HEAD) + 2, len(lines)):
        if not lines[number].startswith("|"):
            break
        for name in re.findall(r"\b[a-z][a-z0-9_]*\b", re.split(r"(?<!\\)\|", lines[number])[2]):
            names.setdefault(name, number + 1)
    return names


def main():
    findings, places, names = Findings(), made(), listed()
    prose = {"on", "aarch64", "in", "the", "hardened", "mode", "for", "names", "of", "functions", "pinned", "pages"}
    for name in sorted(set(places) - set(names)):
        findings.add(*places[name], f"the system call {name} is not in the table of {DOCUMENT.relative_to(ROOT)}")
    for name in sorted(set(names) - set(places) - prose):
        findings.add(DOCUMENT, names[name], f"nothing in src makes the system call {name}")
    findings.end(f"{len(places)} system calls")


if __name__ == "__main__":
    main()
