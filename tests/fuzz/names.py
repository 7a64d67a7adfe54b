#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The same random streams of allocation calls on quarry and on the C library: what a program can observe must be the same, also in the hardened mode
and with all objects guarded that may be. And streams of threads that run at once, which judge themselves. names.py LIBRARY PROGRAM
With SOAK in the environment a hundred times as many streams, from a seed of the clock."""
import os
import subprocess
import sys
import time

SEED, STREAMS, SOAK_FACTOR = 1, 40, 100


# What is asked for is the same in all, and so must be what is answered.
MODES = {"quarry": {}, "quarry, hardened": {"QUARRY_HARDEN": "on"}, "quarry, guarded": {"QUARRY_GUARD": "1"},
         "quarry, hardened and guarded": {"QUARRY_HARDEN": "on", "QUARRY_GUARD": "1"}}
# Of the streams for one thread, as many for several that run at once, and for each mode but the first.
AT_ONCE_PART, MODE_PART = 20, 8


def digests(program, seed, streams, library=None, mode=None, words=()):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("QUARRY_", "MALLOC_", "GLIBC_TUNABLES"))}
    env.update(mode or {})
    if library:
        env["LD_PRELOAD"] = library
    done = subprocess.run([program, str(seed), str(streams), *words], env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def main():
    library, program = sys.argv[1:]
    soak = bool(os.environ.get("SOAK"))
    seed, streams = (int(time.time()) if soak else SEED), STREAMS * (SOAK_FACTOR if soak else 1)
    print(f"seed {seed}, {streams} streams")
    status, theirs, words = digests(program, seed, streams)
    if status or len(theirs) != streams:
        print(f"C library: status {status}: {words}\nafter {theirs[-1:]}")
        return 1
    wrong = 0
    for name, mode in MODES.items():
        nr = streams // MODE_PART if mode else streams
        status, ours, words = digests(program, seed, nr, library, mode)
        differ = [a for a, b in zip(ours, theirs) if a != b]
        if status or words or ours != theirs[:nr]:
            print(f"{name}: status {status}: {words}\nafter {ours[-1:]}; differs from the C library: seeds {differ}")
            wrong += 1
        status, handed, words = digests(program, seed, streams // AT_ONCE_PART, library, mode, ("at-once",))
        print(f"{name}, {streams // AT_ONCE_PART} times threads at once: {' '.join(handed)}")
        if status or words or not handed or handed[0].startswith("0 "):
            print(f"{name}, threads at once: status {status}: {words}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
