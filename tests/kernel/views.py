#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`quarry slabinfo`, `slab`, `vmallocinfo`, `buddyinfo`, `meminfo`, `explain` and `slabtop` of a process against what it says of itself; while it makes and
destroys caches; while it is killed or becomes another program; and what is refused. views.py TOOL PROGRAM STATIC_PROGRAM KMEM_LIBRARY PLAIN_PROGRAM named|numbered"""
import contextlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402
import watched  # noqa: E402

NOBODY = 65534
MAGIC = struct.pack("<Q", 0x6d656d6b72617571)
HEAD = ("slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> "
        "<batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n")
ROW = re.compile(r"^(\S+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) : tunables    0    0    0 : slabdata +(\d+) +(\d+)      0$")
GONE = r"quarry: slabinfo: (process \d+ (ended, or became another program, while it was read|does not run on quarry|has not allocated anything yet)" \
       r"|cannot read process \d+: .+)\n"
# Flags of a cache by the attributes that show them.
FLAGS = {"destroy_by_rcu": 0x80000, "hwcache_align": 0x2000, "reclaim_account": 0x20000, "poison": 0x800, "red_zone": 0x400,
         "sanity_checks": 0x100, "store_user": 0x10000, "trace": 0x200000}
CALLER = re.compile(r" (main|make)\+0x[0-9a-f]+/0x[0-9a-f]+ ")
CHURNED_SIZES = 60
COMMENT_BYTES = 64  # FILL_LINE_BYTES of tools/quarry/slabtop.c
# More where there is time.
TRIES = 150 if os.environ.get("SOAK") else 15
SECONDS = 30 * driver.PATIENCE


def own_views(child):
    """What the program prints after its first line."""
    infos, views, name = [], {}, None
    for line in child.stdout:
        if line == "end\n":
            break
        if line.startswith("info "):
            infos.append(json.loads(line[5:]))
        elif line.startswith("view "):
            name = line.split()[1]
            views[name] = ""
        else:
            views[name] += line
    return infos, views


def slab_problems(tool, pid, info):
    """All attributes at once, and one by one; those that the program counts must be its counts."""
    shown = dict(line.partition(" ")[::2] for line in watched.ask(tool, "slab", pid, info["name"]).stdout.splitlines())
    want = {name: info[name] for name in ("objects", "slabs", "partial", "object_size", "slab_size", "align", "aliases", "usersize", "objs_per_slab")}
    want["total_objects"] = info["slabs"] * info["objs_per_slab"]
    want |= {name: int(info["flags"] & flag != 0) for name, flag in FLAGS.items()}
    faults = [f"{info['name']}: {name} is {shown.get(name)}, not {value}" for name, value in want.items() if shown.get(name) != str(value)]
    if not re.fullmatch(r"ctor\+0x0/0x[0-9a-f]+|0x[0-9a-f]+" if info["name"] == "ctor" else "", shown.get("ctor", "-")):
        faults.append(f"{info['name']}: ctor is {shown.get('ctor')}")
    if info["name"] == "sheaf" and shown.get("sheaf_capacity") != "7" or info["name"] == "bare" and shown.get("sheaf_capacity") != "0":
        faults.append(f"{info['name']}: sheaf_capacity is {shown.get('sheaf_capacity')}")
    for name, value in shown.items():
        if info["name"] in ("plain", "ctor"):
            one = watched.ask(tool, "slab", pid, info["name"], name).stdout
            if one != (value + "\n" if value else ""):
                faults.append(f"{name} alone is {one!r}, not {value!r}")
    return faults


def explain_problems(tool, pid, infos):
    """The accounts of a process at rest add up, with its caches and its pages; each cache is there by name."""
    done = watched.ask(tool, "explain --json", pid)
    if done.returncode != 0:
        return [f"explain: {done.stderr}"]
    rows = {row["figure"]: row for row in json.loads(done.stdout)}
    found = {cache["name"]: cache for cache in rows["live_bytes"].get("caches", [])}
    faults = [f"explain: {info['name']}: {found.get(info['name'])}" for info in infos if info["slabs"] and
              (found.get(info["name"], {}).get("active_objs"), found.get(info["name"], {}).get("slab_bytes")) !=
              (info["objects"], info["slabs"] * info["slab_bytes"])]
    if sum(name.startswith("destroyed-") for name in found) not in (1, 2):
        faults.append(f"explain: what destroyed caches left is not there: {sorted(found)}")
    text = watched.ask(tool, "explain", pid).stdout
    sums = re.search(r"^In all ([\d.]+) MiB; the kernel says ([\d.]+) MiB\.$", text, re.M)
    if not sums or abs(float(sums[1]) - float(sums[2])) > 0.1:
        faults.append(f"explain: no sum, or one that does not add up: {text}")
    if "slabs of the cache large, with 3 objects" not in text:
        faults.append(f"explain: the largest cache is not named: {text}")
    return faults


def rest_problems(tool, program, named):
    child, line = watched.start([], program)
    infos, views = own_views(child)
    if line != "ready\n" or len(infos) < 50 or not views.get("vmallocinfo") or not views.get("meminfo") or not views["slabinfo"].startswith(HEAD):
        return [f"the program says {line!r}, {len(infos)} caches, {list(views)}"]
    # First, because a program that counts its slabs reads pages nobody wrote to, which the kernel gives page tables for.
    faults = explain_problems(tool, child.pid, infos)
    for name, text in views.items():
        done = watched.ask(tool, name, child.pid)
        if name == "vmallocinfo" and named:
            faults += [f"no name of a function: {line}" for line in done.stdout.splitlines() if not CALLER.search(line)]
            text, done.stdout = CALLER.sub(" ", re.sub(r" 0x[0-9a-f]+ pages", " main+0x0/0x0 pages", text)), CALLER.sub(" ", done.stdout)
        if done.returncode or done.stdout != text:
            faults.append(f"{name}: status {done.returncode} {done.stderr}\n{done.stdout}\nby the process itself\n{text}")
    faults += sum((slab_problems(tool, child.pid, info) for info in infos), [])
    names = watched.ask(tool, "slab", child.pid).stdout.split()
    if names != [row.split()[0] for row in views["slabinfo"].splitlines()[2:]]:
        faults.append(f"slab lists {names}")
    for args, message in ((["nobody"], "no cache nobody"), (["plain", "order"], "no attribute order"), (["malloc-48", "ctor"], "")):
        done = watched.ask(tool, "slab", child.pid, *args)
        if done.stdout or (message not in done.stderr) or bool(message) != bool(done.returncode):
            faults.append(f"slab {args}: {done}")
    status = watched.end(child)
    return faults + ([f"the program ended with {status}"] if status else [])


def rows_of(text):
    """The rows, or None for what is no slabinfo."""
    rows = [ROW.match(line) for line in text[len(HEAD):].splitlines()]
    return [row.groups() for row in rows] if text.startswith(HEAD) and text.endswith("\n") and all(rows) else None


def churn_problems(tool, program):
    """Each reading is of one moment: a name of one cache with the size of another is a fault."""
    child, _ = watched.start([], program, "churn")
    faults, seen = [], 0
    for _ in range(TRIES):
        done = watched.ask(tool, "slabinfo", child.pid)
        rows = rows_of(done.stdout)
        if done.returncode != 0 or not rows:
            faults.append(f"{done}")
            continue
        names = [row[0] for row in rows]
        if len(set(names)) != len(names) or not {"plain", "rcu", "malloc-16"} <= set(names):
            faults.append(f"names: {names}")
        for row in rows:
            churned = re.fullmatch(r"churn-(\d+)-(\d+)", row[0])
            seen += churned is not None
            if churned and (churned[1] != churned[2] or int(row[3]) != 16 * (int(churned[1]) % CHURNED_SIZES + 1)):
                faults.append(f"a row of two caches: {row}")
            if int(row[1]) > int(row[2]) or int(row[6]) > int(row[7]):
                faults.append(f"more than all: {row}")
    status = watched.end(child)
    if not seen:
        faults.append("never saw a cache that came and went: the test shows nothing")
    return faults + ([f"the program ended with {status}"] if status else [])


def vanish_problems(tool, program, how):
    """Killed, or become another program, at some moment of the reading: the whole, or a clear word and nothing."""
    faults = []
    for n in range(TRIES):
        child, _ = watched.start([], program, "quiet")
        reader = watched.popen(tool, "slabinfo", child.pid)
        time.sleep(0.0004 * n)
        if how == "kill":
            child.kill()
        else:
            child.stdin.write("x")
            child.stdin.flush()
        out, err = reader.communicate(timeout=60 * driver.PATIENCE)
        whole = reader.returncode == 0 and rows_of(out) and not err
        if not whole and not (reader.returncode == 1 and not out and re.fullmatch(GONE, err)):
            faults.append(f"after {n}: status {reader.returncode}: {err}{out}")
        child.kill()
        watched.end(child)
    return faults


def refused_problems(tool, program, plain, library):
    faults = []

    def expect(what, done, message):
        if done.returncode != 1 or done.stdout or message not in done.stderr or done.stderr.count("\n") != 1:
            faults.append(f"{what}: {done}")

    child, _ = watched.start([], plain, "busy")
    expect("without quarry", watched.ask(tool, "slabinfo", child.pid), "does not run on quarry")
    expect("without quarry", watched.ask(tool, "slabtop", child.pid, "-o"), "does not run on quarry")
    watched.end(child)
    expect("gone", watched.ask(tool, "slabinfo", child.pid), "there is none")
    with tempfile.TemporaryDirectory() as folder:
        other = watched.other_build(pathlib.Path(library), MAGIC, pathlib.Path(folder) / "libquarry-kmem.so")
        child, _ = watched.start([other], program, "quiet")
        expect("another build", watched.ask(tool, "slabinfo", child.pid), "libquarry-kmem of another build")
        watched.end(child)
    child, _ = watched.start([], program, "quiet")
    if os.geteuid() == 0:
        expect("another user's", watched.ask(tool, "slabinfo", child.pid, user=NOBODY, group=NOBODY, extra_groups=[]), "another user's")
    watched.end(child)
    for words in (["slabinfo"], ["slabinfo", "x"], ["slab"], ["slab", "1", "2", "3", "4"], ["slabtop"], ["buddyinfo", "1", "2"]):
        done = watched.ask(tool, " ".join(words[:1]), *(words[1:] or [""]))
        if done.returncode != 2 or done.stdout:
            faults.append(f"usage: {words}: {done}")
    return faults


def slabtop_obstacle(tool, pid, **options):
    """Why slabtop cannot be run here, or None; the first screen else."""
    if shutil.which("slabtop") is None:
        return "slabtop is not installed", None
    done = watched.ask(tool, "slabtop", pid, "-o", "-s", "n", **options)
    if done.returncode == 126 and "namespace" in done.stderr:
        return done.stderr.strip(), done
    return None, done


def screen_rows(text):
    """By name: objects, active ones, slabs, objects of a slab."""
    found = re.findall(r"^ *(\d+) +(\d+) +\d+% +[\d.]+K +(\d+) +(\d+) +\d+K (\S+)\s*$", text, re.M)
    return {name: (int(objs), int(active), int(slabs), int(per_slab)) for objs, active, slabs, per_slab, name in found}


def once_problems(done, infos):
    rows = screen_rows(done.stdout)
    faults = [f"slabtop: {info['name']}: {rows.get(info['name'])}" for info in infos
              if rows.get(info["name"], (0,))[:3] != (info["slabs"] * info["objs_per_slab"], info["objects"], info["slabs"])]
    return faults + ([f"{done}"] if done.returncode or faults else [])


class Screen:
    """slabtop on a terminal of its own."""

    def __init__(self, tool, pid, user=None):
        self.seen = ""
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            if user is not None:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
            os.environ["TERM"] = "vt100"
            os.environ["LINES"], os.environ["COLUMNS"] = "200", "120"
            os.execv(tool, [tool, "slabtop", str(pid), "-d", "1", "-s", "c"])

    def until(self, pattern):
        """Whether the terminal shows it in time; reads to the end of the program else."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and not re.search(pattern, self.seen):
            if not select.select([self.terminal], [], [], 0.1)[0]:
                continue
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode(errors="replace")
        return re.search(pattern, self.seen) is not None

    def status(self):
        self.until(r"(?!)")
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


def watch_problems(tool, program, **owner):
    """The table is a new one while slabtop runs; it ends with the process, by a key, and leaves nothing behind."""
    child, _ = watched.start([], program, "quiet", **owner)
    screen, faults = Screen(tool, child.pid, owner.get("user")), []
    if not screen.until(r"Active / Total Objects"):
        faults.append("no first screen")
    before = watched.ask(tool, "slab", child.pid, "plain", "objects").stdout.strip()
    child.stdin.write("+")
    child.stdin.flush()
    if not screen.until(rf"\b{int(before) + 5000}\b"):
        faults.append(f"never {before} + 5000")
    child.kill()
    status = screen.status()
    if status != 1 or "ended, or became another program" not in screen.seen:
        faults.append(f"the process was killed: status {status}")
    watched.end(child)
    child, _ = watched.start([], program, "quiet", **owner)
    screen = Screen(tool, child.pid, owner.get("user"))
    if not screen.until(r"Active / Total Objects"):
        faults.append("no second screen")
    os.write(screen.terminal, b"q")
    if (status := screen.status()) != 0:
        faults.append(f"q: status {status}")
    watched.end(child)
    left = list(pathlib.Path(os.environ["TMPDIR"]).glob("quarry-slabinfo-*"))
    return faults + ([f"left behind: {left}"] if left else []) + ([screen.seen] if faults else [])


def slabtop_lines(report, tool, program):
    child, _ = watched.start([], program)
    infos, _ = own_views(child)
    obstacle, done = slabtop_obstacle(tool, child.pid)
    if obstacle:
        report.line(True, "slabtop", f" # SKIP {obstacle}")
    else:
        say(report, "slabtop", once_problems(done, infos))
        say(report, "slabtop on a terminal", watch_problems(tool, program))
        say(report, "a slow reader", halves_problems(tool, program))
        say(report, "tables of every length", length_problems(tool, program))
    watched.end(child)
    return obstacle


@contextlib.contextmanager
def stand_in(line):
    """An environment where slabtop is a line of shell."""
    with tempfile.TemporaryDirectory() as folder:
        reader = pathlib.Path(folder) / "slabtop"
        reader.write_text(f"#!/bin/sh\n{line}\n")
        reader.chmod(0o755)
        yield dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}")


def length_problems(tool, program):
    """The comments that fill the file are lines of one length: the table decides what is left for the last, and slabtop takes no empty one."""
    child, _ = watched.start([], program, "longer")
    faults = []
    with stand_in("! grep -nvE '^(#|slabinfo - |.* : slabdata )' /proc/slabinfo") as env:
        for _ in range(COMMENT_BYTES):
            child.stdin.write("l")
            child.stdin.flush()
            child.stdout.readline()
            done = watched.ask(tool, "slabtop", child.pid, env=env)
            faults += [f"no row and no comment: {done}"] if done.returncode else []
    watched.end(child)
    return faults


def halves_problems(tool, program):
    """A table that changes its rows and their number with every writing, read slowly: each is whole, and they are not one and the same."""
    child, _ = watched.start([], program, "churn")
    stay = {row[0] for row in rows_of(watched.ask(tool, "slabinfo", child.pid).stdout) if not row[0].startswith("churn-")}
    with stand_in(f"exec {sys.executable} {pathlib.Path(__file__).with_name('half_table.py')}") as env:
        done = watched.ask(tool, "slabtop", child.pid, env=env)
    watched.end(child)
    tables = [re.sub(r"^#(?! name).*\n", "", table, flags=re.M) for table in done.stdout.split("\f")]
    names = [[row[0] for row in rows_of(table) or []] for table in tables]
    faults = [f"half a table: {table}" for table, name in zip(tables, names) if len(set(name)) != len(name) or not stay <= set(name)]
    if done.returncode or len(tables) < 2 or len(set(tables)) < 2:
        faults.append(f"{len(tables)} tables, {len(set(tables))} different ones, status {done.returncode}: {done.stderr}")
    return faults


def nobody_lines(report, tool, program):
    """Without any privilege there is a user namespace."""
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    name = "slabtop without privileges"
    if os.geteuid() != 0 or not os.access(tool, os.X_OK):
        report.line(True, name, " # SKIP the other slabtop lines have none either")
        return
    try:
        child, _ = watched.start([], program, **nobody)
    except PermissionError:
        report.line(True, name, " # SKIP nobody may not read the build directory")
        return
    infos, _ = own_views(child)
    obstacle, done = slabtop_obstacle(tool, child.pid, **nobody)
    if obstacle:
        report.line(True, name, f" # SKIP {obstacle}")
    else:
        say(report, name, once_problems(done, infos) + watch_problems(tool, program, **nobody))
    watched.end(child)


def say(report, name, faults):
    report.line(not faults, name)
    for fault in faults:
        report.explain(fault)


def main():
    tool, program, static_program, library, plain, names = sys.argv[1:]
    report = driver.Report()
    say(report, "a process at rest", rest_problems(tool, program, names == "named"))
    say(report, "a static program", rest_problems(tool, static_program, names == "named"))
    say(report, "caches that come and go", churn_problems(tool, program))
    say(report, "killed while it is read", vanish_problems(tool, program, "kill"))
    say(report, "another program while it is read", vanish_problems(tool, program, "exec"))
    say(report, "what is refused", refused_problems(tool, program, plain, library))
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)
        os.environ["TMPDIR"] = folder
        if not slabtop_lines(report, tool, program):
            nobody_lines(report, tool, program)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
