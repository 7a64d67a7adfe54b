#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sixteen classes of heap bugs in four forms, and what each allocator makes of them.

corpus.py --test MODE LIBRARY PROGRAM    the test: each crime must end as EXPECTED says, with its report; TAP
corpus.py --table LIBRARY PROGRAM        the table of docs/security.md, of LIBRARY and of every other malloc that is installed

A crime is found when the program is ended by a signal or says something on stderr, and missed when it ends as if nothing were. A class is found when
it is found in every form, in each of the runs; how many forms are found by an allocator that does not find all stands in the table.
"""
import argparse
import glob
import os
import re
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402

FORMS = ["immediate", "delayed", "thread", "fork"]
MODES = {
    "default": {},
    "guard": {"QUARRY_GUARD": "1", "QUARRY_GUARD_SLOTS": "16384"},
    "hardened": {"QUARRY_HARDEN": "1"},
}
DOUBLE, INTERIOR, WILD, STACK = "Q01 double-free", "Q02 interior-pointer", "Q03 wild-pointer", "Q04 stack-pointer"
SIZE, ALIGN, BOUNDS, USED, OVERFLOW = ("Q06 sized-free-mismatch", "Q07 bad-alignment", "Q10 out-of-bounds", "Q11 use-after-free",
                                       "Q12 overflow")
WRITE = "Q13 write-after-free"
SEGV = "SIGSEGV"
# The report; a set where there are several, by chance or by form; None: it is not found.
EXPECTED = {
    "double-free": {"default": DOUBLE, "guard": DOUBLE, "hardened": DOUBLE},
    "double-free-large": {"default": DOUBLE, "guard": DOUBLE, "hardened": DOUBLE},
    "interior-free": {"default": INTERIOR, "guard": INTERIOR, "hardened": INTERIOR},
    "interior-free-large": {"default": INTERIOR, "guard": INTERIOR, "hardened": INTERIOR},
    "stack-free": {"default": STACK, "guard": STACK, "hardened": STACK},
    "global-free": {"default": WILD, "guard": WILD, "hardened": WILD},
    "wild-free": {"default": WILD, "guard": WILD, "hardened": WILD},
    "realloc-freed": {"default": DOUBLE, "guard": DOUBLE, "hardened": DOUBLE},
    "realloc-wild": {"default": WILD, "guard": WILD, "hardened": WILD},
    "sized-free": {"default": SIZE, "guard": SIZE, "hardened": SIZE},
    "aligned-free": {"default": ALIGN, "guard": ALIGN, "hardened": ALIGN},
    "overflow-large": {"default": SEGV, "guard": BOUNDS, "hardened": BOUNDS},
    # Of two objects that the 16 bytes reach the hardened mode may look at the one behind first, which is free.
    "overflow": {"default": None, "guard": {BOUNDS, OVERFLOW}, "hardened": {OVERFLOW, WRITE}},
    "underflow": {"default": None, "guard": {BOUNDS, OVERFLOW}, "hardened": {OVERFLOW, WRITE}},
    "write-after-free": {"default": None, "guard": USED, "hardened": WRITE},
    # A freed mapping is kept for reuse only where the program showed that it reuses.
    "write-after-free-large": {"default": SEGV, "guard": SEGV, "hardened": USED},
}
# corpus.c
SMALL, BESIDE, LARGE, PAGE = 56, 16, 4 << 20, 4096
SMALL_CLASSES = {"default": {"64"}, "guard": {"56"}, "hardened": {"56", "64"}}
LARGE_CLASSES = dict.fromkeys(MODES, {"-", str(LARGE), str(LARGE + PAGE)})
NO_CLASS = dict.fromkeys(MODES, {"-"})
HERE, INSIDE, FAR_INSIDE = range(1), range(BESIDE, BESIDE + 1), range(LARGE // 2, LARGE // 2 + 1)
# Where the pointer of the report lies from the victim; the class named; the function that commits it, and the one that freed the victim before.
PLACES = {
    "double-free": (HERE, SMALL_CLASSES, "free_it", "free_it"),
    "double-free-large": (HERE, LARGE_CLASSES, "free_it", "free_it"),
    "interior-free": (INSIDE, SMALL_CLASSES, "free_inside", None),
    "interior-free-large": (FAR_INSIDE, LARGE_CLASSES, "free_far_inside", None),
    "stack-free": (HERE, NO_CLASS, "free_it", None),
    "global-free": (HERE, NO_CLASS, "free_it", None),
    "wild-free": (HERE, NO_CLASS, "free_it", None),
    "realloc-freed": (HERE, SMALL_CLASSES, "realloc_it", "free_it"),
    "realloc-wild": (HERE, NO_CLASS, "realloc_it", None),
    "sized-free": (HERE, SMALL_CLASSES, "free_sized_wrong", None),
    "aligned-free": (HERE, SMALL_CLASSES, "free_aligned_wrong", None),
    "overflow-large": (range(LARGE, LARGE + 2 * PAGE), LARGE_CLASSES, "write_far_behind", None),
    "overflow": (range(SMALL, SMALL + BESIDE), SMALL_CLASSES, "write_behind", None),
    "underflow": (range(-BESIDE, 0), SMALL_CLASSES, "write_before", None),
    "write-after-free": (range(BESIDE), SMALL_CLASSES, "write_inside", "free_it"),
    "write-after-free-large": (range(LARGE // 2, LARGE // 2 + BESIDE), LARGE_CLASSES, "write_far_inside", "free_it"),
}
TIMEOUT_S = 60


def run(libs, program, crime, form, env):
    return driver.run_child([program, crime, form], driver.child_env(libs, env), TIMEOUT_S)


def found(out):
    return out.status != 0 or out.stderr != ""


def judge(out, expected):
    """What is wrong; None: nothing. The first line of stderr is the report, all others are its details."""
    if expected is None:
        return f"found: {driver.describe_status(out)} {out.stderr}" if found(out) else None
    wanted = expected if isinstance(expected, set) else {expected}
    lines = out.stderr.splitlines() or [""]
    if SEGV in wanted and out.status == -signal.SIGSEGV and lines == [""]:
        return None
    line = driver.MISUSE_LINE.fullmatch(lines[0])
    if out.status != -signal.SIGABRT or not line:
        return f"{driver.describe_status(out)}: {lines[0]!r}"
    if f"{line['id']} {line['name']}" not in wanted:
        return f"{line['id']} {line['name']} instead of {' or '.join(sorted(wanted))}"
    return next((f"not of the report: {more!r}" for more in lines[1:] if not more.startswith("quarry:   ")), None)


def stacks_of(lines):
    """The functions of each stack of a report, by its headline."""
    stacks, frames = {}, None
    for line in lines:
        head = re.fullmatch(r"quarry:   ((?:found|allocated|freed) by (?:this|another) thread):", line)
        frame = re.match(r"quarry:     (\w+)\+", line)
        if head:
            frames = stacks.setdefault(head[1], [])
        elif frame and frames is not None:
            frames.append(frame[1])
    return stacks


def judge_stacks(crime, form, report_id, lines):
    """The stacks of a guarded object; what was written beside it is found when somebody frees it."""
    _, _, committed, freed = PLACES[crime]
    later = report_id == "Q12"
    whose = "another" if form == "thread" and not later else "this"
    wanted = {"found by this thread": "crime_free" if later else committed, f"allocated by {whose} thread": "victim_small"}
    if freed:
        wanted[f"freed by {whose} thread"] = freed
    stacks = stacks_of(lines)
    if set(stacks) != set(wanted):
        return f"stacks {sorted(stacks)} instead of {sorted(wanted)}"
    return next((f"{name} is not among {stacks[head]}, {head}" for head, name in wanted.items() if name not in stacks[head]), None)


def judge_place(out, crime, mode, form):
    """Whether the report is of this victim: its address, its class and, where it is guarded, who had it when."""
    lines = out.stderr.splitlines() or [""]
    line = driver.MISUSE_LINE.fullmatch(lines[0])
    if not line:
        return None
    offsets, classes, _, _ = PLACES[crime]
    victims = re.findall(r"^victim 0x([0-9a-f]+)$", out.stdout, re.M)
    if len(victims) != 1:
        return f"{len(victims)} victims are named"
    offset = int(line["pointer"], 16) - int(victims[0], 16)
    if offset not in offsets:
        return f"the pointer is {offset} bytes from the victim"
    if line["class"] not in classes[mode]:
        return f"class {line['class']} instead of {' or '.join(sorted(classes[mode]))}"
    guarded = mode == "guard" and classes is SMALL_CLASSES and line["id"] not in SIZE + ALIGN
    if guarded and line["slab"] != "guarded":
        return "the victim was not guarded"
    return judge_stacks(crime, form, line["id"], lines) if guarded else None


def test(mode, library, program):
    report = driver.Report()
    named = driver.run_child([program], driver.child_env([], {}), TIMEOUT_S).stdout.split()
    report.line(set(named) == set(EXPECTED) == set(PLACES), "the program's crimes are those expected")
    for crime in named:
        for form in FORMS:
            out = run([library], program, crime, form, MODES[mode])
            wrong = judge(out, EXPECTED[crime][mode]) or judge_place(out, crime, mode, form)
            report.line(wrong is None, f"{crime} {form}")
            if wrong is not None:
                report.explain(wrong)
                report.explain("repeat: " + driver.repeat_command(out))
                report.explain(out.stderr)
    return report.finish()


# --- the table ---

PEER_FOLDERS = ["/usr/lib/*-linux-gnu", "/usr/lib/llvm-*/lib/clang/*/lib/linux"]
PEERS = [
    ("glibc", [], {}),
    ("glibc, malloc.check=3", ["libc_malloc_debug.so.0"], {"GLIBC_TUNABLES": "glibc.malloc.check=3"}),
    ("jemalloc 5.3", ["libjemalloc.so.2"], {}),
    ("mimalloc 2.0", ["libmimalloc.so.2.0"], {}),
    ("tcmalloc 2.10", ["libtcmalloc_minimal.so.4"], {}),
    ("tcmalloc 2.10, debug", ["libtcmalloc_minimal_debug.so.4"], {}),
    ("scudo 14", ["libclang_rt.scudo_standalone-x86_64.so"], {}),
    ("scudo 14, quarantine", ["libclang_rt.scudo_standalone-x86_64.so"],
     {"SCUDO_OPTIONS": "quarantine_size_kb=1024:thread_local_quarantine_size_kb=64:quarantine_max_chunk_size=65536:"
                       "delete_size_mismatch=true:dealloc_type_mismatch=true:zero_contents=true"}),
]


def installed(names):
    found_libs = []
    for name in names:
        paths = [path for folder in PEER_FOLDERS for path in sorted(glob.glob(os.path.join(folder, name)))]
        if not paths:
            return None
        found_libs.append(paths[0])
    return found_libs


def table(library, program):
    columns = [("quarry", [library], MODES["default"])]
    columns += [(f"quarry, {mode}", [library], env) for mode, env in MODES.items() if mode != "default"]
    columns += [(name, installed(libs), env) for name, libs, env in PEERS if installed(libs) is not None]
    rows, sums = [], [0] * len(columns)
    for crime in EXPECTED:
        cells = []
        for i, (_, libs, env) in enumerate(columns):
            forms = sum(found(run(libs, program, crime, form, env)) for form in FORMS)
            sums[i] += forms == len(FORMS)
            cells.append("found" if forms == len(FORMS) else f"{forms} of 4" if forms else "-")
        rows.append([crime, *cells])
    rows.append([f"classes found of {len(EXPECTED)}", *map(str, sums)])
    for row in [["", *(name for name, _, _ in columns)], ["---"] * (len(columns) + 1), *rows]:
        print("| " + " | ".join(row) + " |")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--test", choices=MODES, metavar="MODE", help=", ".join(MODES))
    parser.add_argument("--table", action="store_true")
    parser.add_argument("lib", metavar="LIBRARY")
    parser.add_argument("program", metavar="PROGRAM")
    args = parser.parse_args()
    return table(args.lib, args.program) if args.table else test(args.test, args.lib, args.program)


if __name__ == "__main__":
    sys.exit(main())
