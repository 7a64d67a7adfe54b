# SPDX-License-Identifier: MIT
"""Compares one allocator's figures in two result files: a verdict for each program and one overall, with its uncertainty."""
from benchlib import report, stats
from benchlib.allocators import SUBJECT

FIGURES = (("time", "faster", "slower"), ("peak_rss_bytes", "smaller", "larger"))


def relative(results, program, allocator, against, figure):
    """One value per round; with `against`, divided by that allocator's of the same round."""
    own = results.values(program, allocator, figure)
    return stats.paired_ratios(own, results.values(program, against, figure)) if against else stats.present(own)


def pairs_of(old, new, allocator, against, figure):
    """(program's label, old values, new values) where both files have figures."""
    for program in new.measured():
        before = old.program(program["name"])
        if before is None:
            continue
        values = [relative(results, one, allocator, against, figure) for results, one in ((old, before), (new, program))]
        if all(values):
            yield f"{program['group']}/{program['name']}", *values


def row_of(label, pairs, less, more):
    ratio, low, high = stats.bootstrap_ratio(pairs)
    between = "too few rounds" if low is None else f"{low:.3f} .. {high:.3f}"
    return [label, f"{ratio:.3f}", between, stats.verdict(low, high, less, more)]


def different_facts(old, new):
    """What makes two runs hard to compare."""
    names = ("cpu", "cpus", "kernel", "thp", "memory_mib", "system")
    lines = [f"{name}: {old.facts.get(name)} before, {new.facts.get(name)} now" for name in names
             if old.facts.get(name) != new.facts.get(name)]
    if old.content["quick"] != new.content["quick"]:
        lines.append("one of the two ran with quick settings: the figures are of different work")
    return lines


def text(old, new, allocator=SUBJECT, against=None):
    lines = [f"{allocator}, new / old" + (f", each relative to {against} of the same round" if against else "")
             + f"; the interval holds the ratio of medians with {stats.CONFIDENCE:.0%} (bootstrap)"]
    lines += [f"DIFFERENT {fact}" for fact in different_facts(old, new)]
    for figure, less, more in FIGURES:
        found = list(pairs_of(old, new, allocator, against, figure))
        if not found:
            lines.append(f"{figure}: no program was measured in both")
            continue
        rows = [row_of(label, [(before, after)], less, more) for label, before, after in found]
        rows.append(row_of("overall, geometric mean", [(before, after) for _, before, after in found], less, more))
        lines.append(report.left_table([figure, "ratio", "interval", "verdict"], rows))
    return "\n\n".join(lines)
