#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Stands in for slabtop under `quarry slabtop`: reads /proc/slabinfo from the beginning again and again through one descriptor, as slabtop does,
but slowly and in pieces, so that a table written meanwhile would be seen in halves. Ends with the tables it saw, apart by form feeds."""
import os
import sys
import time

READINGS = 3
PIECE_BYTES = 1009
PIECE_PAUSE_S = 0.04
SECONDS = 120


def read_slowly(file):
    os.lseek(file, 0, os.SEEK_SET)
    pieces = []
    while piece := os.read(file, PIECE_BYTES):
        pieces.append(piece)
        # Not over what fills the file up.
        if piece.strip(b"#\n"):
            time.sleep(PIECE_PAUSE_S)
    return b"".join(pieces)


def wait_for_another(file, table):
    """Looks at the file without moving in it."""
    deadline = time.monotonic() + SECONDS
    while os.pread(file, len(table), 0) == table and time.monotonic() < deadline:
        time.sleep(0.01)


def main():
    file = os.open("/proc/slabinfo", os.O_RDONLY)
    tables = []
    for _ in range(READINGS):
        tables.append(read_slowly(file))
        wait_for_another(file, tables[-1])
    sys.stdout.write("\f".join(table.decode() for table in tables))


if __name__ == "__main__":
    main()
