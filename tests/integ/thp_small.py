#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Multi-size hugepages: with 64 KiB ones switched on for all memory of the machine a small heap takes far fewer page faults, and
the option thp=never still means what it says.

Changes the machine's setting while a child of some milliseconds runs, and puts it back. Usage: thp_small.py LIBRARY PROGRAM.
Called by meson.
"""
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402

ROOT = "/sys/kernel/mm/transparent_hugepage"
SIZE = ROOT + "/hugepages-64kB/enabled"
FALLBACKS = ROOT + "/hugepages-64kB/stats/anon_fault_fallback"
# 24 MB are some 5,900 small pages. The first 4 MiB have small pages in any case.
FEWER = 2
# Where such a hugepage is not to be had, its place takes up to 16 faults in place of one.
MORE_EACH = 15


def chosen(path):
    with open(path, encoding="ascii") as setting:
        return re.search(r"\[(\w+)\]", setting.read())[1]


def choose(path, word):
    with open(path, "w", encoding="ascii") as setting:
        setting.write(word)


def faults(library, program, setting, env):
    before = chosen(SIZE)
    try:
        choose(SIZE, setting)
        out = driver.run_child([program], driver.child_env([library], env), 30)
    finally:
        choose(SIZE, before)
    found = re.fullmatch(r"faults (\d+)\n", out.stdout)
    if out.status != 0 or out.stderr != "" or not found:
        raise RuntimeError(f"{driver.describe_status(out)}: {out.stdout}{out.stderr}")
    return int(found[1])


def fallbacks():
    """Faults of the machine that were to have such a hugepage and found no memory for it; kernels before 6.10 do not say."""
    try:
        with open(FALLBACKS, encoding="ascii") as count:
            return int(count.read())
    except FileNotFoundError:
        return 0


def main():
    library, program = sys.argv[1:]
    report = driver.Report()
    name = "a small heap in multi-size hugepages"
    try:
        if chosen(ROOT + "/enabled") == "always":
            report.line(True, name, " # SKIP 2 MiB come unasked here")
            return report.finish()
        small = faults(library, program, "never", {})
        before = fallbacks()
        large = faults(library, program, "always", {})
        lacking = fallbacks() - before
        never = faults(library, program, "always", {"QUARRY_THP": "never"})
    except OSError as error:
        report.line(True, name, f" # SKIP {error.filename}: {error.strerror}")
        return report.finish()
    fewer = large * FEWER < small
    excused = lacking * MORE_EACH >= large - small / FEWER
    report.line(fewer or excused, name, "" if fewer else f" # SKIP the kernel had no memory for {lacking} of them")
    report.line(never * FEWER > small, "thp=never has none")
    report.explain(f"page faults: {small} without, {large} with, {never} with thp=never")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
