#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""quarry record: record.py TOOL PLAYER RECORDED LIBQUARRY. What a known program calls is in its trace, in its order, however the program
ends; and the trace can be played."""
import os
import sys

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
        ("posix_memalign", MARK, 256, None, 7), ("free", 0, 1, 2, None), ("free", 0, 1, 1, None), ("free", 0, 1, 5, None),
        ("free", 0, 1, 6, None), ("free", 0, 1, 7, None), ("free", 0, 1, 4, None)])
    checks.true(f"{what}: times go on", all(a["ns"] <= b["ns"] for a, b in zip(rows, rows[1:])))


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


def main():
    tool, player, recorded, library = sys.argv[1:]
    checks = Checks()
    out = checks.path("out.qtrace")

    def rows_of(what, status, **env):
        done = record(tool, out, recorded, what, env=dict(os.environ, **env))
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
    usage_check(checks, tool, recorded)
    checks.same("files left", [path.name for path in out.parent.iterdir()], [out.name])
    checks.end()


if __name__ == "__main__":
    main()
