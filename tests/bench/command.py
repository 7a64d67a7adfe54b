#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/bench as a program: what it publishes and refuses to, what it says of a library's origin, and how its runner takes the ways
in which a program can end. The programs are made here; nothing is measured."""
import argparse
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import signal
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from benchlib import goals, results, runner, suite  # noqa: E402, found in the tree
from benchlib.allocators import Allocator, from_path  # noqa: E402


def load_bench():
    """tools/bench, which has no suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader("bench_command", str(ROOT / "tools/bench"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    keeps, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(module)
    sys.dont_write_bytecode = keeps
    return module


bench = load_bench()
ALLOCATORS = ("quarry", "glibc", "jemalloc", "mimalloc", "tcmalloc")


def whole_content(names, rounds=5):
    """A run of every program under every allocator that verdicts need."""
    one = {"wall_s": 1.0, "user_s": 0.5, "system_s": 0.1, "peak_rss_bytes": 1000, "faults": 10, "switches": 1, "figures": {}}
    facts = {"thp": "always [madvise] never", "date": "-", "cpus": 2, "cpu": "-", "memory_mib": 1, "system": "-", "kernel": "-",
             "load_at_start": 0}
    programs = [{"name": name, "group": "scenario", "figures": ["wall_s"], "threads": 1, "big_heap": False, "scaling": None,
                 "status": "ran", "reason": None, "failures": {}, "command": ["bench_" + name],
                 "samples": {allocator: [one] * rounds for allocator in ALLOCATORS}} for name in names]
    return {"format": results.FORMAT, "facts": facts, "rounds": rounds, "quick": True,
            "allocators": [{"name": name, "library": "-", "version": "-"} for name in ALLOCATORS], "programs": programs}


class Preloaded(unittest.TestCase):
    def test_a_path_that_ld_preload_splits_gets_a_link(self):
        with tempfile.TemporaryDirectory(suffix=" of: two") as folder:
            library = pathlib.Path(folder) / "libquarry.so"
            library.write_text("it", encoding="utf-8")
            found = from_path("quarry", library)
            self.assertFalse(set(found.preload) & set(" :"), found.preload)
            self.assertEqual((pathlib.Path(found.preload).name, found.origin), ("libquarry.so", "libquarry.so"))
            self.assertEqual(pathlib.Path(found.preload).read_text(encoding="utf-8"), "it")
        self.assertEqual(from_path("quarry", pathlib.Path("/a/libquarry.so")).preload, "/a/libquarry.so")


class Published(unittest.TestCase):
    names = ("one", "two")

    def lacking(self, change=lambda content: None):
        content = whole_content(self.names)
        change(content)
        return goals.lacking_for_verdicts(results.Results(content), self.names)

    def test_a_whole_run_may_be_published_if_quick(self):
        self.assertEqual(self.lacking(), [])

    def test_a_part_may_not(self):
        self.assertEqual(self.lacking(lambda content: content["programs"].pop()), ["not run: two"])
        self.assertEqual(self.lacking(lambda content: content.update(rounds=4)), ["4 rounds, not 5"])
        self.assertEqual(self.lacking(lambda content: content["allocators"].pop()), ["without tcmalloc"])
        self.assertEqual(self.lacking(lambda content: content["programs"][1].update(status="skipped", reason=results.RUN_ENDED)),
                         ["the run ended before two"])

    def test_the_command_refuses_before_it_runs(self):
        for words in (["--only", "pair"], ["--group", "micro"], ["--rounds", "4"], ["--quick"]):
            with mock.patch("sys.stderr"), self.assertRaises(SystemExit) as ended:
                bench.run_main(["--publish", "--list", *words])
            self.assertEqual(ended.exception.code, 2, words)
        with mock.patch("builtins.print"):
            self.assertEqual(bench.run_main(["--publish", "--list"]), 0)

    def test_report_refuses_a_part(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            path.write_text(json.dumps(whole_content(self.names)), encoding="utf-8")
            with mock.patch.object(bench, "publish") as publish, self.assertRaises(SystemExit) as ended:
                bench.report_main([str(path), "--publish"])
            self.assertIn("not published: not run: pair", str(ended.exception.code))
            publish.assert_not_called()

    def published(self, folder, draw):
        plots = folder / "plots"
        plots.mkdir()
        (plots / "old.svg").write_text("old", encoding="utf-8")
        (folder / "page.md").write_text("old", encoding="utf-8")
        with mock.patch.object(bench, "draw", draw), mock.patch.object(bench, "say"):
            bench.publish(results.Results(whole_content(self.names)), folder / "results.json", folder / "page.md", plots)
        return plots

    def test_new_plots_take_the_place_of_old_ones(self):
        def draw(_, where):
            for suffix in ("svg", "png"):
                (where / f"time.{suffix}").write_text("new", encoding="utf-8")
            return [("Time", "time")]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            plots = self.published(folder, draw)
            self.assertEqual([path.name for path in plots.iterdir()], ["time.svg"])
            self.assertIn("![Time](plots/time.svg)", (folder / "page.md").read_text(encoding="utf-8"))

    def test_without_plots_nothing_is_lost(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            with self.assertRaises(SystemExit) as ended:
                self.published(folder, lambda *_: [])
            self.assertIn("there are no plots", str(ended.exception.code))
            self.assertEqual([path.name for path in (folder / "plots").iterdir()], ["old.svg"])
            self.assertEqual((folder / "page.md").read_text(encoding="utf-8"), "old")


class Origin(unittest.TestCase):
    def version(self, path, **options):
        given = {"lib": None, "no_build": False, **options}
        with mock.patch.object(bench.machine, "commit", lambda: "abc1234"):
            return bench.version_of(Allocator("quarry", str(path), path.name), argparse.Namespace(**given))

    def test_a_library_not_built_here_is_not_the_trees_commit(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "libquarry.so"
            path.write_bytes(b"abc")
            named = "libquarry.so sha256 ba7816bf8f01"  # of FIPS 180's own example
            self.assertEqual(self.version(path), "abc1234")
            self.assertEqual(self.version(path, lib=path), named)
            self.assertEqual(self.version(path, no_build=True), named)


class BuiltAnew(unittest.TestCase):
    def measured(self, folder, content):
        """Runs two programs; during the second one the library becomes what content says."""
        library = folder / "libquarry.so"
        library.write_bytes(b"abc")
        programs = [suite.Program(name, "micro", (f"bench_{name}",)) for name in ("first", "second")]
        options = argparse.Namespace(rounds=1, quick=True, install=False, out=folder, note="", lib=library, no_build=True)
        saved = []

        def run(_, program, __):
            library.write_bytes(b"abc" if program.name == "first" else content)
            return {"name": program.name, "status": "ran", "reason": None}
        with mock.patch.object(bench.Runner, "run", run), mock.patch.object(bench, "content_of", lambda _, __, ___, entries: list(entries)), \
                mock.patch.object(bench.results, "save", lambda entries, _: saved.append([entry["status"] for entry in entries])), \
                mock.patch.object(bench.machine, "facts", dict), mock.patch("sys.stderr"):
            bench.measure(options, [Allocator("quarry", str(library), library.name)], programs, folder)
        return saved

    def test_figures_of_two_libraries_are_not_mixed(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(self.measured(pathlib.Path(folder), b"abc"), [["ran", "skipped"], ["ran", "ran"]])
            with self.assertRaisesRegex(SystemExit, "quarry was built anew"):
                self.measured(pathlib.Path(folder), b"def")


class Smoke(unittest.TestCase):
    def run_with(self, **statuses):
        """The status of --smoke when programs end like this, and what it prints; one without words for it is not run."""
        programs = [suite.Program(name, "micro", (f"bench_{name}",), smoke=("--one",)) for name in statuses]
        programs.append(suite.Program("long", "micro", ("bench_long",)))
        ran = []

        def run(_, program, __):
            ran.append(program.name)
            return {"status": statuses[program.name], "reason": "why"}
        with mock.patch.object(bench, "choose_programs", lambda _: programs), mock.patch.object(bench.Runner, "run", run), \
                mock.patch("builtins.print") as said:
            status = bench.smoke(argparse.Namespace(), [], ROOT)
        self.assertEqual(ran, list(statuses))
        return status, [call.args[0] for call in said.call_args_list]

    def test_what_does_not_run_is_a_failure(self):
        self.assertEqual(self.run_with(a="ran", b="ran"), (0, ["2 passed, 0 failed"]))
        self.assertEqual(self.run_with(a="ran", b="failed"), (1, ["FAIL micro/b: why", "1 passed, 1 failed"]))
        self.assertEqual(self.run_with(a="skipped")[0], 1)


class Ends(unittest.TestCase):
    """Runner with programs that end in every way, started by the real launcher."""
    launcher = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "bench_launch").symlink_to(self.launcher)
        self.allocators = [Allocator("quarry", None, "x"), Allocator("glibc", None, "x")]

    def entry(self, text, rounds=2, group="micro"):
        """What the result says of a program that is this shell script; $TURN counts its runs."""
        path = self.folder / "bench_ends"
        path.write_text(f'#!/bin/sh\necho x >>{self.folder}/turns\nTURN=$(wc -l <{self.folder}/turns)\n{text}\n', encoding="utf-8")
        path.chmod(0o755)
        # What a caller has set must not reach the program, what the table sets must.
        caller = {name: "caller's" for name in ("QUARRY_THP", "_RJEM_MALLOC_CONF", "HEAPCHECK", "MALLOC_CONF", "QUARRY_FAKE_CPUS")}
        self.enterContext(mock.patch.dict(os.environ, caller))
        run = runner.Runner(self.folder, self.folder, self.allocators, rounds)
        progress = mock.Mock(done=0)
        return run.run(suite.Program("ends", group, ("bench_ends",), environment={"QUARRY_FAKE_CPUS": "64"}), progress)

    def samples(self, entry):
        return {name: sum(sample is not None for sample in samples) for name, samples in entry["samples"].items()}

    def test_success(self):
        entry = self.entry('echo \'{"malloc_from": "x", "ns": 3}\'')
        self.assertEqual((entry["status"], self.samples(entry)), ("ran", {"quarry": 2, "glibc": 2}))
        figures = entry["samples"]["quarry"][0]["figures"]
        self.assertEqual(figures["ns"], 3)

    def test_environment(self):
        entry = self.entry("""env | grep -c "=caller's" | sed 's/.*/{"callers": &, "cpus": '$QUARRY_FAKE_CPUS'}/'""")
        figures = entry["samples"]["quarry"][0]["figures"]
        self.assertEqual((figures["callers"], figures["cpus"]), (0, 64))

    def test_memory_over_time(self):
        # Holds 8 MiB until the launcher, its parent, has gone to sleep ten times more, as it does between two looks.
        entry = self.entry("""
            text=$(head -c 8388608 /dev/zero | tr '\\0' x)
            slept() { awk '/^voluntary/ { print $2 }' /proc/$PPID/status; }
            enough=$(($(slept) + 10))
            while [ $(slept) -lt $enough ]; do sleep 0.02; done
            echo '{"ns": 1}'""", rounds=1, group="scenario")
        self.assertEqual(entry["status"], "ran", entry["reason"])
        series = entry["rss_series"]["quarry"]
        self.assertGreaterEqual(max(size for _, size in series), 8 << 20)
        self.assertEqual(series, sorted(series, key=lambda sample: sample[0]))
        self.assertGreaterEqual(entry["samples"]["quarry"][0]["figures"]["rss_end_bytes"], 8 << 20)
        self.assertNotIn("rss_series", entry["samples"]["quarry"][0])

    def test_status_and_signal(self):
        entry = self.entry("echo no luck >&2; exit 3")
        self.assertEqual((entry["status"], entry["failures"]["quarry"]), ("failed", "status 3: no luck"))
        entry = self.entry("kill -TERM $$")
        self.assertEqual((entry["status"], entry["failures"]["glibc"]), ("failed", f"signal {signal.SIGTERM:d}: no message"))

    def test_a_failure_ends_the_rounds_of_that_allocator_alone(self):
        entry = self.entry("[ $TURN != 2 ] || exit 1")
        self.assertEqual((entry["status"], list(entry["failures"]), self.samples(entry)), ("failed", ["glibc"], {"quarry": 2, "glibc": 0}))

    def test_skip_by_all_and_by_one(self):
        entry = self.entry("echo no pages; exit 77")
        self.assertEqual((entry["status"], entry["reason"], entry["failures"]), ("skipped", "no pages", {}))
        (self.folder / "turns").unlink()
        entry = self.entry("[ $TURN != 1 ] || exit 77")
        self.assertEqual((entry["status"], list(entry["failures"])), ("failed", ["quarry"]))

    def test_no_end_in_time(self):
        with mock.patch.object(runner, "RUN_TIMEOUT_S", 0.2):
            entry = self.entry("exec sleep 1000", rounds=1)
        self.assertEqual((entry["status"], entry["failures"]["quarry"]), ("failed", "no end after 0.2 s"))

    def test_no_end_leaves_no_process(self):
        with mock.patch.object(runner, "RUN_TIMEOUT_S", 0.2), mock.patch.object(runner.os, "killpg", wraps=os.killpg) as killed:
            self.entry("exec sleep 1000", rounds=1)
        self.assertEqual([call.args[1] for call in killed.call_args_list], [signal.SIGKILL] * 2)

    def test_another_malloc_is_a_failure(self):
        self.assertIn("malloc came from y, not x", self.entry('echo \'{"malloc_from": "y"}\'')["reason"])


if __name__ == "__main__":
    Ends.launcher = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
