#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`quarry explain PID` against what the process says of itself: every part the same while it rests, and the sum near the kernel's while it
does not; another build's process, one without quarry and one that is gone are told apart. explain.py TOOL LIBRARY PROGRAM STATIC_PROGRAM"""
import json
import os
import pathlib
import re
import struct
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402
import watched  # noqa: E402

# What the process does between its report and the reading: the report itself, a page of stack.
NEAR_BYTES = 64 << 10
# A busy process moves between counters and pages.
BUSY_PARTS = 10
MAGIC = struct.pack("<Q", 0x1773697672617571)


def explain(tool, pid, *options):
    return watched.ask(tool, " ".join(["explain", *options]), pid)


def start(library, *command):
    return watched.start([library] if library else [], *command)


def rest_problems(tool, library, *command):
    child, line = start(library, *command)
    done = explain(tool, child.pid, "--json")
    words = explain(tool, child.pid).stdout
    status = watched.end(child)
    if done.returncode != 0 or status != 0:
        return [f"status {done.returncode}, the program's {status}: {done.stderr}"]
    own = json.loads(line)["stats"]
    faults = [f"{row['figure']}: {row['bytes']}, by the process's own report {own[row['figure']]}"
              for row in json.loads(done.stdout) if abs(row["bytes"] - own[row["figure"]]) > NEAR_BYTES]
    faults += [f"{name} is 0: the test shows nothing" for name in
               ("live_bytes", "cached_bytes", "depot_bytes", "slab_free_bytes", "big_cached_bytes", "meta_resident_bytes") if own[name] == 0]
    if not re.search(r"^In all [\d.]+ MiB; the kernel says [\d.]+ MiB\.$", words, re.M):
        faults.append(f"no sum: {words}")
    return faults


def busy_problems(tool, library, program):
    child, _ = start(library, program, "busy")
    faults = []
    for _ in range(5):
        done = explain(tool, child.pid)
        sums = re.search(r"In all ([\d.]+) MiB; the kernel says ([\d.]+) MiB", done.stdout)
        if not sums or abs(float(sums[1]) - float(sums[2])) > float(sums[2]) / BUSY_PARTS:
            faults.append(f"status {done.returncode}: {done.stdout}{done.stderr}")
    status = watched.end(child)
    return faults[2:] + ([f"the process ended with {status}"] if status else [])


def other_build_problems(tool, library, program):
    """The same library, but that its view says another layout."""
    with tempfile.TemporaryDirectory() as folder:
        child, _ = start(watched.other_build(pathlib.Path(library), MAGIC, pathlib.Path(folder) / "libquarry.so"), program)
        done = explain(tool, child.pid)
        watched.end(child)
        return [] if done.returncode == 1 and "another build" in done.stderr and not done.stdout else [f"{done}"]


def refused_problems(tool, program):
    child, _ = start(None, program, "busy")
    without = explain(tool, child.pid)
    watched.end(child)
    gone = explain(tool, child.pid)
    faults = []
    if without.returncode != 1 or "does not run on quarry" not in without.stderr:
        faults.append(f"{without}")
    if gone.returncode != 1 or "cannot read" not in gone.stderr:
        faults.append(f"{gone}")
    return faults


def main():
    tool, library, program, static_program = sys.argv[1:]
    report = driver.Report()
    for name, faults in (("a process at rest", rest_problems(tool, library, program)),
                         ("a static program", rest_problems(tool, None, static_program)),
                         ("a busy process", busy_problems(tool, library, program)),
                         ("another build", other_build_problems(tool, library, program)),
                         ("no quarry, and no process", refused_problems(tool, program))):
        report.line(not faults, name)
        for fault in faults:
            report.explain(fault)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
