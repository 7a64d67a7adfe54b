#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the hand-written documents name is there: files, functions, identifiers, options, links and test suites.

Looked at are inline code (`...`); links; and, everywhere, paths that begin with a folder of the tree, options and suites. A path may be given
from the top of the tree or from src/ and may be a pattern (`tests/unit/*/`); what a build makes (build/...), absolute paths
and names in capitals or angle brackets are not looked for. A function is `name()`, an identifier any lower-case word with an
underscore or upper-case one of two words; both must be words of the tree's sources. QUARRY_X and x=y must be options. CONTRIBUTING.md
counts its commands, README.md says how many there are, and the list of test suites there is that of the build.
"""
import re

from tree import ROOT, Findings, files, read

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
TOP_FOLDERS = sorted(p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".git"))
SOURCE_SUFFIXES = (".c", ".h", ".S", ".def", ".map", ".py", ".cc", ".cpp", ".build", ".bash", ".txt", "run", "test", "bars")

FENCE = re.compile(r"^```.*?^```[ \t]*$", re.M | re.S)
CODE = re.compile(r"(`+)(.+?)\1", re.S)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
FILE_NAME = re.compile(r"^[\w.+-]+\.(?:c|h|S|def|map|py|md|txt|build|bash|wrap)$")
CALL = re.compile(r"^([A-Za-z_]\w*)\([^()]*\)$")
IDENTIFIER = re.compile(r"^(?:[a-z][a-z0-9]*_[a-z0-9_]+|(?!QUARRY_)[A-Z][A-Z0-9]*_[A-Z0-9_]+)$")
OPTION_VARIABLE = re.compile(r"\bQUARRY_[A-Z_]+\b")
OPTION_SETTING = re.compile(r"(?<![\w.-])([a-z_]+)=[\w|:.]+")
SUITE = re.compile(r"--suite[ =](\w+)")


def words_of_sources():
    text = "\n".join(read(p) for p in files(*SOURCE_SUFFIXES) if p.name != "docs.py")
    return set(re.findall(r"\w+", text))


def options():
    return set(re.findall(r"^OPT_\w+\((\w+)", read(ROOT / "src/rt/options.def"), re.M))


def suites():
    text = "\n".join(read(p) for p in files("meson.build", under=["tests", "bench"]))
    return set(re.findall(r"'(\w+)'", text))


class Tree:
    def __init__(self):
        self.words = words_of_sources()
        self.options = options()
        self.suites = suites()
        self.names = {p.name for p in files()}
        self.layers = {p.name for p in (ROOT / "src").iterdir() if p.is_dir()}


def is_pattern(word):
    return any(c in word for c in "*?[")


def path_problem(tree, word):
    """Why `word`, which looks like a path of the tree, is none; None when it is one or does not look like one."""
    word = re.sub(r":\d+$", "", word).rstrip(".,;:")
    first = word.split("/")[0]
    if "/" in word and first in TOP_FOLDERS + sorted(tree.layers) and first != "build" and not re.search(r"[<>]|\b[A-Z]{3,}\b(?!\.)", word):
        for base in (ROOT, ROOT / "src", ROOT / "docs"):
            if any(base.glob(word)) if is_pattern(word) else (base / word).exists():
                return None
        return f"there is no {word}"
    if FILE_NAME.match(word) and word not in tree.names:
        return f"there is no file {word}"
    return None


def code_problems(tree, code):
    """What is wrong with one piece of inline code."""
    call = CALL.match(code)
    if call and call.group(1) not in tree.words:
        yield f"there is no function {call.group(1)}"
    if IDENTIFIER.match(code) and code not in tree.words and code not in tree.names:
        yield f"there is no {code} in the sources"
    for word in code.split():
        problem = path_problem(tree, word)
        if problem:
            yield problem
    for name in OPTION_SETTING.findall(code):
        if name not in tree.options:
            yield f"there is no option {name}"


def text_problems(tree, text):
    """What can be told from any line, code or not."""
    for name in OPTION_VARIABLE.findall(text):
        if name.removeprefix("QUARRY_").lower() not in tree.options and not name.startswith("QUARRY_TEST_"):
            yield f"there is no option {name}"
    for suite in SUITE.findall(text):
        if suite not in tree.suites:
            yield f"there is no test suite {suite}"


def check(tree, path, findings):
    text = read(path)
    for number, line in enumerate(text.split("\n"), 1):
        words = re.findall(r"[\w./*+-]+", CODE.sub("", line))
        problems = [path_problem(tree, word) for word in words if word.split("/")[0] in TOP_FOLDERS]
        for problem in [p for p in problems if p] + list(text_problems(tree, line)):
            findings.add(path, number, problem)
    bare = FENCE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    for match in CODE.finditer(bare):
        line = bare.count("\n", 0, match.start()) + 1
        for problem in code_problems(tree, " ".join(match.group(2).split())):
            findings.add(path, line, problem)
    for match in LINK.finditer(bare):
        target = match.group(1)
        if "://" not in target and not (path.parent / target).exists():
            findings.add(path, bare.count("\n", 0, match.start()) + 1, f"the link {target} leads nowhere")
    return len(CODE.findall(bare))


NUMBERS = "no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()


def suites_defined():
    """What tests are filed under, by the first word of each `suite` in the builds."""
    return {name for p in files("meson.build", under=["tests", "bench"]) for name in re.findall(r"suite:[^\n']*'(\w+)'", read(p))}


def contributing_problems():
    text, readme = read(ROOT / "CONTRIBUTING.md"), read(ROOT / "README.md")
    head = re.search(r"^## (\w+) commands\n\n\|.*\n\|.*\n((?:\|.*\n)+)", text, re.M)
    if not head:
        return ["no table of commands under a heading that counts them"]
    word = NUMBERS[len(head[2].splitlines())]
    problems = [] if head[1].lower() == word else [f"the heading says {head[1]}, the table has {word}"]
    if f"(CONTRIBUTING.md): {word} commands" not in readme:
        problems.append(f"README.md does not say {word} commands")
    named = re.search(r"one suite: ([\w, ]+) \|", text)
    missing = suites_defined() ^ set(named[1].split(", ") if named else [])
    return problems + [f"the suite {name} is only {'listed' if named and name in named[1].split(', ') else 'defined'}" for name in sorted(missing)]


def main():
    findings = Findings()
    tree = Tree()
    paths = [ROOT / name for name in DOCUMENTS] + files(".md", under=["docs", "bench"])
    pieces = 0
    for path in paths:
        if path.exists():
            pieces += check(tree, path, findings)
        else:
            findings.add(path, 1, "missing")
    for problem in contributing_problems():
        findings.add(ROOT / "CONTRIBUTING.md", 1, problem)
    findings.end(f"{len(paths)} documents with {pieces} pieces of code")


if __name__ == "__main__":
    main()
