#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every atomic operation of src/ that is stronger than relaxed says why, and the tags it pairs with have two sides.

An operation is explained by a comment that has "order:" or "pairs:" and stands in its own paragraph (no blank line between), above
it or beside it. Each "pairs: [tag]" must be found on a releasing and on an acquiring operation somewhere in src/. An operation without
an explicit order is seq_cst, and so is explained like one.
"""
import collections
import re
import sys

from tree import COMMENT, ROOT, Findings, files, read, without_comments

STRONG = re.compile(r"memory_order_(acquire|release|acq_rel|seq_cst|consume)|__ATOMIC_(ACQUIRE|RELEASE|ACQ_REL|SEQ_CST|CONSUME)")
IMPLICIT = re.compile(r"\batomic_(load|store|exchange|compare_exchange_(?:weak|strong)|fetch_\w+?|flag_\w+?)\s*\((?<!_explicit\()")
TAG = re.compile(r"pairs:\s*((?:\[[^\]]+\][\s,]*(?:and\s+)?)+)")
RELEASING = {"release", "acq_rel", "seq_cst"}
ACQUIRING = {"acquire", "acq_rel", "seq_cst", "consume"}


def paragraphs(lines):
    """(first, last) line indices of runs without blank lines."""
    first = None
    for index, line in enumerate(lines + [""]):
        if line.strip():
            first = index if first is None else first
        elif first is not None:
            yield first, index - 1
            first = None


def operations(bare_lines, first, last):
    """{line index: orders} of the strong operations in a paragraph."""
    found = collections.defaultdict(set)
    for index in range(first, last + 1):
        line = bare_lines[index]
        found_orders = {(a or b).lower() for a, b in STRONG.findall(line)}
        if IMPLICIT.search(line) and "_explicit" not in line:
            found_orders.add("seq_cst")
        if found_orders:
            found[index] |= found_orders
    return found


def explanations(text):
    """(first line index, last line index, tags) of the comments that explain an order."""
    out = []
    for match in COMMENT.finditer(text):
        comment = match.group()
        if "order:" in comment or "pairs:" in comment:
            tags = [tag for group in TAG.findall(re.sub(r"\n\s*\*", "\n", comment)) for tag in re.findall(r"\[([^\]]+)\]", group)]
            out.append((text.count("\n", 0, match.start()), text.count("\n", 0, match.end()), tags))
    return out


def check_file(path, findings, sides, places):
    text = read(path)
    bare = without_comments(text).split("\n")
    explained = explanations(text)
    used = set()
    for first, last in paragraphs(text.split("\n")):
        here = [(i, e) for i, e in enumerate(explained) if first <= e[0] and e[1] <= last]
        for index, found_orders in operations(bare, first, last).items():
            above = [(i, e) for i, e in here if e[0] <= index]
            if not above:
                findings.add(path, index + 1, f"{', '.join(sorted(found_orders))} without a comment that says order: and pairs: [tag]")
                continue
            number, (_, _, tags) = above[-1]
            used.add(number)
            for tag in tags:
                sides[tag] |= found_orders
                places[tag].append((path, index + 1))
    for number, (line, last_line, tags) in enumerate(explained):
        if number in used:
            continue
        paragraph = next((p for p in paragraphs(text.split("\n")) if p[0] <= line <= p[1]), (line, last_line))
        below = "\n".join(bare[last_line:paragraph[1] + 1])
        if re.search(r"\batomic_\w+_explicit\b", below):
            findings.add(path, line + 1, "explains an order that no operation below it has")
            continue
        # A side in assembly, or in a system call that orders (membarrier): its comment says which.
        words = " ".join(text.split("\n")[line:last_line + 1])
        for tag in tags:
            places[tag].append((path, line + 1))
            sides[tag] |= {word for word in RELEASING | ACQUIRING if word in words}


def main():
    findings = Findings()
    sides, places = collections.defaultdict(set), collections.defaultdict(list)
    sources = files(".c", ".h", under=["src"])
    for path in sources:
        check_file(path, findings, sides, places)
    for tag, found_orders in sorted(sides.items()):
        path, line = places[tag][0]
        if not found_orders & RELEASING:
            findings.add(path, line, f"[{tag}] has no releasing side")
        if not found_orders & ACQUIRING:
            findings.add(path, line, f"[{tag}] has no acquiring side")
    if not sources:
        findings.add(ROOT / "src", 1, "no sources found")
    findings.end(f"{len(sources)} files, {len(sides)} tags")


if __name__ == "__main__":
    sys.exit(main())
