#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The real library's reports, read by real parsers, with figures that must agree with each other: reports.py LIB TOOL. The program under it is a shell with
one child, so that reports of two processes arrive on one stderr."""
import json
import os
import subprocess
import sys
import xml.etree.ElementTree

from golden import arguments, fail_all

MALLOC_INFO = """
import ctypes
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
stream = libc.fopen(b"/dev/stdout", b"w")
assert libc.malloc_info(0, stream) == 0
libc.fclose(stream)
"""


def run(lib, stats, *command):
    env = dict(os.environ, LD_PRELOAD=lib, QUARRY_STATS=stats)
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True)


def json_problems(lib, names):
    lines = run(lib, "json", "/bin/bash", "-c", "/bin/ls / >/dev/null; true").stderr.splitlines()
    if len(lines) != 2:
        yield f"json: {len(lines)} lines for two processes"
    for line in lines:
        report = json.loads(line)
        stats = report["stats"]
        if list(stats) != names:
            yield f"json: names are not those of stats.def: {sorted(set(stats) ^ set(names))}"
        if not stats["calls_malloc"] > 0:
            yield "json: no call of malloc was counted"
        if not 0 < stats["peak_live_bytes"] < report["process"]["peak_resident_bytes"]:
            yield f"json: peak live {stats['peak_live_bytes']}, peak resident {report['process']['peak_resident_bytes']}"
        if stats["live_bytes"] > stats["peak_live_bytes"]:
            yield f"json: live {stats['live_bytes']} above its peak {stats['peak_live_bytes']}"


def xml_problems(lib, names):
    text = run(lib, "off", sys.executable, "-c", MALLOC_INFO).stdout
    root = xml.etree.ElementTree.fromstring(text)
    found = {stat.get("name"): int(stat.get("value")) for stat in root.iter("stat")}
    if root.tag != "malloc" or list(found) != names:
        yield f"xml: not malloc_info of quarry: <{root.tag}> with {len(found)} figures"
    elif not 0 < found["live_bytes"] <= found["committed_bytes"] + found["big_live_bytes"]:
        yield f"xml: live {found['live_bytes']}, committed {found['committed_bytes']}"


def short_problems(lib):
    lines = run(lib, "short", "/bin/ls", "/").stderr.splitlines()
    heads = [line[:17].strip() for line in lines]
    if heads != ["quarry: process", "quarry: calls", "quarry: memory", "quarry: hugepages", "quarry: per CPU"]:
        yield f"short: {lines}"


def main():
    _, (lib, tool) = arguments()
    table = json.loads(subprocess.run([tool, "stats-list", "--json"], capture_output=True, text=True, check=True).stdout)
    names = [row["name"] for row in table]
    fail_all(list(json_problems(lib, names)) + list(xml_problems(lib, names)) + list(short_problems(lib)))


if __name__ == "__main__":
    main()
