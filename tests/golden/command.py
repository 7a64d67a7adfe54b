#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The quarry command: command.py TOOL SOURCE_ROOT. `run` finds the library of its own build, keeps exit statuses and says when preloading is of no
effect; the tables have a row for each row of the .def files; what is wrong on the command line is a usage error."""
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile

from golden import fail_all

TABLES = {"options": ("src/rt/options.def", r"^OPT_\w+\((\w+),"), "stats-list": ("src/obs/stats.def", r"^STAT\((\w+),"),
          "classes": ("src/slab/sizeclass.def", r"^CLASS\((\d+),")}
LOADED = 'import sys; sys.exit(0 if "libquarry.so" in open("/proc/self/maps").read() else 9)'


def quarry(tool, *args, **env):
    return subprocess.run([tool, *args], capture_output=True, text=True, check=False, env=dict(os.environ, **env))


def table_problems(tool, root):
    for command, (path, row) in TABLES.items():
        names = re.findall(row, (root / path).read_text(), re.M)
        rows = json.loads(quarry(tool, command, "--json").stdout)
        found = [str(r.get("name", r.get("class"))) for r in rows]
        if not names or found != names:
            yield f"{command} --json: {set(found) ^ set(names)}"
        text = quarry(tool, command).stdout
        yield from (f"{command}: no {name}" for name in names if name not in text and f"QUARRY_{name.upper()}=" not in text)


def run_problems(tool):
    for args, status in ((["true"], 0), (["sh", "-c", "exit 7"], 7), (["no-such-program-here"], 127), (["/"], 126),
                         (["--lib=/no/such", "true"], 127), ([sys.executable, "-c", LOADED], 0)):
        done = quarry(tool, "run", *args)
        if done.returncode != status:
            yield f"run {args}: status {done.returncode}, not {status}: {done.stderr}"
    if "quarry: memory" not in quarry(tool, "run", "--stats=short", "ls", "/").stderr:
        yield "run --stats=short: no report"
    kept = quarry(tool, "run", "sh", "-c", "echo $LD_PRELOAD", LD_PRELOAD="libm.so.6").stdout.strip()
    if not re.fullmatch(r"/.*/libquarry\.so:libm\.so\.6", kept):
        yield f"run: LD_PRELOAD is {kept}"


def static_problems(tool):
    """A static program must be named as one; this one is made of a header alone and need not run."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "static"
        program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(57))
        program.chmod(stat.S_IRWXU)
        if "is statically linked" not in quarry(tool, "run", str(program)).stderr:
            yield "run: a static program is not named"


def warning_problems(tool):
    """A program with rights of its own, one that knows _exit alone, and scripts of both, are named; others are not."""
    with tempfile.TemporaryDirectory() as folder:
        other, script = pathlib.Path(folder) / "other", pathlib.Path(folder) / "script"
        if os.geteuid() == 0:
            shutil.copy("/bin/true", other)
            os.chown(other, 65534, 65534)
            other.chmod(0o4755)
            script.write_text(f"#! {other} -x\n")
            script.chmod(0o755)
            for program in other, script:
                if f"{other} runs with more rights" not in quarry(tool, "run", str(program)).stderr:
                    yield f"run: {program.name} of another user is not named"
        ran = quarry(tool, "run", "--stats=short", "ls", "/").stderr
        if "_exit" in ran or "rights" in ran or "statically" in ran:
            yield f"run: ls is named: {ran}"
        ran = quarry(tool, "run", "true", QUARRY_STATS="off").stderr
        if ran != "":
            yield f"run: true without a report: {ran}"


def blank_problems(tool):
    """LD_PRELOAD cannot carry the path; a link is made, for this user alone, and is there the next time."""
    with tempfile.TemporaryDirectory(prefix="a b:c") as folder:
        lib = shutil.copy(pathlib.Path(tool).parent.parent / "src" / "libquarry.so", folder)
        links = []
        for _ in range(2):
            done = quarry(tool, "run", "--lib", lib, sys.executable, "-c", LOADED + "\n", LD_PRELOAD="")
            links.append(quarry(tool, "run", "--lib", lib, "sh", "-c", "echo $LD_PRELOAD", LD_PRELOAD="").stdout.strip())
            if done.returncode != 0:
                yield f"run with a blank and a colon in the path: status {done.returncode}: {done.stderr}"
        link = pathlib.Path(links[0])
        if links[0] != links[1] or not link.is_symlink() or link.resolve() != pathlib.Path(lib).resolve() or re.search("[ :]", links[0]):
            yield f"run with a blank and a colon in the path: LD_PRELOAD is {links}"
        elif link.parent.stat().st_mode & 0o022:
            yield f"{link.parent} may be written to by others"
        if links[0] and link.is_symlink():
            link.unlink()


EXPLAINED = {"live_bytes": "held by the program", "cached_bytes": "MAGAZINE_BYTES", "depot_bytes": "DEPOT_BYTES",
             "slab_free_bytes": "long-lived objects", "slab_tail_bytes": "quarry classes", "run_free_bytes": "PURGE_DELAY",
             "pages_free_bytes": "page allocator", "big_cached_bytes": "VMALLOC_CACHE", "meta_resident_bytes": "own data", "unasked_bytes": "THP=never",
             "not_ours_bytes": "outside quarry"}


def explain_problems(tool):
    """A made-up report for each cause, in which it is the largest and so must be named first."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "report.json"
        for cause, words in EXPLAINED.items():
            stats = {name: 0 for name in EXPLAINED} | {"live_bytes": 1 << 20} | {cause: 7 << 20}
            path.write_text(json.dumps({"stats": stats}, separators=(",", ":")))
            first = quarry(tool, "explain", str(path)).stdout.splitlines()[0]
            if not first.startswith("7.0 MiB") or words not in first:
                yield f"explain: {cause}: {first}"
            found = json.loads(quarry(tool, "explain", "--json", str(path)).stdout)
            if found[0]["figure"] != cause or found[0]["bytes"] != 7 << 20:
                yield f"explain --json: {cause}: {found[0]}"
        path.write_text('{ "other": {"live_bytes": 1},\n  "stats" : { ' + ", ".join(f'"{name}" : {i << 20}' for i, name in enumerate(EXPLAINED)) + " } }")
        if not quarry(tool, "explain", str(path)).stdout.startswith(f"{len(EXPLAINED) - 1}.0 MiB"):
            yield "explain: JSON written another way is not read"
        path.write_text('{"stats":{"live_bytes":')
        if quarry(tool, "explain", str(path)).returncode != 1:
            yield "explain: a report cut short goes unnoticed"
        path.write_text("{}")
        if quarry(tool, "explain", str(path)).returncode != 1:
            yield "explain: what is no report goes unnoticed"
        missing = quarry(tool, "explain", "/no/such")
        if missing.returncode != 1 or "No such file" not in missing.stderr:
            yield f"explain: a file that is not there: status {missing.returncode}: {missing.stderr}"


def usage_problems(tool):
    for args in ([], ["no-such-command"], ["run"], ["explain"], ["run", "--wrong", "true"], ["options", "extra"], ["version", "extra"], ["help", "no-such-command"]):
        done = quarry(tool, *args)
        if done.returncode != 2 or not done.stderr.startswith("quarry: ") or done.stdout:
            yield f"{args}: status {done.returncode}, {done.stdout}{done.stderr}"
    for args in (["help"], ["--help"], ["version"], ["--version"]):
        if quarry(tool, *args).returncode != 0:
            yield f"{args} fails"
    for name in (command["name"] for command in json.loads(quarry(tool, "help", "--json").stdout)):
        for args in ([name, "--help"], [name, "-h"], ["help", name]):
            done = quarry(tool, *args)
            if done.returncode != 0 or not done.stdout.startswith(f"usage: quarry {name}") or done.stderr:
                yield f"{args}: status {done.returncode}, {done.stdout}{done.stderr}"
    with open("/dev/full", "w", encoding="ascii") as full:
        if subprocess.run([tool, "options"], stdout=full, stderr=subprocess.DEVNULL, check=False).returncode != 1:
            yield "a full disk goes unnoticed"


def main():
    tool, root = sys.argv[1], pathlib.Path(sys.argv[2])
    problems = list(table_problems(tool, root)) + list(run_problems(tool)) + list(static_problems(tool)) + list(warning_problems(tool)) + list(blank_problems(tool)) + list(usage_problems(tool))
    problems += list(explain_problems(tool))
    fail_all(problems)


if __name__ == "__main__":
    main()
