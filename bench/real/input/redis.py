# SPDX-License-Identifier: MIT
"""Prints the commands bench/real/redis sends first, in the server's protocol: values of mixed sizes set, grown, replaced by
larger ones and partly deleted, so that the heap is full of holes."""
import random
import sys

KEYS_NR = 40_000
rng = random.Random(1)


def send(*words):
    packed = [str(word).encode() for word in words]
    sys.stdout.buffer.write(b"*%d\r\n" % len(packed) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in packed))


def key():
    return rng.randrange(KEYS_NR)


for turn in range(2):
    for i in range(KEYS_NR):
        send("SET", f"s:{i}", "v" * rng.randrange(8, 300 * (turn + 1)))
        send("HSET", f"h:{key() % 2000}", f"field{key()}", "x" * rng.randrange(100))
        send("RPUSH", f"l:{key() % 500}", "e" * rng.randrange(150))
        send("ZADD", f"z:{key() % 300}", key(), f"member{key()}")
    for _ in range(KEYS_NR):
        send("APPEND", f"s:{key()}", f"+{turn}" * rng.randrange(1, 100))
        send("DEL", f"s:{key()}")
        send("LPOP", f"l:{key() % 500}")
