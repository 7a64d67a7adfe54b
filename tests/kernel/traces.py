#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`quarry slab PID CACHE alloc_traces` and free_traces, in the kernel's format, of a process that says what it made: traces.py TOOL named|numbered
PROGRAM."""
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402
import watched  # noqa: E402

ADDRESS = r"(?:[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[\S+\])?|0x[0-9a-f]+)"
HEAD = re.compile(r"^( *\d+) (" + ADDRESS + r"|<not-available>)(?: waste=(\d+)/(\d+))? age=(\d+)(?:/(\d+)/(\d+))? pid=(\d+)(?:-(\d+))?(?: cpus=([\d,-]+))?$")
FRAME = re.compile("^ {8}" + ADDRESS + "$")
FIRST, SECOND, AGAIN, ASKED, ASKED_NR = 7, 3, 5, 40, 4  # as in traces.c


def places_of(text):
    """Rows of head and frames, and what is not in the format. Stacks end with an empty line; what has none has none."""
    places, faults = [], []
    for part in re.findall(r"[^\n]+(?:\n {8}[^\n]+)*\n\n?", text):
        lines = part.splitlines()
        head = HEAD.match(lines[0])
        frames = [line for line in lines[1:] if line]
        if not head or len(head[1]) != 7 or not all(FRAME.match(line) for line in frames) or bool(frames) != part.endswith("\n\n"):
            faults.append(f"not the kernel's form: {part!r}")
            continue
        if frames and frames[0].strip() != head[2]:
            faults.append(f"the stack of {head[2]} begins with {frames[0]}")
        places.append((int(head[1]), head, frames))
    return places, faults


def ask(tool, child, *names):
    done = watched.ask(tool, "slab", child.pid, *names)
    places, faults = places_of(done.stdout)
    return places, faults + ([f"{names}: status {done.returncode} {done.stderr}"] if done.returncode or done.stderr else [])


def called(place, function, named):
    return not named or any(function in line for line in place[2])


def allocated(tool, child, named):
    """By three places: the thread's first, of which most are out again."""
    places, faults = ask(tool, child, "traced", "alloc_traces")
    if [p[0] for p in places] != [AGAIN, SECOND, FIRST - AGAIN]:
        return faults + [f"places of {[p[0] for p in places]} objects"]
    for place, function in zip(places, ("again_take", "second_take", "first_take")):
        if not called(place, function, named):
            faults.append(f"{function} is not in {place[2]}")
    if int(places[0][1][8]) != child.pid or int(places[1][1][8]) == child.pid or int(places[2][1][8]) != child.pid:
        faults.append(f"threads {[p[1][8] for p in places]}, of process {child.pid}")
    if any(p[1][3] for p in places) or any(p[1][9] for p in places):
        faults.append("waste of a cache, or several threads of one")
    if any(p[1][6] and not int(p[1][5]) <= int(p[1][6]) <= int(p[1][7]) for p in places):
        faults.append("ages out of order")
    if os.cpu_count() > 1 and not all(p[1][10] for p in places):
        faults.append("no CPUs")
    return faults


def freed(tool, child, named):
    """Half were freed before; nobody knows of the others."""
    places, faults = ask(tool, child, "traced", "free_traces")
    if sorted((p[0], bool(p[2])) for p in places) != sorted(((AGAIN, True), (FIRST + SECOND - AGAIN, False))):
        return faults + [f"places {[p[1][0] for p in places]}"]
    for place in places:
        if place[2] and not called(place, "all_give", named):
            faults.append(f"all_give is not in {place[2]}")
        if not place[2] and (place[1][2] != "<not-available>" or place[1][8] != "0"):
            faults.append(f"nobody is {place[1][0]}")
    return faults


def wasted(tool, child, usable):
    listed = watched.ask(tool, "slab", child.pid).stdout.split()
    rows = [p for name in listed if name.startswith("kmalloc") for p in ask(tool, child, name, "alloc_traces")[0] if p[0] == ASKED_NR]
    waste = usable - ASKED
    rows = [p for p in rows if p[1][3]]
    return [] if [(int(p[1][3]), int(p[1][4])) for p in rows] == [(ASKED_NR * waste, waste)] else [f"waste {[p[1][0] for p in rows]} of {usable}"]


def edges(tool, child):
    faults = []
    done = watched.ask(tool, "slab", child.pid, "none", "alloc_traces")
    if (done.returncode, done.stdout) != (0, "No data\n"):
        faults.append(f"of no object: {done}")
    done = watched.ask(tool, "slab", child.pid, "plain", "free_traces")
    if done.returncode != 1 or done.stdout or "plain keeps no users' stacks" not in done.stderr:
        faults.append(f"of a cache without stacks: {done}")
    done = watched.ask(tool, "slab", child.pid, "traced")
    if "traces" in done.stdout:
        faults.append("traces among the attributes")
    return faults


def main():
    tool, names, program = sys.argv[1:]
    report = driver.Report()
    for option in (None, "U,kmalloc-*"):
        child, line = watched.start([], program, env={"QUARRY_SLAB_DEBUG": option} if option else None)
        usable = int(line.split()[2])
        found = {"allocated": allocated(tool, child, names == "named"), "freed": freed(tool, child, names == "named"), "edges": edges(tool, child)}
        if option:
            found["wasted"] = wasted(tool, child, usable)
        found["ends"] = [] if watched.end(child) == 0 else ["the program failed"]
        for what, faults in found.items():
            report.line(not faults, f"{what}, slab_debug {option}")
            for fault in faults:
                report.explain(fault)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
