#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs one child program on the real library and judges how it ended, in TAP.

Owns the child's environment, limits, time and verdict. It knows nothing of what the program does: a
program says what went wrong on stderr and leaves with a status other than 0, or skips with status 77 and
the reason as its last line on stdout. Called by every test in tests/integ, tests/death and tests/stress,
as a command from meson and as a module from the Python tests.
"""
import argparse
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass, field

EXIT_SKIP = 77
EXIT_TIMEOUT = 124
# `meson test --setup soak` sets SOAK=1: three seconds become two minutes, and what looks at SOAK itself has as many times the time.
SOAK_FACTOR = 40
# Limits end what hangs, and are of a quiet machine of two CPUs. `meson test` sets how many times as slow this one may be (tests/meson.build).
PATIENCE = int(os.environ.get("PATIENCE", "1"))
# Everything that would change the child behind the test's back. QUARRY_TEST_* must not reach it either:
# the library reports names it does not know.
SCRUBBED = re.compile(r"^(LD_|QUARRY_|GLIBC_TUNABLES$|MALLOC_|LIBC_FATAL_STDERR_)")
MISUSE_LINE = re.compile(
    r"quarry: error (?P<id>Q\d\d) (?P<name>[a-z-]+): pointer 0x(?P<pointer>[0-9a-f]+): (?P<what>[^;]+)"
    r"; class (?P<class>\d+|-) slab (?P<slab>[A-Za-z]+|-); (?P<hint>\S.*)")
STACK_LINE = re.compile(r"quarry:   (found|allocated|freed) by (this|another) thread:$")
EXPECT_LINE = re.compile(r"^expect (Q\d\d) ([a-z-]+) (?:0x)?([0-9a-f]+|\*) ([\d/-]+|\*)$", re.M)


@dataclass
class Outcome:
    """How one child ended. status is the exit status, or minus the signal, as subprocess has it."""
    command: list
    env: dict
    status: int = 0
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False


@dataclass
class Report:
    """The TAP lines of one test; passed only while every line is ok."""
    count: int = 0
    failed: int = 0
    notes: list = field(default_factory=list)

    def line(self, good, name, note=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}{note}", flush=True)

    def explain(self, text, limit=60):
        lines = text.rstrip("\n").split("\n")
        for one in lines[:limit]:
            print("# " + one)
        if len(lines) > limit:
            print(f"# ... {len(lines) - limit} more lines")

    def finish(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed or not self.count else 0


def child_env(libs, extra):
    env = {k: v for k, v in os.environ.items() if not SCRUBBED.match(k)}
    env["LC_ALL"] = "C"
    if libs:
        env["LD_PRELOAD"] = " ".join(libs)
    env.update(extra)
    return env


def parse_size(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


def parse_rlimit(text):
    name, _, value = text.partition("=")
    return getattr(resource, "RLIMIT_" + name.upper()), parse_size(value)


def run_child(command, env, timeout, rlimits=(), uid=None):
    """Runs command in a session of its own, so that a hang is ended with everything it forked, after timeout seconds times PATIENCE."""
    def before_exec():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for which, value in rlimits:
            resource.setrlimit(which, (value, value))
        if uid is not None:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)

    out = Outcome(list(command), env)
    with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, start_new_session=True, preexec_fn=before_exec) as child:
        try:
            raw_out, raw_err = child.communicate(timeout=timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            out.timed_out = True
            os.killpg(child.pid, signal.SIGKILL)
            raw_out, raw_err = child.communicate()
        out.status = EXIT_TIMEOUT if out.timed_out else child.returncode
    out.stdout, out.stderr = raw_out.decode(errors="replace"), raw_err.decode(errors="replace")
    return out


def describe_status(out):
    if out.timed_out:
        return "hung: killed when its time was over"
    return signal.Signals(-out.status).name if out.status < 0 else f"exit {out.status}"


def repeat_command(out):
    changed = [f"{k}={v}" for k, v in out.env.items() if os.environ.get(k) != v]
    return shlex.join(["env", *changed, *out.command])


def judge_status(args, out):
    want = -getattr(signal, args.signal) if args.signal else args.exit
    if out.status == want and not out.timed_out:
        return []
    wanted = args.signal or f"exit {args.exit}"
    return [f"ended with {describe_status(out)}, expected {wanted}"]


def judge_text(which, pattern, text):
    if pattern is None or re.fullmatch(pattern, text, re.S):
        return []
    return [f"{which} does not match {pattern!r}"]


def judge_misuse_line(line, expected):
    found = MISUSE_LINE.fullmatch(line)
    if not found:
        return [f"not a misuse line: {line!r}"]
    faults = []
    for key, want in zip(("id", "name", "pointer", "class"), expected):
        if want != "*" and found[key] not in want.split("/"):
            faults.append(f"{key} is {found[key]}, expected {want}")
    return faults


STACKS_TOLD = {"report": 3, "fault": 1}


def judge_misuse(out, ending):
    """The program announced its crime on stdout; stderr must hold that line and nothing else, but, where a report is expected, all three stacks, and where a
    fault is, of an object whose history is not known, the one that was found."""
    announced = EXPECT_LINE.findall(out.stdout)
    if len(announced) != 1:
        return [f"the program announced {len(announced)} crimes, expected 1"]
    faults = []
    want = 0 if ending == "survive" else -signal.SIGABRT
    if out.status != want or out.timed_out:
        faults.append(f"ended with {describe_status(out)}, expected {'SIGABRT' if want else 'exit 0'}")
    lines = out.stderr.splitlines()
    if ending in STACKS_TOLD:
        told = [line for line in lines[1:] if STACK_LINE.match(line)]
        if len(told) != STACKS_TOLD[ending] or not all(line.startswith("quarry:   ") for line in lines[1:]):
            faults.append(f"told {told}, expected {STACKS_TOLD[ending]} of found, allocated and freed")
        del lines[1:]
    if len(lines) != 1 or not out.stderr.endswith("\n"):
        return faults + [f"stderr holds {len(lines)} lines, expected exactly one whole line"]
    return faults + judge_misuse_line(lines[0], announced[0])


def judge(args, out):
    if args.misuse:
        return judge_misuse(out, args.misuse)
    return (judge_status(args, out) + judge_text("stderr", args.stderr, out.stderr)
            + judge_text("stdout", args.stdout, out.stdout))


def forward_tap(report, out):
    """Passes the child's own TAP on, and answers whether its plan was kept."""
    plan, seen = None, 0
    for line in out.stdout.splitlines():
        result = re.match(r"(ok|not ok) \d+ - (.*)$", line)
        if result:
            seen += 1
            report.line(result[1] == "ok", result[2])
        elif re.match(r"1\.\.\d+$", line):
            plan = int(line[3:])
        elif line:
            print(line if line.startswith("#") else "# " + line)
    return [] if plan == seen else [f"ran {seen} of {plan} planned cases"]


def report_child(args, out, report):
    name = args.name or os.path.basename(args.command[0])
    if out.status == EXIT_SKIP and args.exit != EXIT_SKIP:
        reason = (out.stdout.rstrip("\n").split("\n") or [""])[-1]
        report.line(True, name, f" # SKIP {reason}")
        return
    faults = forward_tap(report, out) if args.tap else []
    faults += judge(args, out)
    report.line(not faults, name)
    if faults:
        for fault in faults:
            report.explain(fault)
        report.explain("repeat: " + repeat_command(out))
        for which, text in (("stdout", "" if args.tap else out.stdout), ("stderr", out.stderr)):
            if text:
                report.explain(f"--- {which}\n{text}")


def apply_seconds(args):
    """--seconds is for time-boxed programs: the environment may lengthen them, the time limit follows."""
    factor = SOAK_FACTOR if os.environ.get("SOAK") else 1
    args.timeout *= factor
    if args.seconds is None:
        return
    seconds = int(os.environ.get("QUARRY_TEST_SECONDS", args.seconds * factor))
    args.command += ["--seconds", str(seconds)]
    args.timeout += 2 * seconds


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lib", action="append", default=[], help="preload this library (repeatable, in order)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="set in the child")
    parser.add_argument("--rlimit", action="append", default=[], metavar="NAME=BYTES", help="e.g. as=64M")
    parser.add_argument("--timeout", type=float, default=30, help="seconds until the child counts as hung")
    parser.add_argument("--seconds", type=int, help="pass --seconds on; QUARRY_TEST_SECONDS overrides it")
    parser.add_argument("--exit", type=int, default=0, help="expected exit status")
    parser.add_argument("--signal", help="expected signal instead, e.g. SIGABRT")
    parser.add_argument("--stderr", metavar="REGEX", help="the whole of stderr must match")
    parser.add_argument("--stdout", metavar="REGEX", help="the whole of stdout must match")
    parser.add_argument("--misuse", choices=("abort", "report", "fault", "survive"),
                        help="the program announces one crime; exactly its line must stand on stderr (report, fault: and stacks)")
    parser.add_argument("--tap", action="store_true", help="the child itself speaks TAP")
    parser.add_argument("--name", help="name of the test, else the program's")
    parser.add_argument("command", nargs="+", help="after --: the program and its arguments")
    args = parser.parse_args(argv)
    args.env = dict(one.split("=", 1) for one in args.env)
    args.rlimit = [parse_rlimit(one) for one in args.rlimit]
    return args


def main(argv):
    args = parse_args(argv)
    for lib in args.lib:
        if not os.path.exists(lib):
            print(f"Bail out! no such library: {lib}")
            return 1
    apply_seconds(args)
    out = run_child(args.command, child_env(args.lib, args.env), args.timeout, args.rlimit)
    report = Report()
    report_child(args, out, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
