#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/run keeps what README promises of it: run.py BUILD_DIR SOURCE_ROOT. Works on the tree's own build/release, where nothing is to be
built by then, and is skipped in any other build directory. No package manager may be called: those found first end the test. Where a
namespace is to be had there is no network either."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from golden import STATUS_SKIP, fail_all

REPORT = re.compile(
    r"quarry: process +(?P<pid>\d+) (?P<name>\S+)\n"
    r"quarry: calls +malloc (?P<malloc>\d+), calloc \d+, realloc \d+, aligned \d+, free (?P<free>\d+); magazines: (?P<refills>\d+) refills, \d+ flushes\n"
    r"quarry: memory +peak live (?P<live>[\d.]+) \w+, peak resident (?P<resident>[\d.]+) \w+ with code, stacks and files\n"
    r"quarry: hugepages +[\d.]+ % of resident memory \(.* of (?P<of>[\d.]+) \w+\); for slabs and runs asked for .*\n"
    r"quarry: per CPU +(?P<mode>mm_cid|cpu_id|locked), (?P<ids>\d+) ids\n")
FIGURES = ("pid", "malloc", "free", "refills", "live", "resident", "of", "ids")
MANAGERS = ("apt-get", "sudo")


class Script:
    def __init__(self, root, folder):
        self.command = [str(root / "tools" / "run")]
        self.called = pathlib.Path(folder) / "called"
        tools = pathlib.Path(folder) / "bin"
        tools.mkdir()
        for name in MANAGERS:
            (tools / name).write_text(f"#!/bin/sh\necho {name} >>'{self.called}'\nexit 1\n")
            (tools / name).chmod(0o755)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QUARRY_") and name != "LD_PRELOAD"}
        self.env = dict(clean, PATH=f"{tools}:{os.environ['PATH']}", LC_ALL="C")
        alone = ["unshare", "-rn"]
        self.alone = alone if subprocess.run(alone + ["true"], capture_output=True, check=False).returncode == 0 else []

    def run(self, *args, **env):
        return subprocess.run(self.alone + self.command + list(args), env=dict(self.env, **env), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)


def status_problems(script):
    for args, status in ((["true"], 0), (["sh", "-c", "exit 7"], 7), (["no-such-program-here"], 127), (["/"], 126), ([], 2)):
        ran = script.run(*args, QUARRY_STATS="off")
        if ran.returncode != status:
            yield f"{args}: status {ran.returncode}, not {status}: {ran.stderr}"
    ran = script.run("sh", "-c", "kill -USR1 $$", QUARRY_STATS="off")
    if ran.returncode not in (-10, 138):  # unshare hands a signal on as one, or as a status
        yield f"a signal became {ran.returncode}"


def output_problems(script):
    ran = script.run("printf", r"%s\n", "-a b", "--lib", QUARRY_STATS="off")
    if (ran.stdout, ran.stderr) != ("-a b\n--lib\n", ""):
        yield f"QUARRY_STATS=off: {ran}"
    ran = script.run("ls", "/", QUARRY_STATS="json")
    try:
        json.loads(ran.stderr)
    except ValueError:
        yield f"QUARRY_STATS=json: no JSON: {ran.stderr}"
    if "no_such" not in script.run("ls", "/", QUARRY_NO_SUCH="1").stderr.lower():
        yield "QUARRY_ variables do not reach the program"


def report_problems(script):
    ran = script.run("ls", "/")
    found = REPORT.fullmatch(ran.stderr)
    if not found or found["name"] != "ls":
        yield f"no report of five lines: {ran.stderr!r}"
        return
    yield from (f"{figure} is 0: {ran.stderr}" for figure in FIGURES if float(found[figure]) == 0)


def silence_problems(script, folder):
    """What will give no report is named."""
    text = pathlib.Path(folder) / "script"
    text.write_text("#!/bin/sh\necho said\n")
    text.chmod(0o755)
    ran = script.run(str(text))
    reported = REPORT.search(ran.stderr) is not None
    if ran.stdout != "said\n" or reported == ("leaves no report" in ran.stderr):
        yield f"a script of a shell: {ran}"


def main():
    build, root = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    own = root / "build" / "release"
    if not own.exists() or not own.samefile(build):
        print(f"tools/run works in {own}, and this is {build}")
        sys.exit(STATUS_SKIP)
    with tempfile.TemporaryDirectory() as folder:
        script = Script(root, folder)
        problems = list(status_problems(script)) + list(output_problems(script)) + list(report_problems(script))
        problems += silence_problems(script, folder)
        if script.called.exists():
            problems.append(f"the package manager was called: {script.called.read_text()}")
    fail_all(problems)


if __name__ == "__main__":
    main()
