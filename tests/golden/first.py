#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What every process touches of libquarry.so lies at its start (src/layout.ld): first.py LIBRARY. The kernel maps files by 64 KiB; what the loader
reads and what ordinary programs call are within the first 80 KiB. What is sealed follows what the loader closes, without a gap."""
import re

from golden import HERE, arguments, fail_all, run

SCRIPT = HERE.parent.parent / "src" / "layout.ld"
FIRST_BYTES_MAX = 80 * 1024
SEALED = ".quarry_sealed"


def sealed_apart(lib, sections):
    """Where the sealed page costs one page more, or cuts what is written to in two."""
    relro = re.search(r"GNU_RELRO\s+0x\w+ 0x(\w+) 0x\w+ 0x\w+ 0x(\w+)", run("readelf", "-lW", lib))
    closed_end = int(relro[1], 16) + int(relro[2], 16) if relro else 0
    if SEALED not in sections or sections[SEALED][0] != closed_end:
        yield f"{SEALED} does not begin where the loader's closed part ends, at {closed_end:#x}: {sections.get(SEALED)}"
    if sections.get(".data", (0, 0))[1] != 0:
        yield f".data is left over, {sections['.data'][1]} bytes: src/layout.ld names all its inputs"


def main():
    _, (lib,) = arguments()
    sections = {name: (int(address, 16), int(size, 16)) for name, address, size in re.findall(
        r"\]\s+(\.\S+)\s+\S+\s+([0-9a-f]{16}) [0-9a-f]+ ([0-9a-f]+) ", run("readelf", "-SW", lib))}
    if ".text.first" not in sections or ".bss.first" not in sections:
        fail_all(["not linked with src/layout.ld"])
    start, size = sections[".text.first"]
    found = []
    if start + size > FIRST_BYTES_MAX:
        found.append(f"what is called first ends {start + size} bytes into the library; at most {FIRST_BYTES_MAX}: tools/dev/gen_layout BUILD")
    listed = set(re.findall(r"\*\(\.text\.(\w+) ", SCRIPT.read_text(encoding="utf-8")))
    symbols = re.findall(r"^([0-9a-f]+) [tTW] (\w+)$", run("nm", "--defined-only", lib), re.M)
    there = {name for address, name in symbols if start <= int(address, 16) < start + size}
    apart = sorted(name for _, name in symbols if name in listed and name not in there)
    found += [f"{name} is listed and lies elsewhere" for name in apart]
    if len(listed & there) < len(listed) // 2:
        found.append(f"only {len(listed & there)} of {len(listed)} listed functions are there")
    found += sealed_apart(lib, sections)
    print(f"{len(listed & there)} of {len(listed)} listed functions, {start + size} bytes")
    fail_all(found)


if __name__ == "__main__":
    main()
