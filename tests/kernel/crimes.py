#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Crimes against caches that are debugged (crimes.c), one process each, in TAP: what must be said of each, in this order, by whom the object was
allocated and freed, that nothing else is said, and that the program goes on; or, with the option, that it does not. crimes.py PROGRAM"""
import os
import re
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402

HEX = r"0x[0-9a-f]+"
SIZE = r"\+0x[0-9a-f]+/0x[0-9a-f]+"
WHEN = r" age=\d+ cpu=\d+ pid=\d+\n"


def stacks(taker, giver):
    """Both stacks, down to main and what called it."""
    rest = r"(?:.*\n)*? main" + SIZE + r"\n(?: .*\n)*"
    return (f"INFO: Allocated in {taker}{SIZE}{WHEN}{rest}" + f"INFO: Freed in {giver}{SIZE}{WHEN}{rest}")


def bug(what, cache="victim"):
    return "={77}\nBUG " + cache + r" \(Not tainted\): " + what + "\n-{77}\n\n"


OBJECT = f"INFO: Slab {HEX} objects=\\d+ used=\\d+\nINFO: Object {HEX} @offset=\\d+ %s\n\n"
DUMP = (r"(?:Redzone  .*\n)+(?:Object   .*\n)+(?:Redzone  .*\n)+(?:Padding  .*\n)+" + r"CPU: \d+ PID: \d+ Comm: kernel_crimes\nCall Trace:\n(?: .*\n)+")


def fixed(*lines, cache="victim"):
    return "".join(f"FIX {cache}: {line}\n" for line in lines)


def victim(head, state, *fixes, cache="victim", taker="taker", giver="giver"):
    return head + stacks(taker, giver) + OBJECT % state + DUMP + fixed(*fixes, cache=cache)


def span(what, first, instead, state, *fixes, **names):
    cache = names.get("cache", "victim")
    head = bug(what + " overwritten", cache) + f"INFO: {HEX}-{HEX} @offset=\\d+\\. First byte {first} instead of {instead}\n"
    return victim(head, state, f"Restoring {what} {HEX}-{HEX}={instead}", *fixes, **names)


NOT_FREED = f"Object at {HEX} not freed"
USED = f"Marking object {HEX} used"
GP = "general protection fault, probably for non-canonical address 0x6b6b6b6b6b6b6b6b\n"
KMALLOC = {"cache": "kmalloc-64", "taker": r"kmalloc_taker[^+\n]*", "giver": "kmalloc_giver"}
TRACE = r"CPU: \d+ PID: \d+ Comm: kernel_crimes\nCall Trace:\n(?: .*\n)+"
REST = r"(?: .*\n)*"


def wrong_plain(owner, said="victim"):
    return (bug(f"Wrong slab cache\\. {said} but object is from {owner}", owner) + f"INFO: Slab {HEX} objects=\\d+ used=\\d+\nINFO: Object {HEX} @offset=\\d+\n\n"
            + TRACE + fixed(f"Object at {HEX} goes to the cache it is from", cache=owner))


# What is said, and the signal that ends it.
CRIMES = {
    "left_1": (span("Left Redzone", "0x78", "0xcc", "allocated", NOT_FREED), None),
    "left_8": (span("Left Redzone", "0x78", "0xcc", "allocated", NOT_FREED), None),
    "right_1": (span("Right Redzone", "0x78", "0xcc", "allocated", NOT_FREED), None),
    "right_8": (span("Right Redzone", "0x78", "0xcc", "allocated", NOT_FREED), None),
    "write_after_free": (span("Poison", "0x78", "0x6b", "free", USED), None),
    "read_of_poison": (GP + victim(bug("Freed memory used: address 0x6b6b6b6b6b6b6b6b was probably read here"), "free"), "SIGSEGV"),
    "uninitialised_read": (GP + victim(bug("Uninitialised memory used: address 0x6b6b6b6b6b6b6b6b was probably read here"), "allocated"), "SIGSEGV"),
    "double_free": (victim(bug("Object already free"), "free", NOT_FREED), None),
    "wrong_cache": (victim(bug(r"Wrong slab cache\. other but object is from victim"), "allocated",
                           f"Object at {HEX} goes to the cache it is from"), None),
    "wrong_cache_plain": (wrong_plain("plain"), None),
    "wrong_cache_prefixed": (wrong_plain("plain"), None),
    "wrong_cache_bulk": (wrong_plain("plain"), None),
    "wrong_cache_malloc": (wrong_plain("malloc-20480"), None),
    "free_after_destroy": (bug("Free to a cache that was destroyed") + f"INFO: Created in maker{SIZE}{WHEN}{REST}"
                           + f"INFO: Destroyed in destroyer{SIZE}{WHEN}{REST}" + TRACE + fixed(NOT_FREED), None),
    "interior_free": (victim(bug(f"Invalid object pointer {HEX}"), "allocated", NOT_FREED), None),
    "padding": (span("Object padding", "0x78", "0x5a", "allocated", NOT_FREED), None),
    "slab_padding": (bug(f"Padding overwritten\\. {HEX}-{HEX} @offset=\\d+") + f"INFO: Slab {HEX} objects=\\d+ used=1\n"
                     + f"Padding  {HEX}: 78 +x\n" + TRACE + fixed(f"Restoring slab padding {HEX}-{HEX}=0x5a"), None),
    "freelist": (victim(bug("Freepointer corrupt"), "of unknown state", f"Restoring free pointer {HEX}", USED), None),
    "leak": (bug(r"Objects remaining in victim on __kmem_cache_shutdown\(\)") + f"Slab {HEX} objects=\\d+ used=1\nObject {HEX} @offset=16\n"
             + stacks("taker", "giver") + f"kmem_cache_destroy victim: Slab cache still has objects when called from {HEX} \\(1\\)\n", None),
    "use_after_destroy": (bug("Allocation from a cache that was destroyed") + f"INFO: Created in maker{SIZE}{WHEN}{REST}"
                          + f"INFO: Destroyed in destroyer{SIZE}{WHEN}{REST}" + TRACE + fixed("Allocation of 56 bytes failed"), None),
    "destroy_twice": (bug("Cache destroyed twice") + f"INFO: Created in maker{SIZE}{WHEN}{REST}"
                      + f"INFO: Destroyed in destroyer{SIZE}{WHEN}{REST}" + TRACE, None),
    "kmalloc_right": (span("kmalloc Redzone", "0x78", "0xcc", "allocated", NOT_FREED, **KMALLOC), None),
    "validate_right": (span("Right Redzone", "0x78", "0xcc", "allocated"), None),
    "validate_write_after_free": (span("Poison", "0x78", "0x6b", "free"), None),
    "validate_freelist": (victim(bug("Freepointer corrupt"), "of unknown state", f"Restoring free pointer {HEX}"), None),
    "validate_slab_padding": (bug(f"Padding overwritten\\. {HEX}-{HEX} @offset=\\d+") + f"INFO: Slab {HEX} objects=\\d+ used=1\n"
                              + f"Padding  {HEX}: 78 +x\n" + TRACE + fixed(f"Restoring slab padding {HEX}-{HEX}=0x5a"), None),
    "kmalloc_validate": (span("kmalloc Redzone", "0x78", "0xcc", "allocated", **KMALLOC), None),
    "krealloc_right": (span("kmalloc Redzone", "0x78", "0xcc", "allocated", NOT_FREED, **KMALLOC), None),
    "krealloc_over": (span("kmalloc Redzone", "0x78", "0xcc", "allocated", **KMALLOC), None),
    "krealloc_free": (victim(bug("krealloc of an object that is free", "kmalloc-64"), "free", **KMALLOC), None),
    "kmalloc_double_free": (victim(bug("Object already free", "kmalloc-64"), "free", NOT_FREED, **KMALLOC), None),
    "kmalloc_write_after_free": (span("Poison", "0x78", "0x6b", "free", USED, **KMALLOC), None),
    "innocent": ("", None),
}
# How many bytes are restored.
SPANS = {"left_1": 1, "left_8": 8, "right_1": 1, "right_8": 8, "padding": 1, "write_after_free": 1}


def span_faults(name, stderr):
    found = re.search(r"INFO: 0x([0-9a-f]+)-0x([0-9a-f]+) @", stderr)
    if name not in SPANS or found is None:
        return []
    length = int(found[2], 16) - int(found[1], 16) + 1
    return [] if length == SPANS[name] else [f"{length} bytes are said to be overwritten, not {SPANS[name]}"]


def check(report, program, name, mode, env):
    said, ending = CRIMES[name]
    aborts = mode == "abort" and said != ""
    out = driver.run_child([program, name], driver.child_env([], env), 30)
    faults = []
    want = -(signal.SIGABRT if aborts and ending is None else getattr(signal, ending) if ending else 0)
    if out.status != want:
        faults.append(f"ended with {driver.describe_status(out)}")
    if want == 0 and out.stdout != "went on\n":
        faults.append("did not go on")
    if aborts:
        # The report is whole; FIX lines that come in reports of their own do not.
        said = said.split("FIX ")[0] + r"(?:FIX .*\n)*" if ending is None else said
    if not re.fullmatch(said, out.stderr):
        faults.append("stderr is not what it should be")
    faults += span_faults(name, out.stderr)
    report.line(not faults, f"{name}, {mode}")
    for fault in faults:
        report.explain(fault)
    if faults:
        report.explain("repeat: " + driver.repeat_command(out))
        report.explain(out.stderr, limit=200)


def hardened(report, program):
    """With harden the cache that is named need not be debugged: two caches without any flag."""
    out = driver.run_child([program, "wrong_cache_hardened"], driver.child_env([], {"QUARRY_HARDEN": "1"}), 30)
    want = wrong_plain("plain", "plainer") * 2
    report.line(out.status == 0 and out.stdout == "went on\n" and re.fullmatch(want, out.stderr) is not None, "wrong_cache_hardened")
    if not re.fullmatch(want, out.stderr) or out.status != 0:
        report.explain(f"{driver.describe_status(out)}: {out.stderr}", limit=200)


def main(program):
    report = driver.Report()
    debug = {"QUARRY_SLAB_DEBUG": "FZPU"}
    kmalloc = {"QUARRY_SLAB_DEBUG": ",kmalloc-64"}
    for name in CRIMES:
        of_kmalloc = name.startswith(("kmalloc", "krealloc"))
        if not of_kmalloc:
            check(report, program, name, "by flags", {})
            check(report, program, name, "no rseq", {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"})
        check(report, program, name, "by option", debug)
        if of_kmalloc or name == "innocent":
            check(report, program, name, "one cache", kmalloc)
    hardened(report, program)
    for name in ("right_1", "double_free", "interior_free", "leak", "innocent"):
        check(report, program, name, "abort", {**debug, "QUARRY_SLAB_DEBUG_ACTION": "abort"})
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
