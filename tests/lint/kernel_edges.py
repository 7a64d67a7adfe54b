#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/kernel-edges.md says which test shows what of each call of the kernel's API, and it is so.

Each name that is offered (kernel_names.txt) is in a row; each place of a row, FILE: CASE under tests/kernel (or below tests/, with the folder),
is a case of that program's table, or a function of the file; and each name of the row is used by one of the row's places: by the function, or by what of the
same file and of the headers beside it the function comes to. Of places that are no C programs the function alone is looked for.
"""
import re

from tree import ROOT, Findings, read, without_comments

EDGES, NAMES, TESTS = ROOT / "docs/kernel-edges.md", ROOT / "tests/lint/kernel_names.txt", ROOT / "tests"
ITEM_START = re.compile(r"^(?=[A-Za-z_]|#define)", re.M)
WORD = re.compile(r"[A-Za-z_]\w*")


def offered():
    lines = [line for line in read(NAMES).splitlines() if not line.startswith("#")]
    return {word.lstrip("~") for line in lines for word in line.split() if not word.startswith("-")}


def defined_by(item):
    """Names that an item at the left margin of a C file defines; of a macro that defines something its arguments."""
    macro, head = re.match(r"#define (\w+)", item), re.split(r"[{;\\]", item, maxsplit=1)[0]
    if macro:
        return {macro[1]}
    if head.strip() == "enum" or re.match(r"enum \w+ $", head):
        return set(WORD.findall(item))
    invoked, function = re.match(r"\w+\((\w[^()]*)", head), re.search(r"\b(\w+)\(", head.split("=")[0].replace("__attribute__((noinline))", ""))
    if invoked:
        return set(WORD.findall(invoked[1]))
    if function:
        return {function[1]} | set(re.findall(r"_PER_CPU\w*\([^,]*, (\w+)", head))
    # A variable; of a type without a name it comes behind the type.
    behind = re.findall(r"^\} \*?(\w+)", item, re.M)
    return set(behind) | set(re.findall(r"(\w+)(?:\[[^\]]*\])*\s*(?:,|$)", head.split("=")[0].strip()))


class Program:
    """A C file under tests/: what its items define, what they use, and the functions of its cases."""

    def __init__(self, path):
        raw = read(path)
        self.uses = {}
        for part in [raw] + [read(path.parent / name) for name in re.findall(r'#include "(\w+\.h)"', raw) if (path.parent / name).exists()]:
            for item in ITEM_START.split(without_comments(part)):
                for name in defined_by(item):
                    self.uses.setdefault(name, set()).update(WORD.findall(item))
        # With all words of the entry: the function, and what it is called with.
        self.cases = {name: set(WORD.findall(rest)) for name, rest in re.findall(r'\{"([^"]+)",\s*(\w[^"}]*)', raw)}

    def reached(self, place):
        """All words of the case, or the function, and of what it comes to. None: there is no such one."""
        found, left = set(), {place} if place in self.uses else set(self.cases.get(place, ()))
        if not left & self.uses.keys():
            return None
        while left:
            name = left.pop()
            new = self.uses.get(name, set()) - found
            found |= new
            left |= new & self.uses.keys()
        return found | {word.removeprefix("quarry_") for word in found} | {word.removeprefix("QUARRY_") for word in found}


def words_at(place, programs):
    """What is used there; None: no C program, which is there. Raises LookupError."""
    name, _, what = place.partition(": ")
    other = next((TESTS / folder / name for folder in ("kernel", ".") if (TESTS / folder / name).suffix in (".py", ".cpp", ".build")
                  and (TESTS / folder / name).exists()), None)
    if other is not None:
        if not re.search(r"\b" + re.escape(what) + r"\b", read(other)):
            raise LookupError
        return None
    path = next((p for p in (TESTS / "kernel" / (name + ".c"), TESTS / (name + ".c")) if p.exists()), None)
    if path is None:
        raise LookupError
    if re.search(r"^Test\(\w+, " + re.escape(what) + r"\b", read(path), re.M):
        return None
    program = programs.setdefault(path, Program(path))
    words = program.reached(what)
    if words is None:
        raise LookupError
    return words


def check_row(findings, number, names, places, programs):
    used = []
    for place in places:
        try:
            used.append((place, words_at(place, programs)))
        except LookupError:
            findings.add(EDGES, number, f"there is no {place}")
    for place, words in used:
        if words is not None and not words & names:
            findings.add(EDGES, number, f"{place} uses none of these")
    if any(words is None for _, words in used):
        return
    for name in sorted(names - set().union(*(words for _, words in used))):
        findings.add(EDGES, number, f"{name} is not used by {', '.join(places)}")


def main():
    findings, programs, seen, rows = Findings(), {}, set(), 0
    known = offered()
    for number, line in enumerate(read(EDGES).splitlines(), 1):
        cells = [cell.strip() for cell in line.split(" | ")]
        if not line.startswith("| `") or len(cells) != 3:
            continue
        rows += 1
        names, places = set(re.findall(r"`(\w+)`", cells[0])), re.findall(r"`([^`]+)`", cells[2])
        for name in sorted(names - known):
            findings.add(EDGES, number, f"{name} is not in kernel_names.txt")
        if not names or not places:
            findings.add(EDGES, number, "no name, or no place")
        check_row(findings, number, names, places, programs)
        seen |= names
    for name in sorted(known - seen):
        findings.add(EDGES, 1, f"{name} is in no row")
    findings.end(f"{rows} rows, {len(seen)} names")


if __name__ == "__main__":
    main()
