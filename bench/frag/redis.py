# SPDX-License-Identifier: MIT
"""Run by tools/frag: redis-server with keys rewritten at other sizes, one line of JSON with the server's resident set after
each phase. The server gets its allocator by the BENCH_PRELOAD variable ("": the C library's, itself preloaded, because
Debian links the server with jemalloc)."""
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

KEYS_NR = 150_000
REST_S = 2.0
BATCH_NR = 1000
START_S = 20.0
rng = random.Random(1)


def preload(server):
    """The library to preload into the server."""
    wanted = os.environ.get("BENCH_PRELOAD", "")
    if wanted:
        return wanted
    needed = subprocess.run(["ldd", server], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line.split()[2] for line in needed if line.split()[0] == "libc.so.6")


def packed(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Client:
    def __init__(self, path):
        deadline = time.monotonic() + START_S
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.replies = self.socket.makefile("rb")

    def run(self, commands):
        """All of them, by the batch; every reply is one line."""
        for at in range(0, len(commands), BATCH_NR):
            batch = commands[at:at + BATCH_NR]
            self.socket.sendall(b"".join(batch))
            for _ in batch:
                reply = self.replies.readline()
                if not reply or reply.startswith(b"-"):
                    raise RuntimeError(f"the server answers {reply!r}")

    def rewrite(self, least, most):
        keys = list(range(KEYS_NR))
        rng.shuffle(keys)
        self.run([packed("SET", f"key:{key}", b"v" * rng.randrange(least, most)) for key in keys])


def rss_bytes(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Rss:"))


def measure(server, client):
    phases = {}

    def phase(name):
        time.sleep(REST_S)
        phases[name] = rss_bytes(server.pid)

    client.rewrite(100, 300)
    phase("written, 100..300 B")
    client.rewrite(500, 900)
    phase("rewritten, 500..900 B")
    client.rewrite(200, 400)
    phase("rewritten, 200..400 B")
    client.run([packed("DEL", f"key:{key}") for key in rng.sample(range(KEYS_NR), KEYS_NR * 3 // 4)])
    phase("three quarters deleted")
    client.rewrite(40, 120)
    phase("rewritten, 40..120 B")
    client.run([packed("FLUSHALL", "SYNC")])
    phase("all deleted")
    return phases


def main():
    binary = shutil.which("redis-server")
    if binary is None:
        sys.exit("there is no redis-server: apt-get install redis-server")
    environment = {**os.environ, "LD_PRELOAD": preload(binary)}
    with tempfile.TemporaryDirectory(prefix="bench-frag.") as folder:
        path = f"{folder}/redis"
        words = [binary, "--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "no"]
        with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as server:
            try:
                phases = measure(server, Client(path))
                maps = pathlib.Path(f"/proc/{server.pid}/maps").read_text(encoding="utf-8")
            finally:
                server.terminate()
    if environment["LD_PRELOAD"] not in maps:
        sys.exit("the server did not load the allocator")
    print(json.dumps({"program": "redis", **phases}))


if __name__ == "__main__":
    main()
