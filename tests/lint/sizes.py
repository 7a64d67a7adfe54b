#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Lengths of files and functions, and #if inside functions.

Limits: a file has at most 800 lines, a function at most 80; the median function of src/ at most 10 and nine of ten at most 35.
Functions of src/ above 35 lines are listed, as a report. Preprocessor branches belong between functions, in base/, sys/ and
the per-architecture headers.
"""
import statistics
import sys

from tree import ROOT, Findings, files, functions, read

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 80
FUNCTION_LINES_LONG = 35
MEDIAN_LINES_MAX = 10
LONG_SHARE_MAX = 0.10


def main():
    findings = Findings()
    lengths = []
    sources = files(".c", ".h", ".S", ".py", ".cc", ".cpp")
    for path in sources:
        text = read(path)
        lines = text.split("\n")
        if len(lines) > FILE_LINES_MAX:
            findings.add(path, len(lines), f"{len(lines)} lines; at most {FILE_LINES_MAX}: two things live in one file")
        if path.suffix not in (".c", ".h"):
            continue
        in_src = (ROOT / "src") in path.parents
        for first, last in functions(text):
            length = last - first + 1
            if in_src:
                lengths.append(length)
            if length > FUNCTION_LINES_MAX:
                findings.add(path, first, f"a function of {length} lines; at most {FUNCTION_LINES_MAX}")
            elif in_src and length > FUNCTION_LINES_LONG:
                print(f"note: {path.relative_to(ROOT)}:{first}: a function of {length} lines")
            if in_src:
                for number in range(first, last):
                    if lines[number].lstrip().startswith("#if"):
                        findings.add(path, number + 1, "#if inside a function")
    if not lengths:
        findings.add(ROOT / "src", 1, "no functions found")
        findings.end("0 functions")
    median = statistics.median(lengths)
    long_share = sum(n > FUNCTION_LINES_LONG for n in lengths) / len(lengths)
    print(f"src: {len(lengths)} functions, median {median:g} lines, longest {max(lengths)}, {long_share:.1%} above {FUNCTION_LINES_LONG}")
    if median > MEDIAN_LINES_MAX:
        findings.add(ROOT / "src", 1, f"the median function has {median:g} lines; at most {MEDIAN_LINES_MAX}")
    if long_share > LONG_SHARE_MAX:
        findings.add(ROOT / "src", 1, f"{long_share:.1%} of the functions are above {FUNCTION_LINES_LONG} lines")
    findings.end(f"{len(sources)} files")


if __name__ == "__main__":
    sys.exit(main())
