#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same random streams of allocation calls on quarry and on the C library: what a program can observe must be the same. names.py LIBRARY PROGRAM
With SOAK in the environment a hundred times as many streams, from a seed of the clock."""
import os
import subprocess
import sys
import time

SEED, STREAMS, SOAK_FACTOR = 1, 40, 100


def digests(program, seed, streams, library=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("QUARRY_", "MALLOC_", "GLIBC_TUNABLES"))}
    if library:
        env["LD_PRELOAD"] = library
    done = subprocess.run([program, str(seed), str(streams)], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def main():
    library, program = sys.argv[1:]
    soak = bool(os.environ.get("SOAK"))
    seed, streams = (int(time.time()) if soak else SEED), STREAMS * (SOAK_FACTOR if soak else 1)
    print(f"seed {seed}, {streams} streams")
    status, ours, words = digests(program, seed, streams, library)
    reference_status, theirs, reference_words = digests(program, seed, streams)
    if status or reference_status or len(ours) != streams:
        print(f"quarry: status {status}: {words}\nC library: status {reference_status}: {reference_words}\nafter {ours[-1:]}")
        return 1
    differ = [a for a, b in zip(ours, theirs) if a != b]
    for line in differ:
        print("differs from the C library: seed", line)
    return 1 if differ or ours != theirs else 0


if __name__ == "__main__":
    sys.exit(main())
