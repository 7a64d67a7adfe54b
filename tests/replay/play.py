#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench_play: play.py PLAYER LIBQUARRY TRACE... The kept traces play, on glibc and on quarry; traces written by hand are taken as their
format says; and what is damaged, cut short or makes no sense gets one line and status 1."""
import json
import os
import pathlib
import random
import re
import sys

from replay import HEAD, OPS, Checks, fnv, listed, run, trace, varint

SEED = 20240611
SWITCH = 8


def call(op, *values, switch=None):
    """One record; switch is the thread's number."""
    head = [OPS.index(op) + (0 if switch is None else SWITCH)] + ([] if switch is None else [switch])
    return b"".join(varint(value) for value in [*head, 0, *values])


def figures(done):
    return json.loads(done.stdout) if done.returncode == 0 else {}


def kept_check(checks, player, library, path):
    plain = figures(run(player, "--rounds", "1", path))
    quarry = figures(run(player, "--rounds", "1", path, env=dict(os.environ, LD_PRELOAD=library)))
    info = run(player, "--info", path).stdout
    checks.true(f"{path.name}: plays on glibc", plain.get("ns_per_call", 0) > 0)
    checks.same(f"{path.name}: plays on quarry", quarry.get("malloc_from"), "libquarry.so")
    for key in ("calls", "threads", "live_peak_bytes"):
        checks.same(f"{path.name}: {key}", quarry.get(key), plain.get(key))
    records, left = (int(re.search(rf"^{name} (\d+)$", info, re.M).group(1)) for name in ("calls", "live_end_objects"))
    checks.same(f"{path.name}: every call is made, and every object freed", plain.get("calls"), records + left)
    checks.true(f"{path.name}: at most 300 KiB", path.stat().st_size <= 300 * 1024)


def hand_made(checks, player, library):
    """Every field of the format, and objects that go from thread to thread."""
    body = (call("malloc", 100) + call("calloc", 5000) + call("realloc", 2, 3) + call("realloc", 0, 9000) +
            call("memalign", 10, 12) + call("posix_memalign", 10, 4) + call("aligned_alloc", 1 << 29, 6) + call("free", 5) + call("free", 0) +
            call("malloc", 0))
    path = checks.path("all.qtrace", trace(body, 10, 8))
    rows = [(row["op"], row["dies"], row["size"], row["align"], row["born"]) for row in listed(player, path)]
    checks.same("hand-made", rows, [
        ("malloc", None, 100, 1, 0), ("calloc", None, 5000, 1, 1), ("realloc", 0, 3, 1, 2), ("realloc", None, 9000, 1, 3),
        ("memalign", None, 10, 4096, 4), ("posix_memalign", None, 10, 16, 5), ("aligned_alloc", None, 1 << 29, 64, 6), ("free", 2, 0, 1, None),
        ("free", None, 0, 1, None), ("malloc", None, 0, 1, 7)])
    played = figures(run(player, "--rounds", "3", path))
    # Objects 1, 3, 4, 5, 6 and 7 are left.
    checks.same("hand-made: calls", (played.get("calls"), played.get("live_peak_bytes")), (16, 5000 + 3 + 9000 + 20 + (1 << 29)))
    relay = b"".join(call("malloc", 40, switch=1) + call("realloc", 1, 80, switch=2) + call("free", 1, switch=0) for _ in range(5000))
    path = checks.path("relay.qtrace", trace(relay, 15000, 10000, threads=3))
    for window in (1, 7, 100000):
        played = run(player, "--rounds", "4", "--window", window, path, env=dict(os.environ, LD_PRELOAD=library))
        checks.same(f"relay, window {window}", figures(played).get("live_peak_bytes"), 80)


def churn_check(checks, player):
    """Threads that follow each other, more than could be at once; and one that only ever takes from others."""
    body = b"".join(call("malloc", 24, switch=nr) + call("free", 1, switch=nr + 1) for nr in range(1, 3000))
    path = checks.path("churn.qtrace", trace(body, 5998, 2999, threads=3001))
    checks.same("thread churn", figures(run(player, "--rounds", "1", path)).get("threads"), 3001)


def speed_check(checks, player):
    """At 100 percent a trace of 200 ms does not end before; at 1000 it may."""
    body = call("malloc", 8) + varint(3) + varint(200_000_000) + varint(1)
    path = checks.path("speed.qtrace", trace(body, 2, 1))
    checks.true("speed 100", figures(run(player, "--speed", "100", path)).get("ns_per_call", 0) >= 100_000_000)
    checks.true("speed 1000", figures(run(player, "--speed", "1000", path)).get("ns_per_call", 0) >= 10_000_000)


def refused(checks, player, name, data, want):
    path = checks.path("bad.qtrace", data)
    for how in (["--info"], ["--rounds", "1"]):
        done = run(player, *how, path)
        fits = re.fullmatch(rf"bench_play: \S*bad.qtrace: .*{want}.*\n", done.stderr)
        checks.same(f"{name} {how[0]}: {done.stderr.strip()}", (done.returncode, bool(fits), done.stdout), (1, True, ""))


def nonsense_check(checks, player):
    """Sums are right in these, what they say is not."""
    one = call("malloc", 8)
    for name, data, want in (
            ("empty", b"", "not a trace"), ("text", b"no trace at all\n" * 20, "not a trace"),
            ("version", trace(one, 1, 1, version=2), "another version"), ("method", trace(one, 1, 1, method=2), "no sense"),
            ("ticks", trace(one, 1, 1, tick_ns=0), "no sense"), ("no threads", trace(one, 1, 1, threads=0), "no sense"),
            ("name", trace(one, 1, 1, name=b"x" * 48), "no sense"), ("more objects than records", trace(one, 1, 2), "no sense"),
            ("endless", trace(one, 2**32, 1), "no sense"), ("short", trace(one, 2, 1), "ends before"),
            ("empty coded", trace(b"", 1, 1, method=1), "ends before"),
            ("coded short", trace(b"\0" * 8, 2**32 - 1, 2**32 - 1, method=1), ""),
            ("long", trace(one + b"\0", 1, 1, sum=fnv(one)), "goes on"), ("objects", trace(one * 2, 2, 1), "more objects"),
            ("fewer objects", trace(one, 1, 0), "more objects"), ("kind", trace(varint(7) + one, 2, 2), "unknown kind"),
            ("head", trace(varint(99) + one, 2, 2), "unknown kind"), ("thread", trace(call("malloc", 8, switch=1), 1, 1), "thread"),
            ("size", trace(call("malloc", 2**48), 1, 1), "size"), ("align", trace(call("memalign", 8, 32), 1, 1), "alignment"),
            ("unborn", trace(one + call("free", 2), 2, 1), "not born"), ("dies twice", trace(one + call("free", 1) * 2, 3, 1), "twice"),
            ("resized twice", trace(one + call("realloc", 1, 9) + call("realloc", 2, 9), 3, 3), "twice"),
            ("number", trace(b"\0" * 2 + b"\xff" * 12 + one, 3, 3), "64 bits"), ("sum", trace(one, 1, 1, sum=1), "damaged")):
        refused(checks, player, name, data, want)


def damage_check(checks, player, path):
    """A kept trace, cut at many places and with single bits changed at others."""
    rng = random.Random(SEED)
    whole = path.read_bytes()
    print(f"seed {SEED}")
    for length in [1, 7, 8, 50, HEAD.size, HEAD.size + 8, len(whole) - 1] + [rng.randrange(len(whole)) for _ in range(5)]:
        refused(checks, player, f"cut at {length}", whole[:length], "")
    for place in list(range(0, HEAD.size + 8, 5)) + [rng.randrange(len(whole)) for _ in range(25)]:
        data = bytearray(whole)
        data[place] ^= 1 << rng.randrange(8)
        refused(checks, player, f"bit changed at {place}", bytes(data), "")
    refused(checks, player, "a byte more", whole + b"\0", "more follows")


def main():
    player, library, *kept = sys.argv[1:]
    checks = Checks()
    kept = [pathlib.Path(path) for path in kept]
    for path in kept:
        kept_check(checks, player, library, path)
    hand_made(checks, player, library)
    churn_check(checks, player)
    speed_check(checks, player)
    nonsense_check(checks, player)
    damage_check(checks, player, kept[0])
    checks.end()


if __name__ == "__main__":
    main()
