#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""quarry record: record.py TOOL PLAYER RECORDED LIBQUARRY [CXX OWN_CXX CXX_PLUGIN]. What a known program calls is in its trace, in its order, however the program
ends; and the trace can be played."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tools"))

from benchlib import allocators  # found in the tree
from replay import Checks, listed, record, run

MARK = 70001


def marked(rows):
    """The calls on objects that began with one of the program's own sizes, and those that follow from them."""
    own, out = set(), []
    for row in rows:
        if row["dies"] in own or (row["born"] is not None and (row["size"] >= MARK or row["size"] == 5 * 4096)):
            out.append(row)
            own.add(row["born"])
    return out


def calls_check(checks, rows, what):
    rows = marked(rows)
    first = rows[0]["born"] if rows else 0
    have = [(row["op"], row["size"], row["align"], *(None if row[end] is None else row[end] - first for end in ("dies", "born")))
            for row in rows]
    checks.same(what, have, [
        ("malloc", MARK, 1, None, 0), ("calloc", 3 * MARK, 1, None, 1), ("realloc", MARK + 1, 1, 0, 2), ("realloc", MARK + 2, 1, None, 3),
        ("realloc", 2 * MARK, 1, 3, 4), ("memalign", MARK, 64, None, 5), ("aligned_alloc", 5 * 4096, 4096, None, 6),
        ("memalign", 18 * 4096, 4096, None, 7), ("posix_memalign", MARK, 256, None, 8), ("free", 0, 1, 2, None), ("free", 0, 1, 1, None),
        ("free", 0, 1, 5, None), ("free", 0, 1, 6, None), ("free", 0, 1, 8, None), ("free", 0, 1, 7, None), ("free", 0, 1, 4, None)])
    checks.true(f"{what}: times go on", all(a["ns"] <= b["ns"] for a, b in zip(rows, rows[1:])))


CXX_FORMS = 12
CXX_ALIGN = 64
CXX_SIZE = 1200 * CXX_ALIGN


def cxx_calls(header=0):
    """What recorded_cxx.cc makes of a trace: its first half is without alignment, and where the program's own operator adds a header."""
    births, deaths = [], []
    for at in range(CXX_FORMS):
        size = CXX_SIZE + at * CXX_ALIGN
        births.append(("malloc", size + header, 1, None, at) if at < CXX_FORMS // 2 else ("aligned_alloc", size, CXX_ALIGN, None, at))
        deaths.append(("free", 0, 1, at, None))
    return births + deaths


def cxx_rows(rows):
    """The calls on objects of these sizes, which are numbered anew: the dynamic linker may allocate in between."""
    own = [row["born"] for row in rows if row["born"] is not None and CXX_SIZE <= row["size"] <= CXX_SIZE + CXX_FORMS * CXX_ALIGN]
    return [(row["op"], row["size"], row["align"], *(None if row[end] is None else own.index(row[end]) for end in ("dies", "born")))
            for row in rows if row["born"] in own or row["dies"] in own]


def cxx_checks(checks, rows_of, programs, library):
    """rows_of records; programs: the one whose operators are the allocator's, one with its own, a plugin for the first program."""
    cxx, own, plugin = programs
    for name, preload in {"glibc": "", "quarry": library, **peers()}.items():
        checks.same(f"C++ on {name}", cxx_rows(rows_of("forms", 0, program=cxx, LD_PRELOAD=preload)), cxx_calls())
    for name, preload in (("glibc", ""), ("quarry", library)):
        checks.same(f"C++ that comes late, on {name}", cxx_rows(rows_of("late", 0, plugin, LD_PRELOAD=preload)), cxx_calls())
        checks.same(f"operators of the program's own, on {name}", cxx_rows(rows_of("forms", 0, program=own, LD_PRELOAD=preload)), cxx_calls(16))
        handled = cxx_rows(rows_of("fails", 0, program=cxx, LD_PRELOAD=preload))
        checks.same(f"what handlers allocate, on {name}", [row[0] for row in handled], ["malloc", "free"] * 8)


def peers():
    """Name -> library, of those that are installed."""
    found = {name: allocators.find(name) for name in allocators.KNOWN if name != allocators.PLAIN}
    return {name: each.preload for name, each in found.items() if each is not None}


def burst_check(checks, rows, what):
    rows = marked(rows)
    births = [row for row in rows if row["op"] == "malloc"]
    deaths = [row for row in rows if row["op"] == "free"]
    checks.same(f"{what}: sizes", [row["size"] for row in births], [MARK + at for at in range(300)])
    checks.same(f"{what}: deaths", [row["dies"] for row in deaths], [row["born"] for row in births[::2]])


def threads_check(checks, rows):
    births = {row["born"]: row for row in rows if row["size"] == 1300}
    deaths = {row["dies"]: row for row in rows if row["dies"] in births}
    checks.same("objects handed over", (len(births), len(deaths)), (20000, 20000))
    checks.same("threads", ({row["thread"] for row in births.values()}, {row["thread"] for row in deaths.values()}), ({1}, {0}))
    at = {id(row): nr for nr, row in enumerate(rows)}
    checks.true("deaths follow births", all(at[id(births[nr])] < at[id(deaths[nr])] for nr in births))


def usage_check(checks, tool, recorded):
    out = checks.path("unused.qtrace")
    for args, status in (([], 2), (["-o", out], 2), ([recorded, "exit"], 2), (["-o", out, "--wrong", recorded], 2),
                         (["-o", out, "no-such-program-here"], 127), (["-o", out, "--lib=/no/such", recorded], 127),
                         (["-o", "/no/such/folder/x", recorded], 126)):
        done = run(tool, "record", *args)
        checks.same(f"record {args}", (done.returncode, done.stderr.startswith("quarry: ")), (status, True))
    checks.true("no trace of nothing", not out.exists())
    # What cannot be a trace is neither written to nor removed, and is named before the program runs.
    out.symlink_to("/dev/full")
    done = run(tool, "record", "-o", out, recorded, "exit")
    checks.same("record into a device", (done.returncode, done.stderr, out.is_symlink()), (126, f"quarry: {out}: not a regular file\n", True))
    out.unlink(missing_ok=True)


def main():
    tool, player, recorded, library, *cxx = sys.argv[1:]
    checks = Checks()
    out = checks.path("out.qtrace")

    def rows_of(what, status, *words, program=recorded, **env):
        done = record(tool, out, program, what, *words, env=dict(os.environ, **env))
        checks.same(f"{what}: status", done.returncode, status)
        checks.true(f"{what}: nothing unseen: {done.stderr}", "unseen" not in done.stderr)
        played = run(player, "--rounds", "2", out)
        checks.same(f"{what}: played", (played.returncode, played.stderr), (0, ""))
        return listed(player, out)

    calls_check(checks, rows_of("calls", 0), "calls")
    calls_check(checks, rows_of("calls", 0, LD_PRELOAD=library), "calls on quarry")
    calls_check(checks, rows_of("exec", 0), "after exec")
    burst_check(checks, rows_of("exit", 7), "exit")
    burst_check(checks, rows_of("signal", 128 + 9), "signal")
    burst_check(checks, rows_of("fork", 0), "beside a child")
    threads_check(checks, rows_of("threads", 0))
    if cxx:
        cxx_checks(checks, rows_of, cxx, library)
    usage_check(checks, tool, recorded)
    for preload, origin in (("", "libc.so.6"), (library, "libquarry.so")):
        played = run(tool, "play", "--rounds", "1", out, env=dict(os.environ, LD_PRELOAD=preload))
        checks.true(f"quarry play on {origin}", played.returncode == 0 and f'"malloc_from": "{origin}"' in played.stdout)
    for words, status in (([], 2), (["--speed", "x", out], 2), (["--nix", out], 2), (["/no/such/file"], 1)):
        done = run(tool, "play", *words)
        checks.same(f"quarry play {words}", (done.returncode, done.stderr.startswith("quarry: play: "), done.stdout), (status, True, ""))
    checks.same("files left", [path.name for path in out.parent.iterdir()], [out.name])
    checks.end()


if __name__ == "__main__":
    main()
