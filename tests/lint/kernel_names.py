#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each name of the kernel's allocation API in kernel_names.txt is in a header for kernel-style code and, with the prefix, in one beside these,
and is used by a program under tests/kernel, prototypes.c aside, which calls nothing; those that are said not to be offered, or not with the prefix, are not."""
import re

from tree import ROOT, Findings


def words_in(paths):
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(paths))
    return set(re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", text, flags=re.S)))


def words_of(folder, suffixes):
    return words_in(path for path in folder.rglob("*") if path.suffix in suffixes)


def faults(name, declared, prefixed, used):
    bare = name.lstrip("-~")
    if name.startswith("-"):
        return [f"{bare} is offered"] if bare in declared else []
    has_prefixed = bool(prefixed & {"quarry_" + bare, "QUARRY_" + bare})
    found = [f"{bare} is in no header"] if bare not in declared else [f"{bare} is in no test"] if bare not in used else []
    if has_prefixed == name.startswith("~"):
        found.append(f"{bare} has {'a' if has_prefixed else 'no'} form with the prefix")
    return found


def main():
    findings, listed = Findings(), ROOT / "tests/lint/kernel_names.txt"
    declared = words_of(ROOT / "include/quarry/kernel", {".h"})
    prefixed = words_in((ROOT / "include/quarry").glob("*.h"))
    used = words_in(path for path in (ROOT / "tests/kernel").rglob("*")
                    if path.suffix in {".c", ".h", ".cpp"} and path.name != "prototypes.c")
    names = 0
    for number, line in enumerate(listed.read_text(encoding="utf-8").splitlines(), 1):
        for name in [] if line.startswith("#") else line.split():
            names += 1
            for fault in faults(name, declared, prefixed, used):
                findings.add(listed, number, fault)
    if names == 0:
        findings.add(listed, 1, "no names")
    findings.end(f"{names} names")


if __name__ == "__main__":
    main()
