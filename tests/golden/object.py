#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What every process that loads libquarry.so takes on: libc alone beside it, little static TLS, nothing lazily bound, no writable code, an
address range that stays (the kernel may hold pointers into the per-CPU sections)."""
import re

from golden import arguments, fail_all, run

TLS_BYTES_MAX = 64  # a dlopen'ed library shares about 500 bytes of surplus with all others
NEEDED = {"libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
GLIBC_MAX = (2, 36)  # Debian 12


def tls_bytes(segments):
    match = re.search(r"^\s+TLS\s+(?:0x\w+\s+){4}(0x\w+)", segments, re.M)
    return int(match.group(1), 16) if match else 0


def problems(dynamic, segments, symbols):
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    if not needed:
        yield "no NEEDED entry at all: not even libc"
    if needed - NEEDED:
        yield f"needs {', '.join(sorted(needed - NEEDED))}; only libc may be needed"
    if tls_bytes(segments) > TLS_BYTES_MAX:
        yield f"{tls_bytes(segments)} bytes of TLS; at most {TLS_BYTES_MAX}"
    for flag in ("NODELETE", "NOW"):
        if not re.search(rf"FLAGS_1\).*\b{flag}\b", dynamic):
            yield f"not linked with -z {flag.lower()}"
    if "TEXTREL" in dynamic:
        yield "has text relocations"
    if "GNU_RELRO" not in segments:
        yield "not linked with -z relro"
    if re.search(r"^\s+(LOAD|GNU_STACK)\s.*\sRWE\s", segments, re.M):
        yield "has a segment that is writable and executable"
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"@GLIBC_(\d+\.\d+)", symbols)}
    if versions and max(versions) > GLIBC_MAX:
        yield f"needs symbols of glibc {max(versions)}; at most {GLIBC_MAX}"


def main():
    _, (lib,) = arguments()
    segments = run("readelf", "-lW", lib)
    found = list(problems(run("readelf", "-dW", lib), segments, run("nm", "-D", lib)))
    print(f"TLS {tls_bytes(segments)} bytes")
    fail_all(found)


if __name__ == "__main__":
    main()
