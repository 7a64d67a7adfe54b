# SPDX-License-Identifier: MIT
"""Workload of bench/real/python: JSON documents, dictionaries and strings built and dropped.

Objects above 512 bytes, tables of lists and dictionaries and long strings come from malloc; smaller ones from the
interpreter's arenas.
"""
import hashlib
import json
import random

rng = random.Random(1)
digest = hashlib.sha256()


def document(size):
    """A nested record of about size members, some of them long strings."""
    return {f"key{i}": {"id": i, "name": f"name {i} " * rng.randrange(1, 200), "list": [rng.random() for _ in range(rng.randrange(80))]}
            for i in range(size)}


def churn(live, rounds):
    """A dictionary of byte strings of 600 B to 20 kB whose members are replaced at random."""
    kept = {i: bytes([i & 255]) * rng.randrange(600, 20_000) for i in range(live)}
    for i in range(rounds):
        kept[rng.randrange(live)] = bytes([i & 255]) * rng.randrange(600, 20_000)
    return sum(len(v) * (k + v[0]) for k, v in kept.items())


for turn in range(10):
    texts = [json.dumps(document(rng.randrange(20, 200))) for _ in range(14)]
    parsed = [json.loads(text) for text in texts]
    digest.update(json.dumps(parsed, sort_keys=True).encode())
    table = {}
    for words in parsed:
        for key, value in words.items():
            table.setdefault(key + str(value["id"] % 7), []).append(value["name"].upper().split())
    digest.update(repr(sorted((k, len(v), sum(map(len, v))) for k, v in table.items())).encode())
    digest.update(str(churn(2000, 20_000)).encode())
print(digest.hexdigest())
