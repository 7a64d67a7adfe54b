# SPDX-License-Identifier: MIT
"""The program of python-threads.qtrace: one thread makes dictionaries, two others write them as JSON and drop them."""
import json
import queue
import random
import threading


def work(items):
    total = 0
    while (item := items.get()) is not None:
        total += len(json.dumps(item))
    return total


def main():
    items = queue.Queue(64)
    workers = [threading.Thread(target=work, args=[items]) for _ in range(2)]
    for worker in workers:
        worker.start()
    rng = random.Random(7)
    for _ in range(450):
        items.put({f"key{at}": "x" * rng.randrange(300) for at in range(20)})
    for _ in workers:
        items.put(None)
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
