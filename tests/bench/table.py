#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench/suite.toml and the programs of bench/ are the same set: none is forgotten, and none is named that is not there."""
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from benchlib import suite  # noqa: E402, found in the tree

# Programs that need something else than one process under one allocator; tools/bars runs them.
NOT_IN_SUITE = {"bench_process_start", "fast_path"}


def built_programs():
    """The programs in the build files of the groups: named themselves, or made of a list of sources."""
    names = set()
    for path in sorted((ROOT / "bench").glob("*/meson.build")):
        text = path.read_text(encoding="utf-8")
        names |= set(re.findall(r"executable\('(bench_\w+)'", text))
        if "bench_sources += files(" in text:
            names |= {f"bench_{stem}" for stem in re.findall(r"'(\w+)\.cc?'", text)}
    return names


def scripts():
    return {f"bench/real/{path.name}" for path in (ROOT / "bench/real").iterdir()
            if path.is_file() and not path.suffix and os.access(path, os.X_OK)}


def main():
    programs = suite.load()
    named = {program.command[0] for program in programs}
    there = built_programs() | scripts()
    problems = [f"{name} is not in bench/suite.toml" for name in sorted(there - named - NOT_IN_SUITE)]
    problems += [f"bench/suite.toml runs {name}, which is not there" for name in sorted(named - there)]
    for program in programs:
        if program.scaling and program.threads == 1:
            problems.append(f"{program.name} is one of a series and says no number of threads")
    print("\n".join(problems))
    print(f"{len(programs)} programs, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
