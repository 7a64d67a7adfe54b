#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs link with quarry in each way README names, and get it: link.py BUILD_DIR. -lquarry, -static, -static-pie, C++, and
musl-gcc with the library built by gcc. A way whose compiler is missing is said to be skipped; when all are, so is the test."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from golden import HERE, STATUS_SKIP

INCLUDE = HERE.parent.parent / "include"
C, CXX = str(HERE / "link_main.c"), str(HERE / "link_main.cc")


def ways(libs):
    archive = str(libs / "libquarry.a")
    shared = [f"-L{libs}", "-lquarry", f"-Wl,-rpath,{libs}"]
    yield "shared", ["gcc", C] + shared
    yield "static", ["gcc", "-static", C, archive]
    yield "static-pie", ["gcc", "-static-pie", "-fPIE", C, archive]
    yield "archive in a dynamic program", ["gcc", C, archive]
    yield "C++ shared", ["g++", CXX] + shared
    yield "C++ static", ["g++", "-static", CXX, archive]
    yield "C++ archive in a dynamic program", ["g++", CXX, archive]
    yield "musl static", ["musl-gcc", "-static", C, archive]


def try_way(name, command, program):
    if not shutil.which(command[0]):
        print(f"skip {name}: no {command[0]}")
        return None
    built = subprocess.run(command + ["-O1", "-pthread", f"-I{INCLUDE}", "-o", program], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        print(f"FAIL {name}: does not link\n{built.stderr}")
        return False
    ran = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ, QUARRY_STATS="off"))
    good = ran.returncode == 0 and ran.stdout.startswith("quarry ") and ran.stderr == ""
    print(f"{'ok  ' if good else 'FAIL'} {name}: status {ran.returncode}, {ran.stdout.strip()} {ran.stderr}")
    return good


def main():
    libs = (pathlib.Path(sys.argv[1]) / "src").resolve()
    with tempfile.TemporaryDirectory() as folder:
        results = [try_way(name, command, os.path.join(folder, "program")) for name, command in ways(libs)]
    if all(result is None for result in results):
        sys.exit(STATUS_SKIP)
    sys.exit(0 if False not in results else 1)


if __name__ == "__main__":
    main()
