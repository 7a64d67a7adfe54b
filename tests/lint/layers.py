#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every #include in src/ against the layers of src/LAYERS: downward or sideways only, and the system's headers only where they belong.

sys may include anything. front declares libc's names and may include the headers that declare them, but not those
that make system calls or threads. Every other layer has the compiler's own headers, and string.h, alone.
"""
import re
import sys

from tree import ROOT, Findings, files, read, without_comments

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
# string.h because the compiler calls memcpy and memset by itself wherever it copies a struct.
FREESTANDING = {"limits.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdnoreturn.h", "string.h"}
SYSTEM_CALLS = re.compile(r"^(sys|linux|asm|bits)/|^(pthread|unistd|sched|signal|threads)\.h$")


def layers():
    lines = (ROOT / "src/LAYERS").read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def angle_problem(layer, header):
    if layer == "sys" or header in FREESTANDING:
        return None
    # A library of its own above the heap, loaded by those who ask for it: it uses the C library as programs do.
    if layer == "kmem" and not re.match(r"^(sys|linux|asm|bits)/", header):
        return None
    if SYSTEM_CALLS.match(header):
        return f"<{header}> belongs to sys/ alone"
    if header == "urcu/urcu-memb.h":
        return None if layer == "kmem" else f"<{header}> belongs to kmem alone"
    if layer != "front":
        return f"<{header}>: below front/ only sys/ uses the C library"
    return None


def quote_problem(order, layer, header):
    other, _, rest = header.partition("/")
    if not rest:
        return f'"{header}": name the folder, as in "{layer}/{header}"'
    if other == "quarry":
        return None if layer in ("front", "kmem") else f'"{header}": the public headers belong to front and kmem'
    if other not in order:
        return f'"{header}": no layer {other} in src/LAYERS'
    if order.index(other) > order.index(layer):
        return f'"{header}": {other} is above {layer}'
    return None if (ROOT / "src" / header).is_file() else f'"{header}": there is no such file'


def main():
    order = layers()
    findings = Findings()
    sources = files(".c", ".h", ".S", ".def", under=["src"])
    for path in sources:
        layer = path.relative_to(ROOT / "src").parts[0]
        if layer not in order:
            findings.add(path, 1, f"folder {layer} is not in src/LAYERS")
            continue
        text = without_comments(read(path))
        for match in INCLUDE.finditer(text):
            kind, header = match.groups()
            problem = angle_problem(layer, header) if kind == "<" else quote_problem(order, layer, header)
            if problem:
                findings.add(path, text.count("\n", 0, match.start(1)) + 1, problem)
    for layer in order:
        if not (ROOT / "src" / layer).is_dir():
            findings.add(ROOT / "src/LAYERS", 1, f"there is no folder src/{layer}")
    if not sources:
        findings.add(ROOT / "src", 1, "no sources found")
    findings.end(f"{len(sources)} files")


if __name__ == "__main__":
    sys.exit(main())
