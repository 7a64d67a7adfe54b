# SPDX-License-Identifier: MIT
"""What quarry sets itself to show on the suite, as rows with a verdict. A row without its programs says "none"; one of whose programs
the subject failed on is missed, whatever the others give: a mean over those that are left would reward the failure."""
import dataclasses
import operator

from benchlib import stats
from benchlib.allocators import PLAIN, SUBJECT
from benchlib.machine import thp_mode
from benchlib.results import RUN_ENDED

COMPARED_IN_MEMORY = ("jemalloc", "mimalloc", "tcmalloc")
SCALING = "many_threads"
MIB = 1 << 20
BIG_HEAP_BYTES = 64 * MIB
ROUNDS_PUBLISHED = stats.SAMPLES_MIN
COMPARISONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge}


@dataclasses.dataclass(frozen=True)
class Goal:
    what: str
    bar: str
    value: float | None
    limit: float
    holds: str = "<="
    note: str = ""
    failed: tuple = ()  # programs the row is about that the subject failed on

    @property
    def verdict(self):
        if self.failed:
            return "MISS"
        if self.value is None:
            return "none"
        return "PASS" if COMPARISONS[self.holds](self.value, self.limit) else "MISS"

    def as_json(self):
        return {**dataclasses.asdict(self), "verdict": self.verdict}


def about(results, programs, judged, what, bar, value, limit, holds="<=", note=""):
    """A row about these programs, of which `judged` gave the value."""
    failed = tuple(program["name"] for program in programs if results.failed_on(program, SUBJECT))
    notes = [note, f"judged on {judged} of {len(programs)} programs", f"failed: {', '.join(failed)}" if failed else ""]
    return Goal(what, bar, value, limit, holds, "; ".join(filter(None, notes)), failed)


def ratios_to_best(results, programs, figure):
    """Program's name -> ratio, for those that have one."""
    ratios = {program["name"]: results.ratio_to_best(program, figure) for program in programs}
    return {name: ratio for name, ratio in ratios.items() if ratio is not None}


def compared_nr(results, programs, peer, figure):
    return sum(results.ratio(program, SUBJECT, peer, figure) is not None for program in programs)


def mean_time_goal(results):
    programs = results.to_judge("micro", "scenario", "real")
    peer, ratio = results.best_single_peer(programs, "time")
    return [about(results, programs, compared_nr(results, programs, peer, "time"),
                  "geometric mean of wall time over micro + scenario + real", "<= 0.85 x the best single peer", ratio, 0.85,
                  note=f"best single peer: {peer}")]


def every_program_goals(results):
    what = "every scenario and real program"
    programs = results.to_judge("scenario", "real")
    ratios = ratios_to_best(results, programs, "time")
    worst = max(ratios, key=ratios.get, default=None)
    above = sum(ratio > 1.05 for ratio in ratios.values())
    even = sum(ratio <= 1 for ratio in ratios.values())
    share = even / len(ratios) if ratios else None

    def goal(bar, value, limit, holds, note):
        return about(results, programs, len(ratios), what, bar, value, limit, holds, note)

    return [goal("<= 1.05 x the best peer on that program", ratios.get(worst), 1.05, "<=",
                 f"worst: {worst}; {above} of {len(ratios)} above"),
            goal("at least two thirds <= 1.00", share, 2 / 3, ">=", f"{even} of {len(ratios)}")]


def memory_goals(results):
    what = "geometric mean of peak RSS over scenario + real"
    programs = results.to_judge("scenario", "real")

    def goal(peer, limit, bar):
        return about(results, programs, compared_nr(results, programs, peer, "peak_rss_bytes"), what, bar,
                     results.mean_ratio(programs, SUBJECT, peer, "peak_rss_bytes"), limit)

    return [goal(PLAIN, 1.0, "<= 1.00 x glibc's"),
            *(goal(peer, 0.85, f"<= 0.85 x that of {peer}") for peer in COMPARED_IN_MEMORY)]


def big_heap_goals(results):
    what = "programs whose heap grows past 64 MiB"
    programs = [program for program in results.to_judge() if program["big_heap"]]
    thp = thp_mode(results.facts["thp"])

    def goal(figure, limit, bar, holds):
        ratios = ratios_to_best(results, programs, figure)
        worst = max(ratios, key=ratios.get, default=None)
        missed = sum(not COMPARISONS[holds](ratio, limit) for ratio in ratios.values())
        return about(results, programs, len(ratios), what, bar, ratios.get(worst), limit, holds,
                     f"worst: {worst}; {missed} of {len(ratios)} miss it; THP is {thp}")

    return [goal("faults", 1.0, "fewer page faults than every peer", "<"),
            goal("time", 0.9, "wall <= 0.9 x the best peer on a machine with THP in madvise mode", "<=")]


def heap_disagreements(results):
    """Where the table's big_heap cannot be true: a heap is no larger than the peak RSS, but a program may ask for more than it writes to.
    Each as a sentence."""
    found = []
    for program in results.measured():
        peaks = [results.median(program, name, "peak_rss_bytes") for name in results.allocators]
        peaks = [peak for peak in peaks if peak is not None]
        label = f"{program['group']}/{program['name']}"
        if program["big_heap"] and max(peaks) <= BIG_HEAP_BYTES and not results.content["quick"]:
            found.append(f"{label} is said to have a heap past 64 MiB; the largest peak RSS is {max(peaks) / MIB:.0f} MiB")
        if not program["big_heap"] and not program.get("own_mappings") and min(peaks) > BIG_HEAP_BYTES:
            found.append(f"{label} is not said to have a heap past 64 MiB; the least peak RSS is {min(peaks) / MIB:.0f} MiB")
    return found


def latency_goals(results):
    what = "latency of malloc and free in the server scenario"
    servers = [program for program in results.to_judge() if program["name"] == "server"]
    names = [name for server in servers for name in results.printed_figures(server)]
    goals = []
    for percentile, words in (("p99.9", ("p999_", "p99_9_")), ("max", ("max_",))):
        chosen = [name for name in names if any(word in name for word in words) and name.endswith("ns")]
        ratios = {name: results.ratio_to_best(servers[0], name) for name in chosen}
        ratios = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        worst = max(ratios, key=ratios.get, default=None)
        goals.append(about(results, servers, int(bool(ratios)), what, f"{percentile} <= the best peer's", ratios.get(worst), 1.0,
                           note=f"worst: {worst}" if worst else "no such figure"))
    return goals


def scaling_goals(results):
    what = "64 threads against 2, same total work"
    programs = [program for program in results.to_judge() if program["scaling"] == SCALING and program["threads"] in (2, 64)]
    by_threads = {program["threads"]: program for program in programs}
    few, many = by_threads.get(2), by_threads.get(64)

    def against(figure, turned=False):
        if few is None or many is None:
            return None
        low, high = (results.values(program, SUBJECT, figure) for program in (few, many))
        return stats.median(stats.paired_ratios(low, high) if turned else stats.paired_ratios(high, low))

    judged = sum(not results.failed_on(program, SUBJECT) for program in programs)
    return [about(results, programs, judged, what, "throughput >= 0.95 of the 2-thread figure", against("time", turned=True), 0.95, ">="),
            about(results, programs, judged, what, "peak RSS <= 1.2 x", against("peak_rss_bytes"), 1.2)]


def lacking_for_verdicts(results, names):
    """What keeps a run from being the whole suite of these programs, as sentences; none when nothing does. Shorter settings are no
    such thing, as the report says so."""
    allocators = [name for name in (SUBJECT, PLAIN, *COMPARED_IN_MEMORY) if name not in results.allocators]
    run = {program["name"]: program for program in results.programs}
    absent = [name for name in names if name not in run]
    cut = [name for name, program in run.items() if program["status"] == "skipped" and program["reason"] == RUN_ENDED]
    return [*([f"{results.rounds} rounds, not {ROUNDS_PUBLISHED}"] if results.rounds < ROUNDS_PUBLISHED else []),
            *([f"without {', '.join(allocators)}"] if allocators else []),
            *([f"not run: {', '.join(absent)}"] if absent else []),
            *([f"the run ended before {', '.join(cut)}"] if cut else [])]


def evaluate(results):
    """Every row, in the order of the table they come from; none without the subject."""
    if SUBJECT not in results.allocators or not results.peers:
        return []
    return [*mean_time_goal(results), *every_program_goals(results), *memory_goals(results), *big_heap_goals(results),
            *latency_goals(results), *scaling_goals(results)]
