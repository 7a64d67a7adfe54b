# SPDX-License-Identifier: MIT
"""What was measured, and the questions one asks of it. Holds the content of results.json; every ratio is subject / other,
so that below 1 is better, and is taken round by round.
"""
import fnmatch
import json
import statistics

from benchlib import stats
from benchlib.allocators import PLAIN, SUBJECT

FORMAT = 1
HIGHER_IS_BETTER = "mops"
RUN_ENDED = "the run ended before it"  # a program's reason until its turn comes


def load(path):
    with open(path, encoding="utf-8") as source:
        content = json.load(source)
    if content.get("format") != FORMAT:
        raise ValueError(f"{path}: not a result of this version")
    return Results(content)


def save(content, path):
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def lower_is_better(name, value):
    return 1 / value if name.startswith(HIGHER_IS_BETTER) else value


def own_figures(sample):
    """Everything with a name and one number: what the process took and what the program printed."""
    flat = sample["figures"] | {name: value for name, value in sample.items() if name != "figures"}
    if "user_s" in sample and "system_s" in sample:
        flat["cpu_s"] = sample["user_s"] + sample["system_s"]
    return {name: value for name, value in flat.items() if isinstance(value, (int, float))}


class Results:
    def __init__(self, content):
        self.content = content
        self.facts = content["facts"]
        self.programs = content["programs"]
        self.allocators = [allocator["name"] for allocator in content["allocators"]]
        self.peers = [name for name in self.allocators if name != SUBJECT]
        self.rounds = content["rounds"]

    def measured(self, *groups):
        """The programs with samples, of the groups named or of all."""
        return [each for each in self.programs if (not groups or each["group"] in groups)
                and any(sample for samples in each["samples"].values() for sample in samples)]

    def to_judge(self, *groups):
        """The programs that a verdict must be about, of the groups named or of all: everything that could run here."""
        return [each for each in self.programs if (not groups or each["group"] in groups) and each["status"] != "skipped"]

    def failed_on(self, program, allocator):
        """Whether this allocator has no figure that counts: the program failed on it, if only once, or never ran."""
        return allocator in program.get("failures", {}) or not any(self.samples(program, allocator))

    def program(self, name):
        return next((each for each in self.measured() if each["name"] == name), None)

    def samples(self, program, allocator):
        return program["samples"].get(allocator, [])

    def values(self, program, allocator, figure):
        """One figure per round, None where it was not measured; "time" is what the table says counts as such."""
        if figure == "time":
            return [self.time(program, sample) for sample in self.samples(program, allocator)]
        return [own_figures(sample).get(figure) if sample else None for sample in self.samples(program, allocator)]

    def time_figures(self, program):
        """The names of the figures that count as time: those of the table that are above 0 in every sample."""
        flat = [own_figures(sample) for samples in program["samples"].values() for sample in samples if sample]
        return sorted({name for name in flat[0] for pattern in program["figures"] if fnmatch.fnmatchcase(name, pattern)
                       and all(figures.get(name, 0) > 0 for figures in flat)})

    def time(self, program, sample):
        if not sample:
            return None
        figures = own_figures(sample)
        return stats.geometric_mean([lower_is_better(name, figures[name]) for name in self.time_figures(program)])

    def printed_figures(self, program):
        """Every number the program printed, in its order."""
        names = {}
        for samples in program["samples"].values():
            for sample in filter(None, samples):
                names.update({name: None for name, value in sample["figures"].items() if isinstance(value, (int, float))})
        return list(names)

    def median(self, program, allocator, figure):
        return stats.median(self.values(program, allocator, figure))

    def ratio(self, program, allocator, other, figure):
        """The median of the ratios of each round; None when no round has both."""
        return stats.median(stats.paired_ratios(self.values(program, allocator, figure), self.values(program, other, figure)))

    def best_peer(self, program, figure):
        """The peer with the least median on this program."""
        medians = {peer: self.median(program, peer, figure) for peer in self.peers}
        medians = {peer: value for peer, value in medians.items() if value is not None}
        return min(medians, key=medians.get) if medians else None

    def ratio_to_best(self, program, figure):
        best = self.best_peer(program, figure)
        return None if best is None else self.ratio(program, SUBJECT, best, figure)

    def mean_ratio(self, programs, allocator, other, figure):
        """Geometric mean over the programs that both were measured on."""
        return stats.geometric_mean([self.ratio(program, allocator, other, figure) for program in programs])

    def best_single_peer(self, programs, figure):
        """The peer that leaves the subject the least lead over all the programs together, and that ratio."""
        ratios = {peer: self.mean_ratio(programs, SUBJECT, peer, figure) for peer in self.peers}
        ratios = {peer: value for peer, value in ratios.items() if value is not None}
        best = max(ratios, key=ratios.get) if ratios else None
        return best, ratios.get(best)

    def noise(self, figure="time"):
        """(median, ninth decile) of how far a sample is from the one before it, same program and allocator; None if unknown."""
        steps = [step for program in self.measured() for allocator in self.allocators
                 for step in stats.successive_differences(self.values(program, allocator, figure))]
        if len(steps) < 2:
            return None
        return statistics.median(steps), statistics.quantiles(steps, n=10, method="inclusive")[-1]

    def losses(self, figure="time"):
        """(program, best peer, ratio) wherever the subject is behind, worst first."""
        rows = [(program, self.best_peer(program, figure), self.ratio_to_best(program, figure)) for program in self.measured()]
        return sorted((row for row in rows if row[2] is not None and row[2] > 1), key=lambda row: -row[2])

    def summary(self):
        """What results.json holds besides the samples, so that a reader needs no arithmetic."""
        return [{
            "name": program["name"], "group": program["group"], "time_figures": self.time_figures(program),
            "best_peer": self.best_peer(program, "time"), "time_to_best_peer": self.ratio_to_best(program, "time"),
            "spread": {name: {figure: stats.spread(self.values(program, name, figure))
                              for figure in ("time", "peak_rss_bytes", "faults", "cpu_s")} for name in self.allocators},
            "ratio_to_glibc": {name: {figure: self.ratio(program, name, PLAIN, figure)
                                      for figure in ("time", "peak_rss_bytes", "faults", "cpu_s")} for name in self.allocators},
        } for program in self.measured()]
