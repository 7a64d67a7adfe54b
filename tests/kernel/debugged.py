#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs a program of the kernel API with all of slab_debug on, in TAP: it does nothing wrong, so nothing may be reported ("BUG cache: what"), and it must end
as it does without. Excused are, by name, cases that look at what debugging changes: these may fail, but must be there, and report nothing, either.
debugged.py [--excused CASE]... [--meant REPORT] [--env NAME=VALUE]... [--tap] PROGRAM [ARGUMENT]..."""
import argparse
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402

LETTERS = "FZPU"
TIMEOUT_S = 90
CASE = re.compile(r"^(ok|not ok) \d+ - (.*?)(?: # SKIP.*)?$", re.M)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--excused", action="append", default=[], metavar="CASE")
    parser.add_argument("--meant", default="\n", metavar="REPORT", help="a report that the program is after")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--tap", action="store_true", help="the program's cases are on stdout")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args()


def judge_cases(report, args, out):
    """Every case but the excused passes; returns the status that says the same."""
    plan = re.search(r"^1\.\.(\d+)$", out.stdout, re.M)
    cases = CASE.findall(out.stdout)
    report.line(plan is not None and len(cases) == int(plan[1]) > 0, "all cases ran")
    for result, name in cases:
        report.line(result == "ok" or name in args.excused, name)
    report.line({name for _, name in cases} >= set(args.excused), "cases that are excused are there")
    return 1 if any(result != "ok" for result, _ in cases) else 0


def main():
    args = parse_args()
    env = dict(pair.split("=", 1) for pair in args.env)
    out = driver.run_child(args.command, driver.child_env([], {**env, "QUARRY_SLAB_DEBUG": LETTERS}), TIMEOUT_S)
    report, name = driver.Report(), os.path.basename(args.command[0])
    if out.status == driver.EXIT_SKIP:
        report.line(True, name, " # SKIP " + (out.stdout.rstrip("\n").split("\n") or [""])[-1])
        return report.finish()
    want = judge_cases(report, args, out) if args.tap else 0
    report.line(out.status == want and not out.timed_out, f"{name} ends: {driver.describe_status(out)}")
    false = [line for line in out.stderr.splitlines() if line.startswith("BUG ") and args.meant not in line]
    report.line(not false, "nothing is reported")
    if report.failed:
        report.explain("repeat: " + driver.repeat_command(out))
        report.explain("\n".join(false) + "\n--- stderr\n" + out.stderr)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
