#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What docs say of the models in tests/model/ is so.

The table of pairs in docs/locking.md has each tag of src/ once ("family.*" is all tags that begin so), with models or "none:" and a
reason; each model is built, and of sources that have the tag. docs/models.md, what each suite explores, checks and excuses, is made
from the suites: with --update it is written.
"""
import re
import sys

import orders
from tree import ROOT, Findings, files, read

MODELS = ROOT / "tests/model"
LOCKING, GENERATED = ROOT / "docs/locking.md", ROOT / "docs/models.md"
HAND_MADE = {"slab_word.c": ["slab/class.h", "slab/give.c", "slab/slab.c"]}  # the copy of steps on real transitions
MUTANTS = {
    "NO_RELEASE": "does not release", "NO_ACQUIRE": "does not acquire", "NO_ACQUIRE_FAILED": "does not acquire when it fails",
    "NO_FENCE": "is not there", "BLIND": "swaps whatever is there", "SPLIT": "is not atomic", "LOST": "is not done",
    "LATE": "is done too late", "ANY": "any", "NEVER": "never", "ALWAYS": "always",
}
SIZES = {"BOTH": "weak", "SC": "interleavings alone", "SOAK": "interleavings alone, with SOAK"}


def tags_of_sources():
    """{tag: files of src/, by their path there}"""
    found = {}
    for path in files(".c", ".h", under=["src"]):
        for _, _, tags in orders.explanations(read(path)):
            for tag in tags:
                found.setdefault(tag, set()).add(str(path.relative_to(ROOT / "src")))
    return found


def suites():
    """{weave_NAME.c: sources of src/ it is built of} by meson.build"""
    text = read(MODELS / "meson.build")
    shared = dict(re.findall(r"^(\w+) = (\[[^\]]*\])$", text, re.M))
    found = {}
    for name, sources in re.findall(r"^    \['(\w+)', '[^']*', \[[^\]]*\], (\[[^\]]*\]|\w+)", text, re.M):
        found[f"weave_{name}.c"] = re.findall(r"'([^']+)'", shared.get(sources, sources))
    return found


def check_pairs(findings, built):
    tags, rows = tags_of_sources(), {}
    table = re.search(r"^\| pairs \|.*\n\|[ -|]*\n((?:\|.*\n)+)", read(LOCKING), re.M)
    for row in table.group(1).splitlines() if table else []:
        names, models = (cell.strip() for cell in row.strip("|").split("|", 1))
        harnesses = re.findall(r"`(\w+\.c)`", models.split("none:")[0])
        if not harnesses and not re.match(r"none: .{20}", models):
            findings.add(LOCKING, 1, f"{names}: neither a model nor \"none:\" and a reason")
        for name in re.split(r",\s*", names):
            matched = [tag for tag in tags if tag == name or (name.endswith(".*") and tag.startswith(name[:-1]))]
            if not matched:
                findings.add(LOCKING, 1, f"[{name}] is no tag of src/")
            for tag in matched:
                if tag in rows:
                    findings.add(LOCKING, 1, f"[{tag}] stands in two rows")
                rows[tag] = harnesses
    for tag, places in sorted(tags.items()):
        if tag not in rows:
            findings.add(LOCKING, 1, f"[{tag}] is not in the table of pairs")
        for harness in rows.get(tag, []):
            sources = built.get(harness, HAND_MADE.get(harness))
            if sources is None:
                findings.add(LOCKING, 1, f"{harness} is not built")
            elif not places & {s for source in sources for s in (source, source.rsplit("/", 1)[0] + "/class.h")}:
                findings.add(LOCKING, 1, f"{harness} has no source with [{tag}]")
    return len(rows)


def entries(text, array):
    """The braced entries of an array of structs, as their comma-separated fields; named strings are put in."""
    named = dict(re.findall(r'^#define (\w+) ("(?:[^"\\\n]|\\.)*")', text, re.M))
    block = re.search(r"\b" + array + r"\[\] = \{\n(.*?)^\};", text, re.M | re.S)
    for entry in re.findall(r'\{((?:[^{}"]|"(?:[^"\\]|\\.)*")*)\}', block.group(1) if block else ""):
        entry = re.sub(r'"(?:[^"\\]|\\.)*"|\b[A-Z_]+\b', lambda m: named.get(m.group(), m.group()), entry)
        entry = re.sub(r'"\s*"', "", entry)
        yield [field.strip().strip('"') for field in re.findall(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+', entry)]


def cell(text):
    return text.replace("|", "\\|")


def generated(built):
    out = ["# What the models explore", "",
           "Made from `tests/model/` by `tests/lint/models.py --update`. [ADR 0059](adr/0059-models-made-of-the-sources.md) says what they are, and what they do not show;",
           "[locking.md](locking.md) which pair of operations each is for. Each operation of these sources is broken in turn; what no model notices is excused here, with a reason.",
           "With `SOAK` in the environment an excuse nothing needs fails, and so does one of \"any\" mutant, where nobody decides by the value, when one of them is noticed.", ""]
    totals, parts = [], []
    for harness, sources in sorted(built.items()):
        text = read(MODELS / harness)
        models, checks, excuses = (list(entries(text, array)) for array in ("models", "checks", "excuses"))
        whole = sum(e[2] == "WEAVE_ANY" for e in excuses)
        totals.append((harness, len(models), len(checks), len(excuses), whole))
        parts += [f"## `{harness}`", "", "Of " + ", ".join(f"`src/{s}`" for s in sources) + ".", "", "| model | threads | values |", "| --- | --- | --- |"]
        parts += [f"| {cell(m[0])} | {m[1]} | {SIZES[m[-1].removeprefix('WEAVE_')]} |" for m in models]
        if checks:
            parts += ["", "Conditions without which something breaks:", "", "| function | condition | taken as |", "| --- | --- | --- |"]
            parts += [f"| {c[0]} | `{cell(c[1])}` | {MUTANTS[c[2].removeprefix('WEAVE_')]} |" for c in checks]
        parts += ["", "Excused:", "", "| function | operation | mutant | reason |", "| --- | --- | --- | --- |"]
        parts += [f"| {e[0]} | `{cell(e[1])}` | {MUTANTS[e[2].removeprefix('WEAVE_')]} | {cell(e[3])} |" for e in excuses]
        parts.append("")
    out += ["| suite | models | conditions | excuses | of them \"any\" |", "| --- | --- | --- | --- | --- |"]
    out += ["| " + " | ".join(map(str, (f"`{name}`", *numbers))) + " |" for name, *numbers in totals]
    out.append("| " + " | ".join(["all", *(str(sum(t[i] for t in totals)) for i in range(1, 5))]) + " |")
    return "\n".join(out + [""] + parts).rstrip("\n") + "\n"


def main():
    findings, built = Findings(), suites()
    text = generated(built)
    if sys.argv[1:] == ["--update"]:
        GENERATED.write_text(text, encoding="utf-8")
    elif not GENERATED.exists() or read(GENERATED) != text:
        findings.add(GENERATED, 1, "is not what tests/model/ says: tests/lint/models.py --update")
    for path in sorted(MODELS.glob("weave_*.c")):
        if re.search(r"\bweave_main\(|^WEAVE_MAIN\(", read(path), re.M) and path.name not in built and path.name != "weave.c":
            findings.add(path, 1, "is not built")
    pairs = check_pairs(findings, built)
    if not built:
        findings.add(MODELS, 1, "no suites found")
    findings.end(f"{len(built)} suites, {pairs} pairs")


if __name__ == "__main__":
    sys.exit(main())
