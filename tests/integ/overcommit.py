#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs life_overcommit under vm.overcommit_memory=2 and puts the machine back as it was.

Owns the two sysctls while the child runs. The commit limit is raised first, so that other processes of the
machine feel nothing: what is tested is how much the kernel charges, not the refusal. Called by meson.
"""
import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402

MODE = "/proc/sys/vm/overcommit_memory"
RATIO = "/proc/sys/vm/overcommit_ratio"
KBYTES = "/proc/sys/vm/overcommit_kbytes"
GENEROUS_PCT = "2000"


def read(path):
    with open(path, encoding="ascii") as sysctl:
        return sysctl.read().strip()


def write(path, value):
    with open(path, "w", encoding="ascii") as sysctl:
        sysctl.write(value)


def run_strict(arguments):
    """The child's outcome under mode 2. Setting one of ratio and kbytes clears the other, so the set one is restored."""
    mode, ratio, kbytes = read(MODE), read(RATIO), read(KBYTES)
    try:
        write(RATIO, GENEROUS_PCT)
        write(MODE, "2")
        return driver.run_child(arguments.command, driver.child_env(arguments.lib, {}), arguments.timeout)
    finally:
        write(MODE, mode)
        if kbytes != "0":
            write(KBYTES, kbytes)
        else:
            write(RATIO, ratio)


def main():
    arguments = driver.parse_args(sys.argv[1:])
    report = driver.Report()
    # SystemExit passes through the finally above.
    for which in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(which, lambda number, frame: sys.exit(128 + number))
    try:
        write(MODE, read(MODE))
    except OSError as error:
        report.line(True, "overcommit", f" # SKIP {MODE} cannot be written here: {error.strerror}")
        return report.finish()
    driver.report_child(arguments, run_strict(arguments), report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
