#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds the driver to its word: for each kind of expectation one child that meets it and one that does not.

The children are shell one-liners; no library is preloaded. Called by meson.
"""
import contextlib
import io
import os
import sys

sys.dont_write_bytecode = True
import driver  # noqa: E402

GOOD_LINE = "quarry: error Q01 double-free: pointer 0x10: it is free already; class 64 slab listed; see quarry(7)"
ANNOUNCE = "echo expect Q01 double-free 0x10 64"

# Name, driver arguments, shell child, whether the driver must pass it, text its output must hold.
CASES = (
    ("exit 0 passes", [], "exit 0", True, "ok 1 - sh"),
    ("another exit fails", [], "exit 3", False, "ended with exit 3"),
    ("an expected exit passes", ["--exit", "3"], "exit 3", True, "ok 1"),
    ("a signal fails", [], "kill -SEGV $$", False, "ended with SIGSEGV"),
    ("an expected signal passes", ["--signal", "SIGABRT"], "kill -ABRT $$", True, "ok 1"),
    ("another signal fails", ["--signal", "SIGABRT"], "kill -SEGV $$", False, "SIGSEGV, expected SIGABRT"),
    ("no signal fails", ["--signal", "SIGABRT"], "exit 0", False, "exit 0, expected SIGABRT"),
    ("a hang fails", ["--timeout", "0.3"], "sleep 60", False, "hung"),
    ("a hanging grandchild fails", ["--timeout", "0.3"], "sleep 60 & exit 0", False, "hung"),
    ("stderr that matches passes", ["--stderr", r"a\d\n"], "echo a1 >&2", True, "ok 1"),
    ("stderr that matches in part fails", ["--stderr", r"a\d\n"], "echo a1 >&2; echo b >&2", False, "stderr does not match"),
    ("noise fails where none is expected", ["--stderr", ""], "echo a1 >&2", False, "stderr does not match"),
    ("stdout that does not match fails", ["--stdout", "x\n"], "echo y", False, "stdout does not match"),
    ("a skip is said aloud", [], "echo no such thing here; exit 77", True, "# SKIP no such thing here"),
    ("the environment is set", ["--env", "QUARRY_X=5"], "test $QUARRY_X = 5", True, "ok 1"),
    ("the environment is scrubbed", [], 'test -z "$QUARRY_STRAY$MALLOC_STRAY"', True, "ok 1"),
    ("limits are set", ["--rlimit", "as=96M"], "test $(ulimit -v) = 98304", True, "ok 1"),
    ("a library that is not there ends the test", ["--lib", "/nowhere/lib.so"], "exit 0", False, "Bail out!"),
    ("TAP is passed on", ["--tap"], "echo ok 1 - a; echo ok 2 - b; echo 1..2", True, "ok 2 - b"),
    ("a failed case fails", ["--tap"], "echo ok 1 - a; echo not ok 2 - b; echo 1..2", False, "not ok 2 - b"),
    ("a missing case fails", ["--tap"], "echo 1..2; echo ok 1 - a", False, "ran 1 of 2"),
    ("a missing plan fails", ["--tap"], "echo ok 1 - a", False, "ran 1 of None"),
    ("good cases and a bad exit fail", ["--tap"], "echo ok 1 - a; echo 1..1; exit 9", False, "ended with exit 9"),
    ("a misuse line passes", ["--misuse", "abort"], f"{ANNOUNCE}; echo '{GOOD_LINE}' >&2; kill -ABRT $$", True, "ok 1"),
    ("a misuse without abort fails", ["--misuse", "abort"], f"{ANNOUNCE}; echo '{GOOD_LINE}' >&2", False, "expected SIGABRT"),
    ("an abort without a line fails", ["--misuse", "abort"], f"{ANNOUNCE}; kill -ABRT $$", False, "0 lines"),
    ("two lines fail", ["--misuse", "abort"],
     f"{ANNOUNCE}; echo '{GOOD_LINE}' >&2; echo more >&2; kill -ABRT $$", False, "2 lines"),
    ("another pointer fails", ["--misuse", "abort"],
     f"{ANNOUNCE}; echo '{GOOD_LINE.replace('0x10', '0x20')}' >&2; kill -ABRT $$", False, "pointer is 20, expected 10"),
    ("another error fails", ["--misuse", "abort"],
     f"{ANNOUNCE}; echo '{GOOD_LINE.replace('Q01', 'Q02')}' >&2; kill -ABRT $$", False, "id is Q02, expected Q01"),
    ("another class fails", ["--misuse", "abort"],
     f"{ANNOUNCE}; echo '{GOOD_LINE.replace('class 64', 'class 80')}' >&2; kill -ABRT $$", False, "class is 80, expected 64"),
    ("one of two classes passes", ["--misuse", "abort"],
     f"{ANNOUNCE}/-; echo '{GOOD_LINE.replace('class 64', 'class -')}' >&2; kill -ABRT $$", True, "ok 1"),
    ("neither of two classes fails", ["--misuse", "abort"],
     f"{ANNOUNCE}/-; echo '{GOOD_LINE.replace('class 64', 'class 80')}' >&2; kill -ABRT $$", False, "class is 80, expected 64/-"),
    ("a line without a hint fails", ["--misuse", "abort"],
     f"{ANNOUNCE}; echo '{GOOD_LINE[:GOOD_LINE.rindex(';')]}' >&2; kill -ABRT $$", False, "not a misuse line"),
    ("a crime not announced fails", ["--misuse", "abort"], f"echo '{GOOD_LINE}' >&2; kill -ABRT $$", False, "announced 0 crimes"),
    ("a survivor passes", ["--misuse", "survive"], f"{ANNOUNCE}; echo '{GOOD_LINE}' >&2", True, "ok 1"),
    ("a survivor that aborts fails", ["--misuse", "survive"],
     f"{ANNOUNCE}; echo '{GOOD_LINE}' >&2; kill -ABRT $$", False, "ended with SIGABRT"),
)


def run_case(arguments, script):
    """Whether the driver passed the child, and what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = driver.main([*arguments, "--", "/bin/sh", "-c", script])
    return status == 0, output.getvalue()


def main():
    os.environ.update(QUARRY_STRAY="1", MALLOC_STRAY="1")
    report = driver.Report()
    for name, arguments, script, passes, text in CASES:
        passed, output = run_case(arguments, script)
        good = passed == passes and text in output
        report.line(good, name)
        if not good:
            report.explain(output)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
