#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hot structs are laid out as layout.txt says: layout.py PROGRAM, the program being layout.c."""
from golden import arguments, compare, run


def main():
    update, (program,) = arguments()
    compare("layout.txt", run(program), update)


if __name__ == "__main__":
    main()
