#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What of the library an attacker who can write anywhere could make it jump to: pointers to code in memory that stays writable after start.
The loader's part is closed; what is left is looked at in a process that used the library, word for word, and each word that points to code
is one of those below, with its reason. The tables and options that are fixed at the start cannot be written to either.
Usage: writable.py LIBRARY [NAME PROGRAM [PRELOADED...]]

Also by the file, and without a program by the file alone, which may be another machine's: no relocation outside of the closed part points to
code."""
import os
import re
import sys

from golden import STATUS_SKIP, fail_all, run

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402

# By the name of the variable. Whoever adds one says why it cannot be a constant.
EXPLAINED = {
    "slots": "what the program registered with quarry_reclaim_register()",
    "watchers": "who looks at faults: set by guard and harden",
    "before": "the handler of SIGSEGV that was there before ours, to put back",
    "front_dlopen_real": "the C library's dlopen, looked up at the first call",
    "hooks": "what libquarry-kmem registers for debugging",
    "sys_clock_kernel": "of libquarry-kmem, which has no sealed page, the kernel's function in the vDSO",
    "engine_debug": "what libquarry-kmem registers for debugging",
    "kmalloc_debug": "what libquarry-kmem registers for debugging",
    "alloc_failed": "what libquarry-kmem registers for out of memory",
    "grace_wanted": "what libquarry-kmem registers for grace periods",
}
# Of libquarry; how many of their first bytes.
SEALED = {"mag_tabs": 3200, "rt_opt": 512, "slab_tables_rest": 264, "harden_key": 24, "sys_clock_kernel": 8, "rt_meta": 64}
OWN_NAME, SEALED_PAGE_BYTES = "libquarry.so", 4096
CODE = {".init", ".plt", ".plt.got", ".plt.sec", ".text", ".text.first", ".fini"}


def sections(library):
    """(name, first, end, writable) of each."""
    found = re.findall(r"^\s*\[\s*\d+\] (\S+)\s+\S+\s+([0-9a-f]+) [0-9a-f]+ ([0-9a-f]+) \S+ +([A-Z]*)\s", run("readelf", "-SW", library), re.M)
    return [(name, int(at, 16), int(at, 16) + int(size, 16), "W" in flags) for name, at, size, flags in found]


def symbols(library):
    """(address, end, name) of data, by address."""
    lines = re.findall(r"^([0-9a-f]+) ([0-9a-f]+) [bBdD] (\S+)$", run("nm", "-nS", library), re.M)
    return [(int(at, 16), int(at, 16) + int(size, 16), name) for at, size, name in lines]


def is_code(parts, address):
    return any(name in CODE and first <= address < end for name, first, end, _ in parts)


def variable_at(named, address):
    return next((re.sub(r"\.\d+$", "", name) for first, end, name in named if first <= address < end), "no symbol")


def relocations(library, parts):
    """Where the file itself puts addresses of code outside of the closed part."""
    relro = re.search(r"GNU_RELRO\s+0x\w+ 0x(\w+) 0x\w+ 0x\w+ 0x(\w+)", run("readelf", "-lW", library))
    closed = int(relro[1], 16) + int(relro[2], 16)
    named = symbols(library)
    for at, target in re.findall(r"^([0-9a-f]+)\s+\S+\s+R_\w+_RELATIVE\s+([0-9a-f]+)$", run("readelf", "-rW", library), re.M):
        if int(at, 16) >= closed and is_code(parts, int(target, 16)):
            yield f"{variable_at(named, int(at, 16))} at {at} is made to point to code at {target}"


def unsealed(named, opened):
    """Of what is fixed at the start. Pages larger than the sealed one leave it open."""
    found = {name: first for first, _, name in named if name in SEALED}
    for name in sorted(SEALED.keys() - found.keys()):
        yield f"{name} is not in the library"
    if not opened:
        yield "no data of the library is mapped to be written to"
    if os.sysconf("SC_PAGESIZE") > SEALED_PAGE_BYTES:
        return
    for name, first in found.items():
        if any(first < end and first + SEALED[name] > start for start, end in opened):
            yield f"{name} can be written to after the start"


def words(library, name, program, preloaded, parts):
    """What a process shows."""
    named = symbols(library)
    out = driver.run_child([program, name], driver.child_env([library, *preloaded], {"QUARRY_GUARD": "1", "QUARRY_CGROUP": "on"}), 30)
    if out.status != 0:
        yield f"{driver.describe_status(out)}: {out.stderr}"
    seen, opened = set(), []
    for line in out.stdout.splitlines():
        at, file, target = (line.split() + [""])[:3]
        if at == "relro":
            yield "the part that should be closed can be written to"
        elif at == "open":
            opened.append((int(file, 16), int(target, 16)))
        elif any(first <= int(at, 16) < end for first, end in opened) and (name not in file or is_code(parts, int(target, 16))):
            variable = variable_at(named, int(at, 16))
            seen.add(variable)
            if variable not in EXPLAINED:
                yield f"{variable} at {at} points to code: {file} {target}"
    if name == OWN_NAME:
        yield from unsealed(named, opened)
    print("explained:", ", ".join(sorted(seen & set(EXPLAINED))) or "none")


def main():
    library, *process = sys.argv[1:]
    if process and os.uname().machine != "x86_64":
        sys.exit(STATUS_SKIP)
    parts = sections(library)
    wrong = list(relocations(library, parts))
    if process:
        name, program, *preloaded = process
        wrong += words(library, name, program, preloaded, parts)
    fail_all(wrong)


if __name__ == "__main__":
    main()
