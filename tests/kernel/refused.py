#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What must not compile, as in the kernel, does not, and says why; what is beside it does. In TAP. refused.py CC [CXX]: each one argument, its words
separated by blanks."""
import itertools
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
LANGUAGES = [("c", ["-std=gnu11"]), ("cpp", ["-std=gnu++17", "-std=gnu++20"])]

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
KINDS = """#include <linux/kernel.h>
const char *later(const char *p, const char *q) { return max(p, q); }
double more(double a) { return max(a, 2.5); }
unsigned narrow(void) { const unsigned char few = 200; return (unsigned)min(few, 7); }
"""
CONSTANTS = """#include <linux/kernel.h>
int logs[ilog2(64)], sizes[roundup_pow_of_two(33)], orders[order_base_2(17)], lows[rounddown_pow_of_two(33)];
_Static_assert(sizeof(logs) / sizeof(int) == 6 && sizeof(sizes) / sizeof(int) == 64 && sizeof(orders) / sizeof(int) == 5, "");
"""
# C++ has its own of the names that are not the kernel's alone.
CPP_SOURCES = [("beside C++'s own", """#include <linux/kernel.h>
#include <linux/slab.h>
#include <algorithm>
#if __cplusplus >= 202002L
#include <barrier>
#endif
int of(int i) { static_assert(roundup_pow_of_two(33) == 64 && ilog2(64) == 6, ""); return std::min(clamp_t(int, i, 0, 9), min_t(int, i, 3)); }
""", None), ("within extern C", """extern "C" {
#include <linux/array_size.h>
}
int array[3];
static_assert(ARRAY_SIZE(array) == 3, "");
""", None)]
# Name, source, what is said; None: it compiles.
SOURCES = [(f"{call} of a head at {at}", FREED_AT.format(at, call), "offset below 4096" if at > 4095 else None)
           for call in ("kfree_rcu", "kvfree_rcu") for at in (4088, 4096, 8000)]
SOURCES += [("elements of an array", ELEMENTS.format("array"), None), ("elements of a pointer", ELEMENTS.format("pointer"), "")]
# C++ has a function of that name.
C_SOURCES = [("lesser of signed and unsigned", LESSER.format("i, u"), "min_t() and max_t() say the type"),
             ("lesser of unsigned and a constant", LESSER.format("u, 5"), None), ("lesser of two signed", LESSER.format("i, l"), None),
             ("lesser within lesser", LESSER.format("min(min(i, 1), min(l, i)), clamp(clamp(i, 0, 9), min(1, 2), max(i, 3))"), None),
             ("greater of pointers and of floats", KINDS, None), ("logarithms of constants", CONSTANTS, None)]


def compiled(compiler, suffix, standard, text):
    with tempfile.NamedTemporaryFile("w", suffix="." + suffix) as source:
        source.write(text)
        source.flush()
        return subprocess.run(compiler.split() + [standard, *FLAGS, source.name], capture_output=True, text=True, check=False)


def main(compilers):
    report = driver.Report()
    for compiler, (suffix, standards) in zip(compilers, LANGUAGES):
        sources = SOURCES + (C_SOURCES if suffix == "c" else CPP_SOURCES)
        for standard, (name, text, said) in itertools.product(standards, sources):
            done = compiled(compiler, suffix, standard, text)
            good = done.returncode == 0 if said is None else done.returncode != 0 and said in done.stderr
            report.line(good, f"{name}, {standard[5:]}")
            if not good:
                report.explain(done.stderr or "it compiles")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
