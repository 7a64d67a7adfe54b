# SPDX-License-Identifier: MIT
"""What the tests of recording and playing share: the two programs, and traces written by hand as docs/trace.md has them."""
import pathlib
import struct
import subprocess
import sys
import tempfile

OPS = ["malloc", "calloc", "realloc", "free", "memalign", "posix_memalign", "aligned_alloc"]
HEAD = struct.Struct("<8sIIIIQQQQ48s")
MAGIC = b"qtrace\x1a\n"


def run(*command, **more):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)


def record(tool, out, *program, **more):
    return run(tool, "record", "-o", out, "--", *program, **more)


def listed(player, trace):
    """The calls of a trace as dictionaries."""
    done = run(player, "--list", trace)
    if done.returncode != 0:
        sys.exit(f"FAIL --list {trace}: {done.stderr}")
    names = ("thread", "ns", "op", "dies", "size", "align", "born")
    rows = [dict(zip(names, line.split())) for line in done.stdout.splitlines()]
    return [{name: value if name == "op" else None if value == "-" else int(value) for name, value in row.items()} for row in rows]


def fnv(data):
    total = 0xcbf29ce484222325
    for byte in data:
        total = ((total ^ byte) * 0x100000001b3) % 2**64
    return total


def varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def trace(body, records, objects, threads=1, **head):
    """A trace of method 0; head replaces what would be right in it."""
    fields = {"magic": MAGIC, "version": 1, "method": 0, "tick_ns": 1, "threads": threads, "records": records, "objects": objects,
              "bytes": len(body), "sum": fnv(body), "name": b"by hand"}
    fields.update(head)
    packed = HEAD.pack(*fields.values())
    return packed + struct.pack("<Q", fnv(packed)) + body


class Checks:
    """Counts what is wrong, and ends the test."""

    def __init__(self):
        self.count, self.wrong = 0, 0
        self.folder = tempfile.TemporaryDirectory()

    def path(self, name, data=None):
        path = pathlib.Path(self.folder.name) / name
        if data is not None:
            path.write_bytes(data)
        return path

    def same(self, what, have, want):
        self.count += 1
        if have != want:
            self.wrong += 1
            print(f"{what}: {have!r}, not {want!r}")

    def true(self, what, holds):
        self.same(what, bool(holds), True)

    def end(self):
        print(f"{self.count} checks, {self.wrong} wrong")
        sys.exit(1 if self.wrong or not self.count else 0)
