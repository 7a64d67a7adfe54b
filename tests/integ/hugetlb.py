#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs hugetlb.c, accounts.c and life_fork.c on a real pool of hugepages that is made for each and taken away again.

Usage: hugetlb.py LIBRARY HUGETLB ACCOUNTS FORKS. Called by meson.
"""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402
import hugepool  # noqa: E402

ON = {"QUARRY_HUGETLB": "on", "QUARRY_THP_AFTER": "2M"}
TIMEOUT_S = 60
# Name, hugepages in the pool, which program, its arguments. hugetlb.c needs 40 at most; accounts.c never more than 48.
CASES = (
    ("slabs and regions come from the pool, and go back", 64, 0, ["full"]),
    ("a pool that has too few", 9, 0, ["short"]),
    ("no pool at all", 0, 0, ["none"]),
    ("children of a process that has taken all of it", 9, 0, ["fork"]),
    ("children, other threads at work", 64, 0, ["fork_threads"]),
    ("children of signal handlers", 96, 0, ["handler"]),
    ("the fork storm in the pool", 96, 2, []),
    ("accounts of a heap in the pool", 48, 1, []),
)


def run(report, library, programs, name, pages, which, words):
    try:
        with hugepool.grown(pages):
            out = driver.run_child([programs[which], *words], driver.child_env([library], ON), TIMEOUT_S)
            left = hugepool.free_pages()
    except hugepool.Unavailable as reason:
        report.line(True, name, f" # SKIP {reason}")
        return
    if out.status == driver.EXIT_SKIP:
        report.line(True, name, f" # SKIP {out.stdout.strip()}")
        return
    report.line(out.status == 0 and out.stderr == "" and left == pages, name)
    report.explain(f"{driver.describe_status(out)}; {left} of {pages} hugepages free afterwards")
    report.explain(out.stdout + out.stderr)


def main():
    library, *programs = sys.argv[1:]
    report = driver.Report()
    for case in CASES:
        run(report, library, programs, *case)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
