# SPDX-License-Identifier: MIT
"""Compares one allocator's figures in two result files: a verdict for each program and one overall, with its uncertainty."""
from benchlib import report, stats
from benchlib.allocators import SUBJECT

FIGURES = (("time", "faster", "slower"), ("cpu_s", "less", "more"), ("peak_rss_bytes", "smaller", "larger"), ("faults", "fewer", "more"))
TOO_FEW = f"fewer than {stats.SAMPLES_MIN} rounds"
NO_VERDICT = stats.verdict(None, None)


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
        if all(values) and all(min(each) > 0 for each in values):
            yield f"{program['group']}/{program['name']}", *values


def row_of(label, pairs, less, more):
    ratio, low, high = stats.bootstrap_ratio(pairs)
    between = TOO_FEW if low is None else f"{low:.3f} .. {high:.3f}"
    return [label, f"{ratio:.3f}", between, stats.verdict(low, high, less, more)]


def different_facts(old, new):
    """What makes two runs hard to compare."""
    names = ("cpu", "cpus", "kernel", "thp", "memory_mib", "system")
    lines = [f"{name}: {old.facts.get(name)} before, {new.facts.get(name)} now" for name in names
             if old.facts.get(name) != new.facts.get(name)]
    if old.content["quick"] != new.content["quick"]:
        lines.append("one of the two ran with quick settings: the figures are of different work")
    before = {program["name"]: program for program in old.programs}
    for program in new.programs:
        words = [each["command"] for each in (before.get(program["name"], program), program)]
        if words[0] != words[1]:
            lines.append(f"{program['name']}: {' '.join(words[0])} before, {' '.join(words[1])} now: different work")
    return lines


def failures_of(results, allocator):
    """Program's label -> why it gave nothing here, skipped ones left out."""
    return {f"{program['group']}/{program['name']}": program.get("failures", {}).get(allocator) or program["reason"] or "no sample"
            for program in results.to_judge() if results.failed_on(program, allocator)}


def changed_failures(old, new, allocator):
    before, now = failures_of(old, allocator), failures_of(new, allocator)
    return [*(f"FAILS NOW {label}: {why}" for label, why in now.items() if label not in before),
            *(f"FAILED BEFORE {label}, and no longer" for label in before if label not in now),
            *(f"STILL FAILS {label}: {why}" for label, why in now.items() if label in before)]


def by_chance(rows):
    """How far the number of verdicts is one that chance alone would give."""
    sure = [row for row in rows if row[2] != TOO_FEW]
    said = sum(row[3] != NO_VERDICT for row in sure)
    return f"{said} of {len(sure)} programs differ; about {len(sure) * (1 - stats.CONFIDENCE):.1f} would if nothing had changed"


def text(old, new, allocator=SUBJECT, against=None):
    lines = [f"{allocator}, new / old" + (f", each relative to {against} of the same round" if against else "")
             + f"; the interval holds the ratio of medians with {stats.CONFIDENCE:.0%} (bootstrap)"]
    lines += [f"DIFFERENT {fact}" for fact in different_facts(old, new)]
    lines += changed_failures(old, new, allocator)
    for figure, less, more in FIGURES:
        found = list(pairs_of(old, new, allocator, against, figure))
        if not found:
            lines.append(f"{figure}: no program was measured in both")
            continue
        rows = [row_of(label, [(before, after)], less, more) for label, before, after in found]
        overall = row_of("overall, geometric mean", [(before, after) for _, before, after in found], less, more)
        lines.append(report.left_table([figure, "ratio", "interval", "verdict"], [*rows, overall]) + f"\n{by_chance(rows)}")
    return "\n\n".join(lines)
