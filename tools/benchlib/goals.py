# SPDX-License-Identifier: MIT
"""What quarry sets itself to show on the suite, as rows with a verdict. A row without its programs says "none"."""
import dataclasses
import operator

from benchlib import stats
from benchlib.allocators import PLAIN, SUBJECT
from benchlib.machine import thp_mode

COMPARED_IN_MEMORY = ("jemalloc", "mimalloc", "tcmalloc")
SCALING = "many_threads"
COMPARISONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}


@dataclasses.dataclass(frozen=True)
class Goal:
    what: str
    bar: str
    value: float | None
    limit: float
    holds: str = "<="
    note: str = ""

    @property
    def verdict(self):
        if self.value is None:
            return "none"
        return "PASS" if COMPARISONS[self.holds](self.value, self.limit) else "MISS"

    def as_json(self):
        return {**dataclasses.asdict(self), "verdict": self.verdict}


def mean_time_goal(results):
    peer, ratio = results.best_single_peer(results.measured("micro", "scenario", "real"), "time")
    return [Goal("geometric mean of wall time over micro + scenario + real", "<= 0.85 x the best single peer", ratio, 0.85,
                 note=f"best single peer: {peer}")]


def every_program_goals(results):
    what = "every scenario and real program"
    ratios = {program["name"]: results.ratio_to_best(program, "time") for program in results.measured("scenario", "real")}
    ratios = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    worst = max(ratios, key=ratios.get, default=None)
    above = sum(ratio > 1.05 for ratio in ratios.values())
    even = sum(ratio <= 1 for ratio in ratios.values())
    share = even / len(ratios) if ratios else None
    return [Goal(what, "<= 1.05 x the best peer on that program", ratios.get(worst), 1.05,
                 note=f"worst: {worst}; {above} of {len(ratios)} above"),
            Goal(what, "at least two thirds <= 1.00", share, 2 / 3, holds=">=", note=f"{even} of {len(ratios)}")]


def memory_goals(results):
    what = "geometric mean of peak RSS over scenario + real"
    programs = results.measured("scenario", "real")

    def goal(peer, limit, bar):
        return Goal(what, bar, results.mean_ratio(programs, SUBJECT, peer, "peak_rss_bytes"), limit)

    return [goal(PLAIN, 1.0, "<= 1.00 x glibc's"),
            *(goal(peer, 0.85, f"<= 0.85 x that of {peer}") for peer in COMPARED_IN_MEMORY)]


def big_heap_goals(results):
    what = "programs whose heap grows past 64 MiB"
    programs = [program for program in results.measured() if program["big_heap"]]
    thp = thp_mode(results.facts["thp"])

    def goal(figure, limit, bar, holds):
        ratios = {program["name"]: results.ratio_to_best(program, figure) for program in programs}
        ratios = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        worst = max(ratios, key=ratios.get, default=None)
        missed = sum(not COMPARISONS[holds](ratio, limit) for ratio in ratios.values())
        return Goal(what, bar, ratios.get(worst), limit, holds,
                    note=f"worst: {worst}; {missed} of {len(ratios)} miss it; THP is {thp}")

    return [goal("faults", 1.0, "fewer page faults than every peer", "<"),
            goal("time", 0.9, "wall <= 0.9 x the best peer on a machine with THP in madvise mode", "<=")]


def latency_goals(results):
    what = "latency of malloc and free in the server scenario"
    server = results.program("server")
    names = results.printed_figures(server) if server else []
    goals = []
    for percentile, words in (("p99.9", ("p999_", "p99_9_")), ("max", ("max_",))):
        chosen = [name for name in names if any(word in name for word in words) and name.endswith("ns")]
        ratios = {name: results.ratio_to_best(server, name) for name in chosen}
        ratios = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        worst = max(ratios, key=ratios.get, default=None)
        goals.append(Goal(what, f"{percentile} <= the best peer's", ratios.get(worst), 1.0,
                          note=f"worst: {worst}" if worst else "no such figure"))
    return goals


def scaling_goals(results):
    what = "64 threads against 2, same total work"
    by_threads = {program["threads"]: program for program in results.measured() if program["scaling"] == SCALING}
    few, many = by_threads.get(2), by_threads.get(64)

    def against(figure, turned=False):
        if few is None or many is None:
            return None
        low, high = (results.values(program, SUBJECT, figure) for program in (few, many))
        return stats.median(stats.paired_ratios(low, high) if turned else stats.paired_ratios(high, low))

    return [Goal(what, "throughput >= 0.95 of the 2-thread figure", against("time", turned=True), 0.95, holds=">="),
            Goal(what, "peak RSS <= 1.2 x", against("peak_rss_bytes"), 1.2)]


def evaluate(results):
    """Every row, in the order of the table they come from; none without the subject."""
    if SUBJECT not in results.allocators or not results.peers:
        return []
    return [*mean_time_goal(results), *every_program_goals(results), *memory_goals(results), *big_heap_goals(results),
            *latency_goals(results), *scaling_goals(results)]
