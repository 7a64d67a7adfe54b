#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The names a library exports are those of its table (symbols.py LIBRARY TABLE): one more takes a name from every program, one less gives it back to libc's malloc."""
from golden import arguments, compare, run


def main():
    update, (lib, table) = arguments()
    symbols = []
    for line in run("nm", "-D", "--defined-only", lib).splitlines():
        _, kind, name = line.split()
        # Weak or not is not told apart: the dynamic linker takes the first of either.
        symbols.append(f"{'function' if kind in 'TtWwi' else 'object'} {name}")
    compare(table, "\n".join(sorted(symbols)) + "\n", update)


if __name__ == "__main__":
    main()
