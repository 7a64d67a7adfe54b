#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`quarry allocinfo` of a process against what it says it allocated, and where. sites.py TOOL named|numbered PROGRAM..., of which each is the same
program built another way."""
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402
import watched  # noqa: E402

HEAD = "allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\n"
# The kernel's format: "%12lli %8llu ", the place, and " \n".
ROW = re.compile(r"^( *\d+) ( *\d+) (\S+):(\d+) (?:\[(\S+)\] )?func:(\S+) $")
FREED = 3  # times that half is freed


def places_of(child, first):
    """What the program says until "end": function, line, bytes, calls."""
    places, line = [], first
    while line.startswith("place "):
        _, function, number, size, calls = line.split()
        places.append((function, int(number), int(size), int(calls)))
        line = child.stdout.readline()
    return sorted(places) if line == "end\n" else None


def rows_of(text):
    if not text.startswith(HEAD):
        return None, [f"no head: {text}"]
    rows, faults = [], []
    for line in text[len(HEAD):].splitlines():
        row = ROW.match(line)
        if not row or len(row[1]) != 12 or len(row[2]) != 8:
            faults.append(f"no row: {line!r}")
        else:
            rows.append((row[6], int(row[4]), int(row[1]), int(row[2]), row[3], row[5]))
    return sorted(rows), faults


def compare(done, places, named):
    """A cache has a name and a record, which kmem_cache_create allocated. Of an area one caller is kept: where the header's function was not inlined,
    that is it, and where it calls quarry_vmalloc."""
    rows, faults = rows_of(done.stdout)
    if done.returncode or faults:
        return faults + [f"status {done.returncode} {done.stderr}"]
    made = [row for row in rows if row[0] == "all_take"]
    areas = [row for row in rows if row[0] == "vmalloc" and row[4].endswith("vmalloc.h")]
    if any(row[2:4] != place[2:4] for row in areas for place in places if place[0] == "area_take"):
        faults.append(f"areas {areas} of {places}")
    rows = [row for row in rows if row not in made and row not in areas]
    places = [place for place in places if not areas or place[0] != "area_take"]
    if named and [row[:4] for row in rows] != places:
        faults.append(f"rows {rows}\nof {places}")
    # Without names of functions each stack is a place of its own, and those of making a cache are among them.
    if not named and any(sum(row[i] for row in rows) < sum(place[i] for place in places) for i in (2, 3)):
        faults.append(f"sums of {rows}\nare less than those of {places}")
    if named and any(not row[4].endswith("sites.c") or row[5] for row in rows):
        faults.append(f"other files than the program's: {rows}")
    return faults


def whole_problems(tool, program, named):
    """Everything debugged: all that is out, by place, after each of some frees."""
    child, line = watched.start([], program, env={"QUARRY_SLAB_DEBUG": "U"})
    faults = []
    for i in range(1 + FREED):
        places = places_of(child, line)
        if not places:
            return [f"the program says {line!r}"]
        done = watched.ask(tool, "allocinfo", child.pid)
        faults += compare(done, places, named)
        if done.stderr:
            faults.append(f"it complains: {done.stderr}")
        if i < FREED:
            child.stdin.write("f")
            child.stdin.flush()
            line = child.stdout.readline()
    status = watched.end(child)
    return faults + ([f"the program ended with {status}"] if status else [])


def flag_problems(tool, program, named):
    """No option: the cache that has the flag, and areas."""
    child, line = watched.start([], program)
    places = [place for place in places_of(child, line) if place[0] in ("object_take", "area_take")]
    faults = compare(watched.ask(tool, "allocinfo", child.pid), places, named)
    return faults + ([f"two places, not {places}"] if len(places) != 2 else []) + (["the program failed"] if watched.end(child) else [])


def plain_problems(tool, program, named):
    """Nothing is kept of objects, and that is said."""
    child, line = watched.start([], program, "plain")
    done = watched.ask(tool, "allocinfo", child.pid)
    faults = compare(done, places_of(child, line), named)
    if "QUARRY_SLAB_DEBUG=U" not in done.stderr:
        faults.append(f"not said that nothing is kept: {done.stderr!r}")
    watched.end(child)
    done = watched.ask(tool, "allocinfo", child.pid)
    if done.returncode != 1 or done.stdout or not done.stderr.startswith("quarry: allocinfo: "):
        faults.append(f"of a process that is gone: {done}")
    return faults


def main():
    tool, names, *programs = sys.argv[1:]
    report = driver.Report()
    for number, program in enumerate(programs):
        for problems in (whole_problems, flag_problems, plain_problems):
            faults = problems(tool, program, names == "named")
            report.line(not faults, f"{problems.__name__.split('_')[0]}, program {number}")
            for fault in faults:
                report.explain(fault)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
