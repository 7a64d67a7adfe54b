#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each public header compiles alone, without a warning, as C11 and (where there is a C++ compiler) as C++17.

headers.py CC [CXX]: each compiler is one argument, its words separated by blanks.
"""
import subprocess
import sys
import tempfile

from tree import ROOT, Findings, files

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wundef", "-fsyntax-only", f"-I{ROOT}/include", f"-I{ROOT}/include/quarry/kernel"]
LANGUAGES = [("c", ["-std=c11", "-Wstrict-prototypes"]), ("cpp", ["-std=c++17"])]


def compile_alone(compiler, suffix, flags, header, findings):
    include = header.relative_to(ROOT / "include")
    with tempfile.NamedTemporaryFile("w", suffix="." + suffix) as source:
        # Twice: the include guard is checked with it.
        source.write(f"#include <{include}>\n#include <{include}>\nint main(void) {{ return 0; }}\n")
        source.flush()
        done = subprocess.run(compiler.split() + STRICT + flags + [source.name], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        findings.add(header, 1, f"does not compile alone with {compiler} {flags[0]}:\n{done.stderr}")


def main():
    findings = Findings()
    headers = files(".h", under=["include"])
    if not headers:
        findings.add(ROOT / "include", 1, "no public headers found")
    for compiler, (suffix, flags) in zip(sys.argv[1:], LANGUAGES):
        for header in headers:
            compile_alone(compiler, suffix, flags, header, findings)
    findings.end(f"{len(headers)} headers, {len(sys.argv) - 1} languages")


if __name__ == "__main__":
    main()
