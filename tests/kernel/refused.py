#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What must not compile, as in the kernel, does not, and says why; what is beside it does. In TAP. refused.py CC [CXX]: each one argument, its words
separated by blanks."""
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import driver  # noqa: E402

INCLUDE = os.path.join(HERE, "..", "..", "include")
FLAGS = ["-Wall", "-Werror", "-fsyntax-only", f"-I{INCLUDE}", f"-I{INCLUDE}/quarry/kernel"]
LANGUAGES = [("c", "-std=gnu11"), ("cpp", "-std=gnu++17")]

FREED_AT = """#include <linux/rcupdate.h>
#include <linux/slab.h>
struct thing {{ char before[{}]; struct rcu_head rcu; }};
void give(struct thing *t) {{ {}(t, rcu); }}
"""
ELEMENTS = """#include <linux/kernel.h>
unsigned long of(int *pointer) {{ int array[3]; (void)pointer, (void)array; return ARRAY_SIZE({}); }}
"""
LESSER = """#include <linux/kernel.h>
long of(int i, unsigned u, long l) {{ (void)i, (void)u, (void)l; return (long)min({}); }}
"""
# Name, source, what is said; None: it compiles.
SOURCES = [(f"{call} of a head at {at}", FREED_AT.format(at, call), "offset below 4096" if at > 4095 else None)
           for call in ("kfree_rcu", "kvfree_rcu") for at in (4088, 4096, 8000)]
SOURCES += [("elements of an array", ELEMENTS.format("array"), None), ("elements of a pointer", ELEMENTS.format("pointer"), "")]
# C++ has a function of that name.
C_SOURCES = [("lesser of signed and unsigned", LESSER.format("i, u"), "min_t() and max_t() say the type"),
             ("lesser of unsigned and a constant", LESSER.format("u, 5"), None), ("lesser of two signed", LESSER.format("i, l"), None)]


def compiled(compiler, suffix, standard, text):
    with tempfile.NamedTemporaryFile("w", suffix="." + suffix) as source:
        source.write(text)
        source.flush()
        return subprocess.run(compiler.split() + [standard, *FLAGS, source.name], capture_output=True, text=True, check=False)


def main(compilers):
    report = driver.Report()
    for compiler, (suffix, standard) in zip(compilers, LANGUAGES):
        for name, text, said in SOURCES + (C_SOURCES if suffix == "c" else []):
            done = compiled(compiler, suffix, standard, text)
            good = done.returncode == 0 if said is None else done.returncode != 0 and said in done.stderr
            report.line(good, f"{name}, {suffix}")
            if not good:
                report.explain(done.stderr or "it compiles")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
