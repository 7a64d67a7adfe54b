#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Damaged reports for `quarry explain`: a report of a process in JSON, changed at random. The command must end with status 0 or 1 and, where it is
1, one line on stderr; never by a signal.
So must it with what libFuzzer found (explained.c). report.py LIBRARY QUARRY CORPUS. With SOAK in the environment a hundred times as many, from a seed of the clock."""
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

SEED, CHANGED, SOAK_FACTOR, CHANGES_MAX = 1, 60, 100, 4
ODD_NUMBERS = ["0", "-1", "1e400", "-9223372036854775808", "18446744073709551615", "18446744073709551616", "1.5", '"7"', "null", "[]", "{}", "true"]


def report(library):
    env = {k: v for k, v in os.environ.items() if not k.startswith("QUARRY_")}
    env.update(LD_PRELOAD=library, QUARRY_STATS="json")
    return subprocess.run(["/bin/true"], env=env, capture_output=True, text=True, check=True).stderr


def changed(text, rng):
    for _ in range(rng.randint(1, CHANGES_MAX)):
        kind = rng.randrange(5)
        at = rng.randrange(len(text) + 1)
        if kind < 2:
            numbers = list(re.finditer(r"(?<=[:\[ ])-?\d+", text))
            if numbers:
                chosen = rng.choice(numbers)
                text = text[:chosen.start()] + rng.choice(ODD_NUMBERS) + text[chosen.end():]
        elif kind == 2:
            text = text[:at]
        elif kind == 3:
            text = text[:at] + text[at + rng.randrange(40):]
        else:
            text = text[:at] + rng.choice('{}[]:,"\\\x01\u00e9') * rng.choice((1, 1, 3000)) + text[at:]
    return text


def main():
    library, quarry, kept = sys.argv[1:]
    inputs = [pathlib.Path(kept, name).read_bytes() for name in sorted(os.listdir(kept))]
    soak = bool(os.environ.get("SOAK"))
    seed = int(time.time()) if soak else SEED
    rng = random.Random(seed)
    whole = report(library)
    failed, refused = 0, 0
    print(f"seed {seed}")
    with tempfile.NamedTemporaryFile("wb", suffix=".json") as file:
        for i in range(CHANGED * (SOAK_FACTOR if soak else 1) + len(inputs)):
            text = whole if i == 0 else changed(whole, rng)
            data = inputs[-i] if 0 < i <= len(inputs) else text.encode("utf-8", "surrogateescape")
            file.seek(0)
            file.truncate()
            file.write(data)
            file.flush()
            done = subprocess.run([quarry, "explain", file.name], capture_output=True, text=True, check=False)
            refused += done.returncode == 1
            good = (done.returncode == 0 and done.stdout) or (done.returncode == 1 and i > 0 and len(done.stderr.splitlines()) == 1)
            if not good:
                failed += 1
                print(f"report {i}: status {done.returncode}: {done.stderr[:300]}")
    print(f"{refused} refused")
    return 1 if failed or refused == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
