#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`quarry numa PID` against what the process says of itself, on whatever nodes there are here: its objects are those of the report, and the
classes add up to the sums. numa.py TOOL LIBRARY PROGRAM"""
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402
import watched  # noqa: E402

NEAR_BYTES = 64 << 10


def table(text, title):
    """Rows of one table: name to figures."""
    lines = text[text.index(title):].split("\n\n")[0].splitlines()[1:]
    return {line[:18].strip(): [int(word) for word in line[18:].split()] for line in lines}


def problems(tool, library, program):
    child, line = watched.start([library], program)
    done = watched.ask(tool, "numa", child.pid)
    wrong = watched.ask(tool, "numa", "1x")
    status = watched.end(child)
    if done.returncode != 0 or status != 0:
        return [f"status {done.returncode}, the program's {status}: {done.stderr}"]
    own = json.loads(line)["stats"]
    faults = [] if wrong.returncode == 2 else [f"{wrong}"]
    held, out = table(done.stdout, "bytes in slabs"), table(done.stdout, "handed out")
    for rows in (held, out):
        if any(sum(rows[name][node] for name in rows if name != "all") != figure for node, figure in enumerate(rows["all"])):
            faults.append(f"the classes do not add up: {rows}")
    objects = own["live_bytes"] - own["big_live_bytes"] - own["pages_live_bytes"] + own["cached_bytes"] + own["depot_bytes"]
    if abs(sum(out["all"]) - objects) > NEAR_BYTES or objects == 0:
        faults.append(f"{sum(out['all'])} bytes handed out, by the process's own report {objects}")
    lies = table(done.stdout, "bytes that lie on")
    if not lies or sum(map(sum, lies.values())) > own["heap_resident_bytes"] or any(row[-1] for row in lies.values()):
        faults.append(f"{lies}, of {own['heap_resident_bytes']}")
    if sum(map(sum, lies.values())) < own["heap_resident_bytes"] - own["big_live_bytes"] - own["big_cached_bytes"] - NEAR_BYTES:
        faults.append(f"{lies}, of {own['heap_resident_bytes']}")
    return faults if re.search(r"^malloc-\d+ ", done.stdout, re.M) else faults + [done.stdout]


def main():
    report = driver.Report()
    faults = problems(*sys.argv[1:])
    report.line(not faults, "a process at rest")
    for fault in faults:
        report.explain(fault)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
