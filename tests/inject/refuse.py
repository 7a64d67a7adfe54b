#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs refuse.c for one system call in every setting that leads to other call sites, makes the calls of the start fail one by
one, and then asks of the library itself whether any place that makes this call was never made to fail.

The places are read off the disassembly: calls of the functions of src/sys/vm.c from outside it. Usage: refuse.py LIBRARY PROGRAM CALL
"""
import contextlib
import errno
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402
import hugepool  # noqa: E402

# Hugepages early, and guarded objects often, so that a small workload has them; from the first call on at the start.
EARLY = {"QUARRY_THP_AFTER": "2M", "QUARRY_GUARD": "50"}
AT_ONCE = {"QUARRY_GUARD": "1"}
ALWAYS = {"QUARRY_THP": "always", "QUARRY_GUARD": "50"}
NEVER = {"QUARRY_THP": "never", "QUARRY_GUARD": "50"}
# Memory of the machine's pool of hugepages, which is made for it.
POOL = {**EARLY, "QUARRY_HUGETLB": "on"}
POOL_HPAGES = 48
# Files are read then.
CGROUP = {"QUARRY_CGROUP": "on"}
# Address space is counted, and one gap of chance before the heap of a tier that only some trials come to is as much as a leak.
FIXED = {"QUARRY_LAYOUT": "fixed", "QUARRY_VMALLOC_THRESHOLD": "1M"}  # regions of 1 to 2 MiB, too: so many are packed soon
# inject.h
INJECT_ANY = 100000
# The number on x86-64 and aarch64; the functions of src/sys that make the call, each call of which must be reached (none: not asked for); settings:
# environment, arguments before the call.
CALLS = {
    "mmap": ({"x86_64": 9, "aarch64": 222}, ["sys_vm_reserve", "sys_vm_hugetlb"],
             [(EARLY, []), (POOL, [])]),
    "mprotect": ({"x86_64": 10, "aarch64": 226}, ["sys_vm_commit", "sys_vm_read_only", "sys_vm_guard"], [(EARLY, [])]),
    "madvise": ({"x86_64": 28, "aarch64": 233}, ["sys_vm_purge", "sys_vm_huge", "sys_vm_nohuge", "sys_vm_collapse", "sys_vm_populate"],
                [(EARLY, []), (POOL, []), (ALWAYS, ["--beside", "process_madvise", "1"]), (NEVER, ["--beside", "munmap", "2"])]),
    "process_madvise": ({"x86_64": 440, "aarch64": 440}, ["sys_vm_purge_ranges"], [(EARLY, [])]),
    "mremap": ({"x86_64": 25, "aarch64": 216}, ["sys_vm_move", "sys_vm_move_out"], [(EARLY, [])]),
    "munmap": ({"x86_64": 11, "aarch64": 215}, ["sys_vm_release"], [(EARLY, []), (EARLY, ["--beside", "mprotect", "9"])]),
    "membarrier": ({"x86_64": 324, "aarch64": 283}, ["sys_membarrier_register", "sys_membarrier_rseq"], [(EARLY, [])]),
    "openat": ({"x86_64": 257, "aarch64": 56}, [], [(CGROUP, [])]),
    "futex": ({"x86_64": 202, "aarch64": 98}, [], []),
    "any": ({"x86_64": INJECT_ANY, "aarch64": INJECT_ANY}, [], [(EARLY, []), (NEVER, [])]),
}
ENOMEM = 12
AGAIN = 3
# Calls of the start that are made to fail at most; there are about five.
START_MAX = 12
# Which of them reach the kernel is up to the callers. Blocks for devices need privileges, and then a test of their own. Regions are
# retired in the hardened mode alone, in which what is kept back counts as live. range_copy and place_copy run in a child of a fork,
# whose calls nobody counts: tests/unit/page/hugetlb.c makes each of them fail.
EXEMPT = re.compile(r"sys_vm_\w+|dma_hugepage_make|big_retire|range_copy|place_copy")
# What only a process with memory of the pool comes to.
POOL_PLACES = re.compile(r"page_hugetlb_\w+|fresh_take|hugetlb_region_map|pool_map")


def sites_of(text):
    return {int(site, 16) for site in re.findall(r"^site (0x[0-9a-f]+)$", text, re.M)}


def run(report, library, command, env, name):
    """The child's outcome, judged; a line of the report."""
    # All pairs of `any' call, 4,700 trials, take a quarter of an hour on a quiet machine.
    out = driver.run_child(command, driver.child_env([library], {**FIXED, **env}), 150 if not os.environ.get("SOAK") else 10000)
    good = out.status == 0 and out.stderr == "" and not out.timed_out
    report.line(good, name)
    if not good:
        report.explain(f"ended with {driver.describe_status(out)}")
        report.explain("repeat: " + driver.repeat_command(out))
        report.explain(out.stdout + out.stderr)
    return out


def run_start(report, library, program, call, number):
    """Each call of the start fails alone, then with all later ones."""
    # The start unmaps only what it then could not make writable.
    beside = f"{CALLS['mprotect'][0][os.uname().machine]}:2" if call == "munmap" else "0:0"

    def judged(first, many):
        rule = f"{number}:{ENOMEM}:{first}:{many}:{beside}"
        return run(report, library, [program, "start", call], {"INJECT": rule, **AT_ONCE}, f"{call} at the start, rule {rule}")

    out = judged(0, 0)
    found = re.search(r"^calls (\d+)$", out.stdout, re.M)
    made = int(found[1]) if found else 0
    for first in range(1, min(made, START_MAX) + 1):
        for many in (2,) if call == "any" else (1, 2, 2 ** 31):
            judged(first, many)
    return sites_of(out.stdout)


def run_foreign(report, library, program):
    out = driver.run_child([program, "foreign"], driver.child_env([library], {}), 30)
    report.line(out.status == 0 and " foreign-pointer: " in out.stderr, "foreign memory is told apart while mmap is refused")
    report.explain(out.stderr)


def run_contended(report, library, program):
    """A process in which nobody ever waits for another has nothing to show."""
    for error in (errno.EPERM, errno.ENOMEM, errno.EAGAIN):
        out = driver.run_child([program, "contended", str(error)], driver.child_env([library], {}), 100)
        good = out.status in (0, driver.EXIT_SKIP) and out.stderr == ""
        report.line(good, f"futex refused with {errno.errorcode[error]} while threads wait for each other")
        report.explain(out.stdout + out.stderr)


def run_dense(report, library, program):
    """The sites reached; a kernel without MADV_COLLAPSE has none to reach."""
    out = driver.run_child([program, "dense"], driver.child_env([library], EARLY), 60)
    good = out.status in (0, driver.EXIT_SKIP) and out.stderr == ""
    report.line(good, "madvise while small pages become a hugepage")
    report.explain(out.stdout + out.stderr if not good else "")
    return sites_of(out.stdout)


def call_sites(library, functions):
    """Address behind each call of one of these functions, and the function it is in."""
    lines = subprocess.run(["objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    sites, inside, called = {}, "", False
    for line in lines:
        address = re.match(r"\s*([0-9a-f]+):", line)
        if address and called:
            sites[int(address[1], 16)] = inside
        start = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        inside = start[1] if start else inside
        target = re.search(r"\b(?:call|bl)\b.*<(\w+)>$", line)
        called = bool(target) and target[1] in functions
    return sites


def main():
    library, program, call = sys.argv[1:]
    numbers, functions, settings = CALLS[call]
    report = driver.Report()
    seen = run_start(report, library, program, call, numbers[os.uname().machine])
    pool_missing = False
    for env, beside in settings:
        name = " ".join([call, *beside, *env.values()])
        try:
            with hugepool.grown(POOL_HPAGES) if env is POOL else contextlib.nullcontext():
                out = run(report, library, [program, *beside, call], env, name)
        except hugepool.Unavailable as reason:
            report.line(True, name, f" # SKIP {reason}")
            pool_missing = True
            continue
        report.explain(out.stdout.split("\n", maxsplit=1)[0])
        seen |= sites_of(out.stdout)
    if call == "futex":
        run_contended(report, library, program)
    if call == "mmap":
        run_foreign(report, library, program)
    if call == "madvise":
        seen |= run_dense(report, library, program)
    places = call_sites(library, functions) if functions else {}

    def missed_now():
        return {hex(site): place for site, place in places.items() if site not in seen and not EXEMPT.match(place)
                and not (pool_missing and POOL_PLACES.match(place))}

    # Where hugepages come slowly few are asked for: then it is tried again, and what is reached counts.
    for again in range(AGAIN if call == "madvise" else 0):
        if not missed_now():
            break
        env, beside = settings[again % len(settings)]
        seen |= sites_of(run(report, library, [program, *beside, call], env, f"again {again}").stdout)
    missed = missed_now()
    if functions:
        report.line(bool(places) and not missed, f"{call}: every call site was made to fail")
    for site, place in missed.items():
        report.explain(f"never reached: {site} in {place}")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
