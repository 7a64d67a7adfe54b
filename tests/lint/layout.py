#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each function and variable that src/layout.ld names is in src: one that was renamed would be linked apart from the rest."""
import re

from tree import ROOT, Findings, files, read, without_comments

SCRIPT = ROOT / "src/layout.ld"
NAMED = re.compile(r"\*?\(?\.(text|bss)\.(\w+)")
NOT_OURS = {"text": {"startup", "exit", "unlikely", "first"}, "bss": {"first", "last"}}


def main():
    findings, named = Findings(), {}
    for number, line in enumerate(read(SCRIPT).split("\n"), 1):
        for kind, name in NAMED.findall(line):
            if name not in NOT_OURS[kind]:
                named.setdefault((kind, name), number)
    text = "\n".join(without_comments(read(path)) for path in files(".c", ".h", ".S", ".def", under=["src"]))
    words = {"text": set(re.findall(r"\b(\w+)\(", text)), "bss": set(re.findall(r"\b\w+\b", text))}
    for (kind, name), number in named.items():
        if name not in words[kind]:
            findings.add(SCRIPT, number, f"there is no {'function' if kind == 'text' else 'variable'} {name} in src: tools/dev/gen_layout BUILD")
    if len(named) < 100:
        findings.add(SCRIPT, 1, f"only {len(named)} names are listed")
    findings.end(f"{len(named)} names")


if __name__ == "__main__":
    main()
