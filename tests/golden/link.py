#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs link with quarry in each way README names, and get it: link.py BUILD_DIR. -lquarry, -static, -static-pie, C++, and
musl-gcc with the library built by gcc; by the flags of quarry.pc also programs that name no function of malloc's themselves; and programs
with a quarry_conf. With --musl BUILD_DIR is a build by musl-gcc, and what README says of that is done. A way whose compiler is missing is said to be skipped; when all are, so is the test."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from golden import HERE, STATUS_SKIP

INCLUDE = HERE.parent.parent / "include"
C, CXX = str(HERE / "link_main.c"), str(HERE / "link_main.cc")
LITTLE, LITTLE_CXX, CONF = str(HERE / "link_little.c"), str(HERE / "link_little.cc"), str(HERE / "link_conf.c")
CALLS = re.compile(r"^quarry: calls      malloc [1-9]", re.M)


def runs(program, **env):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QUARRY_") and name != "LD_PRELOAD"}
    return subprocess.run([program], capture_output=True, text=True, timeout=60, check=False, env=dict(clean, **env))


def own_malloc(program):
    """The program looks itself (link_main.c)."""
    ran = runs(program, QUARRY_STATS="off")
    return ran.returncode == 0 and ran.stdout.startswith("quarry ") and ran.stderr == "", ran


def served(program, **env):
    """The report counts its calls."""
    ran = runs(program, QUARRY_STATS="short", **env)
    return ran.returncode == 0 and ran.stdout == "little\n" and CALLS.search(ran.stderr) is not None, ran


def answered(program):
    """A wrong name is answered, at the start: the archive of a glibc build says nothing at the end of a musl program."""
    ran = runs(program, QUARRY_NO_SUCH_OPTION="1")
    return ran.returncode == 0 and ran.stdout == "little\n" and "NO_SUCH_OPTION" in ran.stderr.upper(), ran


def configured(program, **env):
    """Its own options are read, a wrong one among them is answered, and the environment wins."""
    ran, quiet = runs(program, **env), runs(program, QUARRY_STATS="off", **env)
    good = ran.returncode == 0 and ran.stdout == "conf\n" and CALLS.search(ran.stderr) and "no_such_option" in ran.stderr
    return bool(good) and "no_such_option" in quiet.stderr and CALLS.search(quiet.stderr) is None, ran


def unconfigured(program, **env):
    ran = runs(program, **env)
    return ran.returncode == 0 and ran.stdout == "conf\n" and ran.stderr == "", ran


def flags(libs, *how):
    """What quarry.pc says, of the library in the build directory."""
    asked = ["pkg-config", "--libs", *how, f"--define-variable=libdir={libs}", "quarry"]
    env = dict(os.environ, PKG_CONFIG_PATH=str(libs.parent / "meson-private"))
    return subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout.split() + [f"-Wl,-rpath,{libs}"]


def ways(libs):
    archive, preloaded = str(libs / "libquarry.a"), str(libs / "libquarry.so")
    shared = [f"-L{libs}", "-lquarry", f"-Wl,-rpath,{libs}"]
    yield "shared", ["gcc", C] + shared, own_malloc
    yield "static", ["gcc", "-static", C, archive], own_malloc
    yield "static-pie", ["gcc", "-static-pie", "-fPIE", C, archive], own_malloc
    yield "archive in a dynamic program", ["gcc", C, archive], own_malloc
    for linker in ("gold", "lld"):
        if shutil.which(f"ld.{linker}"):
            yield f"shared, by {linker}", ["gcc", f"-fuse-ld={linker}", C] + shared, own_malloc
            yield f"static, by {linker}", ["gcc", f"-fuse-ld={linker}", "-static", C, archive], own_malloc
            yield f"archive in a dynamic program, by {linker}", ["gcc", f"-fuse-ld={linker}", C, archive], own_malloc
    yield "C++ shared", ["g++", CXX] + shared, own_malloc
    yield "C++ static", ["g++", "-static", CXX, archive], own_malloc
    yield "C++ archive in a dynamic program", ["g++", CXX, archive], own_malloc
    yield "musl static", ["musl-gcc", "-static", C, archive], own_malloc
    for compiler, source in ("gcc", LITTLE), ("g++", LITTLE_CXX):
        yield f"{compiler}, no malloc of its own, shared", [compiler, "-Wl,--as-needed", source] + flags(libs), served
        yield f"{compiler}, no malloc of its own, static", [compiler, "-static", source] + flags(libs), served
        yield f"{compiler}, no malloc of its own, --static", [compiler, "-static", source] + flags(libs, "--static"), served
    yield "musl, no malloc of its own", ["musl-gcc", "-static", LITTLE, "-Wl,-u,malloc", archive], answered
    yield "quarry_conf, shared", ["gcc", CONF] + shared, configured
    yield "quarry_conf, static", ["gcc", "-static", CONF, archive], configured
    yield "quarry_conf, archive in a dynamic program", ["gcc", CONF, archive], configured
    yield "quarry_conf, preloaded", ["gcc", "-rdynamic", CONF], lambda program: configured(program, LD_PRELOAD=preloaded)
    yield "quarry_conf not exported, preloaded", ["gcc", CONF], lambda program: unconfigured(program, LD_PRELOAD=preloaded)


def musl_ways(libs):
    """With the libraries that musl-gcc built, which give their report there, too."""
    linked = ["-Wl,-u,malloc", str(libs / "libquarry.a")]
    shared = [f"-L{libs}", "-Wl,--no-as-needed", "-lquarry", f"-Wl,-rpath,{libs}"]
    preloaded = str(libs / "libquarry.so")
    yield "musl, shared", ["musl-gcc", C] + shared, own_malloc
    yield "musl, preloaded", ["musl-gcc", LITTLE], lambda program: served(program, LD_PRELOAD=preloaded)
    yield "musl, quarry_conf, preloaded", ["musl-gcc", "-rdynamic", CONF], lambda program: configured(program, LD_PRELOAD=preloaded)
    yield "musl", ["musl-gcc", "-static", C] + linked, own_malloc
    yield "musl, no malloc of its own", ["musl-gcc", "-static", LITTLE] + linked, served
    yield "musl, quarry_conf", ["musl-gcc", "-static", CONF] + linked, configured


def try_way(name, command, good_run, program):
    if not shutil.which(command[0]):
        print(f"skip {name}: no {command[0]}")
        return None
    built = subprocess.run(command + ["-O1", "-pthread", f"-I{INCLUDE}", "-o", program], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        print(f"FAIL {name}: does not link\n{built.stderr}")
        return False
    good, ran = good_run(program)
    print(f"{'ok  ' if good else 'FAIL'} {name}: status {ran.returncode}, {ran.stdout.strip()} {'' if good else ran.stderr}")
    return good


def main():
    libs = (pathlib.Path(sys.argv[1]) / "src").resolve()
    wanted = musl_ways if "--musl" in sys.argv[2:] else ways
    with tempfile.TemporaryDirectory() as folder:
        results = [try_way(*way, os.path.join(folder, "program")) for way in wanted(libs)]
    if all(result is None for result in results):
        sys.exit(STATUS_SKIP)
    sys.exit(0 if False not in results else 1)


if __name__ == "__main__":
    main()
