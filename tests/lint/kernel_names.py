#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each name of the kernel's allocation API in kernel_names.txt is in a header for kernel-style code, and is used by a program under
tests/kernel; those that are said not to be offered are not."""
import re

from tree import ROOT, Findings


def words_of(folder, suffixes):
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.suffix in suffixes)
    return set(re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", text, flags=re.S)))


def main():
    findings, listed = Findings(), ROOT / "tests/lint/kernel_names.txt"
    declared = words_of(ROOT / "include/quarry/kernel", {".h"})
    used = words_of(ROOT / "tests/kernel", {".c", ".h", ".cpp"})
    names = 0
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), 1):
        for name in [] if line.startswith("#") else line.split():
            names += 1
            if name.startswith("-"):
                if name[1:] in declared:
                    findings.add(listed, number, f"{name[1:]} is offered")
            elif name not in declared:
                findings.add(listed, number, f"{name} is in no header")
            elif name not in used:
                findings.add(listed, number, f"{name} is in no test")
    if names == 0:
        findings.add(listed, 1, "no names")
    findings.end(f"{names} names")


if __name__ == "__main__":
    main()
