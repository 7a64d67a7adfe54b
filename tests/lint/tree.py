# SPDX-License-Identifier: MIT
"""What the lint checks share: the tree's files, C comments and functions, and how findings are told.

Not a test itself. Files are found by walking the tree, so that the checks also work outside git; build
directories, dot folders and downloaded subprojects are left out.
"""
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED_FOLDERS = {"build", "subprojects", "__pycache__"}

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')
FUNCTION_START = re.compile(r"^(?!typedef|struct\b[^()]*\{|enum\b|union\b|extern \"C\"|#|\}|/|\s)[^;=]*\(.*\{")


def files(*suffixes, under=("",)):
    """The tree's files with one of the suffixes (all files when none is given), in the folders named, sorted."""
    found = []
    for folder in under:
        for path, folders, names in os.walk(ROOT / folder):
            folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith((".", "build-")))
            # A linked worktree has a file .git, which names its place.
            found += [pathlib.Path(path) / name for name in names if name != ".git" and (not suffixes or name.endswith(suffixes))]
    return sorted(set(found))


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def blank(match):
    """A match as blanks, its line ends kept, so that positions stay."""
    return re.sub(r"[^\n]", " ", match.group())


def without_comments(text):
    return COMMENT.sub(blank, text)


def functions(text):
    """(first line, last line) of each function, from 1: what opens at the left margin up to the brace that closes it there."""
    bare = STRING.sub(blank, without_comments(text)).split("\n")
    start = None
    for number, line in enumerate(bare, 1):
        if start is None:
            if FUNCTION_START.match(line):
                start = number
                # A head over several lines begins where its first line does.
                while start > 1 and re.match(r"^\s+\S", bare[start - 1]):
                    start -= 1
                if line.rstrip().endswith("}"):
                    yield start, number
                    start = None
            elif re.match(r"^\s+.*\) \{$", line) and number > 1 and re.match(r"^[A-Za-z].*[,(]$", bare[number - 2]):
                start = number - 1
        elif line.startswith("}"):
            yield start, number
            start = None


class Findings:
    """Problems, each told as file:line: text; end() leaves with status 1 when there are any."""

    def __init__(self):
        self.count = 0

    def add(self, path, line, text):
        self.count += 1
        where = path.relative_to(ROOT) if path.is_absolute() else path
        print(f"{where}:{line}: {text}")

    def end(self, checked, hint=""):
        print(f"{checked} checked, {self.count} problems")
        if self.count and hint:
            print(hint)
        sys.exit(1 if self.count else 0)
