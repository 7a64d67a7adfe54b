#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A generated file is what its generator writes now: fresh.py FILE COMMAND..., where the command takes the file to write last."""
import difflib
import pathlib
import subprocess
import sys
import tempfile


def main():
    path = pathlib.Path(sys.argv[1])
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as made:
        subprocess.run(sys.argv[2:] + [made.name], check=True)
        want = made.read()
    have = path.read_text(encoding="utf-8")
    if want != have:
        print("\n".join(difflib.unified_diff(have.splitlines(), want.splitlines(), str(path), "generated", lineterm="", n=0)))
        print(f"to update: {' '.join(sys.argv[2:])} {path}")
        sys.exit(1)


if __name__ == "__main__":
    main()
