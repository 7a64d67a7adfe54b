#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What every process touches of libquarry.so lies at its start (src/layout.ld): first.py LIBRARY. The kernel maps files by 64 KiB; what the loader
reads and what ordinary programs call are within the first 80 KiB."""
import re

from golden import HERE, arguments, fail_all, run

SCRIPT = HERE.parent.parent / "src" / "layout.ld"
FIRST_BYTES_MAX = 80 * 1024


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
    print(f"{len(listed & there)} of {len(listed)} listed functions, {start + size} bytes")
    fail_all(found)


if __name__ == "__main__":
    main()
