#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The arithmetic of tools/bench on numbers whose answer is known, and its verdicts on made-up results."""
import copy
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from benchlib import compare, goals, report, stats, suite  # noqa: E402, found in the tree
from benchlib.allocators import Allocator  # noqa: E402
from benchlib.results import Results  # noqa: E402
from benchlib.runner import Failure, Runner, printed, sample_of  # noqa: E402

USAGE = {"wall_s": 2.0, "user_s": 1.0, "system_s": 0.5, "peak_rss_bytes": 4096, "minor_faults": 3, "major_faults": 1,
         "voluntary_switches": 2, "involuntary_switches": 5}


def sample(wall_s, peak_rss_bytes=1000, faults=10, **figures):
    return {"wall_s": wall_s, "user_s": wall_s / 2, "system_s": wall_s / 4, "peak_rss_bytes": peak_rss_bytes,
            "faults": faults, "switches": 1, "figures": figures}


def program(name, samples, group="scenario", **fields):
    return {"name": name, "group": group, "figures": ["wall_s"], "threads": 1, "big_heap": False, "scaling": None,
            "status": "ran", "reason": None, "command": ["bench_" + name], "samples": samples, **fields}


def results(*programs):
    facts = {"thp": "always [madvise] never", "date": "-", "cpus": 2, "cpu": "-", "memory_mib": 1, "system": "-", "kernel": "-",
             "load_at_start": 0}
    allocators = [{"name": name, "library": "-", "version": "-"} for name in ("quarry", "glibc", "jemalloc")]
    return Results({"format": 1, "facts": facts, "rounds": 5, "quick": False, "allocators": allocators, "programs": list(programs)})


class Stats(unittest.TestCase):
    def test_median_leaves_out_what_is_missing(self):
        self.assertEqual(stats.median([3, None, 1, 2]), 2)
        self.assertEqual(stats.median([1, 2]), 1.5)
        self.assertIsNone(stats.median([None]))

    def test_spread(self):
        self.assertEqual(stats.spread([5, 1, 2, 4, 3]), [1, 2, 3, 4, 5])
        self.assertEqual(stats.spread([7]), [7] * 5)

    def test_geometric_mean(self):
        self.assertAlmostEqual(stats.geometric_mean([1, 4, None]), 2)
        self.assertIsNone(stats.geometric_mean([]))

    def test_ratios_are_of_the_same_round(self):
        # The machine is ten times slower in round 2; pairs do not see it, medians alone would with rounds missing.
        self.assertEqual(stats.paired_ratios([1, 10, None, 4], [2, 20, 5, None]), [0.5, 0.5])

    def test_noise_is_the_same_thing_twice(self):
        self.assertEqual(stats.successive_differences([2, 3, None, 4]), [0.5])

    def test_bootstrap_sees_what_is_there(self):
        old = [1.00, 1.01, 0.99, 1.02, 0.98]
        ratio, low, high = stats.bootstrap_ratio([(old, [value * 0.8 for value in old])])
        self.assertAlmostEqual(ratio, 0.8)
        self.assertTrue(0.7 < low <= 0.8 <= high < 0.9)
        self.assertEqual(stats.verdict(low, high), "faster")
        self.assertEqual(stats.verdict(1 / high, 1 / low), "slower")

    def test_bootstrap_says_nothing_of_noise(self):
        _, low, high = stats.bootstrap_ratio([([1, 2, 3, 4, 5], [5, 3, 1, 2, 4])])
        self.assertTrue(low < 1 < high)
        self.assertEqual(stats.verdict(low, high), "no difference seen")

    def test_bootstrap_needs_rounds(self):
        self.assertEqual(stats.bootstrap_ratio([([1, 1, 1, 1], [2, 2, 2, 2])]), (2, None, None))
        self.assertEqual(stats.verdict(None, None), "no difference seen")


class Samples(unittest.TestCase):
    allocator = Allocator("quarry", "/x/libquarry.so", "libquarry.so")

    def test_a_failed_preload_is_no_sample(self):
        one = suite.Program("one", "micro", ("bench_one",))
        with self.assertRaises(Failure):
            sample_of(one, self.allocator, USAGE, {"malloc_from": "libc.so.6"})
        kept = sample_of(one, self.allocator, USAGE, {"malloc_from": "libquarry.so", "ns_16": 4})
        self.assertEqual((kept["faults"], kept["switches"], kept["figures"]), (4, 7, {"ns_16": 4}))

    def test_a_script_measures_itself(self):
        kept = sample_of(suite.Program("two", "real", ("bench/real/two",)), self.allocator, USAGE, {"wall_s": 1.5, "peak_bytes": 10})
        self.assertEqual((kept["wall_s"], kept["peak_rss_bytes"]), (1.5, 10))
        self.assertNotIn("user_s", kept)

    def test_the_line_is_the_last_one(self):
        self.assertEqual(printed('x\n{"a": 1}\n{"b": 2}\ny\n'), {"b": 2})
        with self.assertRaises(Failure):
            printed("{broken")

    def test_who_is_first_moves_on(self):
        runner = Runner(ROOT / "bench", ROOT, ["a", "b", "c"], 5)
        self.assertEqual([runner.turn(number) for number in range(4)],
                         [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]])

    def summed(self, **sums):
        """The failures of check_sums, when the allocators' rounds gave these sums, and those left with samples."""
        entry = {"failures": {}, "samples": {name: [each and sample(1, output_sum=each) for each in given] for name, given in sums.items()}}
        Runner.check_sums(entry)
        return list(entry["failures"]), [name for name, samples in entry["samples"].items() if any(samples)]

    def test_a_different_output_is_a_failure_whoever_is_first(self):
        self.assertEqual(self.summed(quarry=["y", "y"], glibc=["x", "x"], jemalloc=["x", "x"]), (["quarry"], ["glibc", "jemalloc"]))
        self.assertEqual(self.summed(jemalloc=["y", "y"], quarry=["x", "x"], glibc=["x", None]), (["jemalloc"], ["quarry", "glibc"]))

    def test_without_a_majority_glibc_is_right(self):
        self.assertEqual(self.summed(quarry=["y"], glibc=["x"]), (["quarry"], ["glibc"]))
        self.assertEqual(self.summed(quarry=["y"], jemalloc=["x"]), (["quarry", "jemalloc"], []))

    def test_one_wrong_round_is_enough(self):
        self.assertEqual(self.summed(quarry=["x", "y"], glibc=["x", "x"]), (["quarry"], ["glibc"]))
        self.assertEqual(self.summed(quarry=["x", "x"], glibc=["x", "x"], jemalloc=["x", "x"]), ([], ["quarry", "glibc", "jemalloc"]))

    def test_programs_without_sums_are_left_alone(self):
        entry = {"failures": {}, "samples": {"glibc": [sample(1)], "quarry": [None]}}
        Runner.check_sums(entry)
        self.assertEqual(entry["failures"], {})


class Table(unittest.TestCase):
    def load(self, text, root=ROOT):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as table:
            table.write(text)
            table.flush()
            return suite.load(table.name, root)

    def test_a_misspelt_field_is_an_error(self):
        with self.assertRaises(suite.SuiteError):
            self.load('[[program]]\nname = "a"\ngroup = "micro"\ncommand = ["bench_a"]\nthread = 2\n')

    def test_variables_are_text_and_heaps_are_of_one_kind(self):
        entry = '[[program]]\nname = "a"\ngroup = "micro"\ncommand = ["bench_a"]\n'
        self.assertEqual(self.load(entry + 'environment = { A = "1" }\n')[0].environment, {"A": "1"})
        for wrong in ("environment = { A = 1 }\n", "big_heap = true\nown_mappings = true\n"):
            with self.assertRaises(suite.SuiteError):
                self.load(entry + wrong)

    def test_one_program_for_each_trace(self):
        entry = '[[program]]\nname = "play"\ngroup = "replay"\ncommand = ["bench_play", "{trace}"]\ntraces = "*.qtrace"\n'
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            self.assertEqual(suite.command_of(self.load(entry, root)[0], root, suite.FULL), (None, "there is no *.qtrace"))
            (root / "b.qtrace").touch()
            (root / "a.qtrace").touch()
            found = self.load(entry, root)
        self.assertEqual([each.name for each in found], ["play-a", "play-b"])
        self.assertEqual(found[0].command, ("bench_play", str(root / "a.qtrace")))


class Judged(unittest.TestCase):
    def setUp(self):
        self.larson = program("larson", {"quarry": [sample(1), sample(20)], "glibc": [sample(2), sample(40)],
                                         "jemalloc": [sample(4), None]}, big_heap=True)

    def test_ratios_and_best_peer(self):
        seen = results(self.larson)
        self.assertAlmostEqual(seen.ratio(self.larson, "quarry", "glibc", "time"), 0.5)
        self.assertEqual(seen.best_peer(self.larson, "time"), "jemalloc")
        self.assertAlmostEqual(seen.ratio_to_best(self.larson, "time"), 0.25)
        peer, ratio = seen.best_single_peer([self.larson], "time")
        self.assertEqual(peer, "glibc")
        self.assertAlmostEqual(ratio, 0.5)

    def test_figures_count_by_their_mean_and_rates_turned(self):
        pair = program("pair", {"quarry": [sample(1, ns_16=2, ns_32=8, mops=4)], "glibc": [sample(1, ns_16=4, ns_32=16, mops=2)]},
                       "micro", figures=["ns_*"])
        seen = results(pair)
        self.assertAlmostEqual(seen.values(pair, "quarry", "time")[0], 4)
        pair["figures"] = ["mops"]
        self.assertAlmostEqual(seen.ratio(pair, "quarry", "glibc", "time"), 0.5)

    def test_what_the_process_took_is_not_overridden(self):
        own = program("own", {"quarry": [sample(1, 5000)]})
        own["samples"]["quarry"][0]["figures"]["peak_rss_bytes"] = 1
        self.assertEqual(results(own).median(own, "quarry", "peak_rss_bytes"), 5000)

    def test_losing_rows_are_shown(self):
        slow = program("slow", {"quarry": [sample(3)], "glibc": [sample(2)], "jemalloc": [sample(4)]})
        seen = results(self.larson, slow)
        self.assertEqual([(row[0]["name"], row[1], round(row[2], 6)) for row in seen.losses()], [("slow", "glibc", 1.5)])
        self.assertIn("1.50\\*", report.markdown(seen, []))

    def verdicts(self, *programs):
        return {(goal.what, goal.bar): goal.verdict for goal in goals.evaluate(results(*programs))}

    def test_goals(self):
        found = self.verdicts(self.larson)
        self.assertEqual(found["geometric mean of wall time over micro + scenario + real", "<= 0.85 x the best single peer"], "PASS")
        self.assertEqual(found["every scenario and real program", "at least two thirds <= 1.00"], "PASS")
        # As many page faults are not fewer.
        self.assertEqual(found["programs whose heap grows past 64 MiB", "fewer page faults than every peer"], "MISS")
        self.assertEqual(found["geometric mean of peak RSS over scenario + real", "<= 0.85 x that of mimalloc"], "none")
        self.assertEqual(found["64 threads against 2, same total work", "peak RSS <= 1.2 x"], "none")

    def test_a_failure_is_no_better_score(self):
        crashed = program("crashed", {"quarry": [None], "glibc": [sample(1)], "jemalloc": [sample(1)]}, status="failed",
                          failures={"quarry": "signal 11"}, big_heap=True)
        rows = {(goal.what, goal.bar): goal for goal in goals.evaluate(results(self.larson, crashed))}
        for what, bar in (("geometric mean of wall time over micro + scenario + real", "<= 0.85 x the best single peer"),
                          ("every scenario and real program", "at least two thirds <= 1.00"),
                          ("geometric mean of peak RSS over scenario + real", "<= 1.00 x glibc's"),
                          ("programs whose heap grows past 64 MiB", "wall <= 0.9 x the best peer on a machine with THP in madvise mode")):
            row = rows[what, bar]
            self.assertEqual((row.verdict, row.failed), ("MISS", ("crashed",)), bar)
            self.assertIn("judged on 1 of 2 programs; failed: crashed", row.note)

    def test_a_failure_in_a_late_round_and_no_sample_are_failures(self):
        late = program("late", {"quarry": [sample(1), None], "glibc": [sample(2)] * 2}, failures={"quarry": "signal 11"})
        silent = program("silent", {"quarry": [None], "glibc": [sample(2)]})
        skipped = program("skipped", {"quarry": [None], "glibc": [None]}, status="skipped")
        peer = program("peer", {"quarry": [sample(1)], "glibc": [None]}, failures={"glibc": "signal 11"})
        seen = results(late, silent, skipped, peer)
        self.assertEqual(goals.evaluate(seen)[0].failed, ("late", "silent"))

    def test_flags_of_big_heaps_are_held_against_what_was_measured(self):
        mib = 1 << 20

        def of(name, quarry, glibc, **fields):
            return program(name, {"quarry": [sample(1, quarry * mib)], "glibc": [sample(1, glibc * mib)]}, **fields)
        seen = results(of("right", 80, 70, big_heap=True), of("untouched", 65, 2, big_heap=True), of("wrong", 64, 60, big_heap=True),
                       of("forgotten", 90, 65), of("small", 90, 64), of("own", 200, 200, own_mappings=True))
        self.assertEqual([found.split()[0] for found in goals.heap_disagreements(seen)], ["scenario/wrong", "scenario/forgotten"])
        self.assertIn("scenario/forgotten is not said to have a heap past 64 MiB; the least peak RSS is 65 MiB", report.markdown(seen, []))

    def test_goals_of_latency(self):
        def server(quarry_max, **more):
            return program("server", {"quarry": [sample(1, malloc_p999_ns=90, free_p999_ns=50, free_max_ns=quarry_max)],
                                      "glibc": [sample(1, malloc_p999_ns=100, free_p999_ns=100, free_max_ns=100)]}, **more)
        what = "latency of malloc and free in the server scenario"
        found = self.verdicts(server(101))
        self.assertEqual((found[what, "p99.9 <= the best peer's"], found[what, "max <= the best peer's"]), ("PASS", "MISS"))
        self.assertEqual(self.verdicts(server(100))[what, "max <= the best peer's"], "PASS")
        self.assertEqual(self.verdicts(server(1, failures={"quarry": "signal 6"}))[what, "max <= the best peer's"], "MISS")
        self.assertEqual(self.verdicts(self.larson)[what, "max <= the best peer's"], "none")

    def test_goal_of_threads(self):
        few, many = (program(f"many-{threads}", {"quarry": [sample(wall_s, peak)], "glibc": [sample(1)]}, threads=threads,
                             scaling="many_threads") for threads, wall_s, peak in ((2, 0.9, 1000), (64, 1.0, 1100)))
        found = self.verdicts(few, many)
        self.assertEqual(found["64 threads against 2, same total work", "throughput >= 0.95 of the 2-thread figure"], "MISS")
        self.assertEqual(found["64 threads against 2, same total work", "peak RSS <= 1.2 x"], "PASS")

    def test_compare(self):
        old, new = self.two_runs()
        for each in new.programs[0]["samples"]["quarry"]:
            each["wall_s"] *= 1.2
        self.assertIn("slower", compare.text(old, new))
        self.assertIn("1 of 1 programs differ; about 0.1 would", compare.text(old, new))
        self.assertIn("no difference seen", compare.text(old, old))
        self.assertNotIn("slower", compare.text(old, old))

    @staticmethod
    def two_runs():
        old = results(program("one", {"quarry": [sample(value) for value in (1, 1.01, 0.99, 1.02, 0.98)], "glibc": [sample(1)] * 5}))
        return old, Results(copy.deepcopy(old.content))

    def test_compare_sees_cpu_time_and_faults(self):
        old, new = self.two_runs()
        for each in new.programs[0]["samples"]["quarry"]:
            each["system_s"] *= 2
            each["faults"] = 8
        text = compare.text(old, new)
        self.assertRegex(text, r"(?s)cpu_s .*one +1\.333 .* more")
        self.assertRegex(text, r"(?s)faults .*one +0\.800 .* fewer")
        self.assertNotIn("slower", text)

    def test_compare_sees_new_failures_and_other_work(self):
        old, new = self.two_runs()
        failing = new.programs[0]
        failing.update(status="failed", reason="quarry: signal 11", failures={"quarry": "signal 11"}, command=["bench_one", "--rounds", "2"])
        text = compare.text(old, new)
        self.assertIn("FAILS NOW scenario/one: signal 11", text)
        self.assertIn("DIFFERENT one: bench_one before, bench_one --rounds 2 now", text)
        self.assertIn("FAILED BEFORE scenario/one", compare.text(new, old))
        self.assertIn("STILL FAILS scenario/one", compare.text(new, new))
        self.assertNotIn("FAIL", compare.text(old, old))

    def test_compare_says_when_rounds_are_few(self):
        old, new = self.two_runs()
        for seen in (old, new):
            for samples in seen.programs[0]["samples"].values():
                del samples[4:]
        self.assertIn("fewer than 5 rounds", compare.text(old, new))


if __name__ == "__main__":
    unittest.main()
