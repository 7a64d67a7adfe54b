# SPDX-License-Identifier: MIT
"""Run by tools/frag: large structures built and dropped, one line of JSON with the resident set after each phase.

Objects above 512 bytes, tables of lists and dictionaries and long strings come from malloc; smaller ones from the
interpreter's arenas, which it gets by mmap or malloc, as it likes.
"""
import gc
import json
import random
import time

REST_S = 2.0
rng = random.Random(1)
phases = {}


def rss_bytes():
    with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) << 10 for line in rollup if line.startswith("Rss:"))


def phase(name):
    gc.collect()
    time.sleep(REST_S)
    phases[name] = rss_bytes()


def rows(number):
    """Records as a program reads them: a dictionary each, with a text of 0.5 to 4 kB and a list of numbers."""
    return [{"id": i, "text": "x" * rng.randrange(500, 4000), "numbers": [rng.random() for _ in range(rng.randrange(100))]}
            for i in range(number)]


table = {i: row for i, row in enumerate(rows(40_000))}
phase("built")
for key in rng.sample(sorted(table), 36_000):
    del table[key]
phase("nine of ten dropped")
index = {}
for i in range(30_000):
    index.setdefault(rng.randrange(3000), []).append(bytes(rng.randrange(600, 9000)))
phase("another built")
for key in sorted(index)[:2000]:
    del index[key]
phase("two thirds of it dropped")
texts = [json.dumps(row) for row in rows(5000)]
parsed = [json.loads(text) for text in texts]
del texts, table
phase("parsed, first dropped")
del parsed, index
phase("all dropped")
print(json.dumps({"program": "python", **{name: value for name, value in phases.items()}}))
