# SPDX-License-Identifier: MIT
"""What the golden tests share: comparing with a committed file, and reading the built library with binutils."""
import difflib
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
STATUS_SKIP = 77


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def compare(name, text, update):
    """Ends the test: 0 when tests/golden/NAME is text. With update, writes it instead."""
    path = HERE / name
    if update:
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
        sys.exit(0)
    have = path.read_text(encoding="utf-8") if path.exists() else ""
    if have == text:
        print(f"as {name} says")
        sys.exit(0)
    print("\n".join(difflib.unified_diff(have.splitlines(), text.splitlines(), name, "built", lineterm="")))
    print(f"If the change is meant, commit it with its reason: {pathlib.Path(sys.argv[0]).resolve()} --update {' '.join(sys.argv[1:])}")
    sys.exit(1)


def arguments():
    """(update, the other arguments)"""
    rest = [a for a in sys.argv[1:] if a != "--update"]
    return "--update" in sys.argv[1:], rest


def fail_all(problems):
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
