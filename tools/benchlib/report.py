# SPDX-License-Identifier: MIT
"""Shows results: tables on a terminal and in Markdown. What is behind is marked, and nothing is left out."""
from benchlib import goals, stats
from benchlib.allocators import PLAIN, SUBJECT
from benchlib.machine import thp_mode
from benchlib.suite import GROUPS

MIB = 1 << 20
# figure, heading, divisor, unit of glibc's own column
TABLES = (
    ("time", "Time", 1, ""),
    ("peak_rss_bytes", "Peak RSS", MIB, "MiB"),
    ("faults", "Page faults", 1, ""),
    ("cpu_s", "CPU time, user and system", 1, "s"),
    ("switches", "Context switches", 1, ""),
    ("rss_end_bytes", "RSS at the end of the program", MIB, "MiB"),
)
ON_TERMINAL = ("time", "peak_rss_bytes", "faults")


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e7 else f"{value:.4g}"


def ratio(value):
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:.3g}"


def unit_of(program, figure, names):
    """What glibc's own column counts, for the figure that stands for time."""
    if figure != "time":
        return ""
    return names[0] if len(names) == 1 else f"{program['figures'][0]}"


def marked(value):
    """A ratio to the best peer; a star where the subject is behind."""
    return ratio(value) + ("*" if value is not None and value > 1 else "")


def spread_pct(results, program, figure):
    """Distance of the subject's quartiles, as a share of its median."""
    name = SUBJECT if SUBJECT in results.allocators else PLAIN
    spread = stats.spread(results.values(program, name, figure))
    return "-" if not spread or not spread[2] else f"{(spread[3] - spread[1]) / spread[2]:.1%}"


def has_subject(results):
    return SUBJECT in results.allocators


def figure_rows(results, figure, divisor, programs):
    """glibc's own figure, every other allocator's ratio to it, and the subject against the best peer."""
    others = [name for name in results.allocators if name != PLAIN]
    head = ["program", PLAIN, *others, "to best peer", "best peer", "spread"]
    rows = []
    for program in programs:
        own = results.median(program, PLAIN, figure)
        if not any(results.median(program, name, figure) is not None for name in results.allocators):
            continue
        names = results.time_figures(program) if figure == "time" else []
        unit = unit_of(program, figure, names)
        rows.append([f"{program['group']}/{program['name']}",
                     f"{number(None if own is None else own / divisor)} {unit}".strip(),
                     *(ratio(results.ratio(program, name, PLAIN, figure)) for name in others),
                     marked(results.ratio_to_best(program, figure) if has_subject(results) else None),
                     results.best_peer(program, figure) or "-", spread_pct(results, program, figure)])
    return head, rows


def mean_rows(results, figure):
    """One row for each group and one for all."""
    others = [name for name in results.allocators if name != PLAIN]
    groups = [(group, results.measured(group)) for group in GROUPS] + [
        ("micro + scenario + real", results.measured("micro", "scenario", "real"))]
    rows = []
    for name, programs in groups:
        if not programs:
            continue
        best, to_best = results.best_single_peer(programs, figure) if has_subject(results) else (None, None)
        rows.append([f"mean of {name}", str(len(programs)),
                     *(ratio(results.mean_ratio(programs, other, PLAIN, figure)) for other in others),
                     marked(to_best), best or "-", ""])
    return rows


def goal_rows(results):
    head = ["what", "bar", "value", "verdict", "note"]
    rows = [[goal.what, goal.bar, "-" if goal.value is None else f"{goal.value:.3f}", goal.verdict, goal.note]
            for goal in goals.evaluate(results)]
    return head, rows


def text_table(head, rows):
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]).rstrip()
                     for row in table)


def left_table(head, rows):
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table)


def markdown_table(head, rows, aligned="---:"):
    def line(cells):
        # Stars and underscores are figures here, not emphasis.
        return "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"
    return "\n".join([line(head), "|" + "|".join(["---"] + [aligned] * (len(head) - 1)) + "|", *map(line, rows)])


def size_of_run(results):
    look = "" if results.rounds >= 5 and not results.content["quick"] else "; a look, not a result"
    quick = ", shorter settings" if results.content["quick"] else ""
    return f"{results.rounds} interleaved rounds{quick}{look}"


def noise_text(results):
    parts = []
    for figure, name in (("time", "time"), ("peak_rss_bytes", "peak RSS")):
        noise = results.noise(figure)
        if noise:
            parts.append(f"{name} {noise[0]:.1%} median, {noise[1]:.1%} in the worst tenth")
    return "; ".join(parts) or "unknown with one round"


def fact_rows(results):
    facts = results.facts
    machine = f"{facts['cpus']} x {facts['cpu']}, {facts['memory_mib']} MiB"
    versions = ", ".join(f"{each['name']} {each['version']}" for each in results.content["allocators"])
    note = results.content.get("note")
    return [*([("note", note)] if note else []), ("rounds", size_of_run(results)), ("date", facts["date"]), ("machine", machine),
            ("system", f"{facts['system']}, Linux {facts['kernel']}, THP {thp_mode(facts['thp'])}"),
            ("load", f"{facts['load_at_start']} at the start, {facts.get('load_at_end', '-')} at the end, "
                     "the suite's own programs included"),
            ("allocators", versions),
            *(("bench/suite.toml", found) for found in goals.heap_disagreements(results)),
            ("noise", f"one allocator against itself, one round to the next: {noise_text(results)}")]


def not_run(results):
    return [(f"{each['group']}/{each['name']}", each["status"], each["reason"] or "") for each in results.programs
            if each["status"] != "ran"]


def terminal(results):
    parts = [left_table(["", ""], [list(row) for row in fact_rows(results)]).strip("\n ")]
    for figure, heading, divisor, unit in TABLES:
        if figure not in ON_TERMINAL:
            continue
        head, rows = figure_rows(results, figure, divisor, results.measured())
        if rows:
            parts.append(f"{heading}{f' ({unit})' if unit else ''}: glibc's own, then ratios to it\n"
                         + text_table(head, rows + mean_rows(results, figure)))
    if not_run(results):
        parts.append(left_table(["not run", "", ""], [list(row) for row in not_run(results)]))
    head, rows = goal_rows(results)
    if rows:
        verdicts = [row[3] for row in rows]
        parts.append(left_table(head, rows))
        parts.append(f"{verdicts.count('PASS')} passed, {verdicts.count('MISS')} missed, "
                     f"{verdicts.count('none')} without a figure. A star: a peer is better there.")
    return "\n\n".join(parts)


def detail_table(results, program):
    """Every figure a program printed, as medians."""
    names = results.printed_figures(program)
    rows = [[name, *(number(results.median(program, allocator, name)) for allocator in results.allocators)] for name in names]
    return markdown_table(["figure", *results.allocators], rows)


def spread_table(results, figure, divisor):
    rows = []
    for program in results.measured():
        for name in results.allocators:
            spread = stats.spread(results.values(program, name, figure))
            if spread:
                rows.append([f"{program['group']}/{program['name']}", name, *(number(value / divisor) for value in spread)])
    return markdown_table(["program", "allocator", "min", "lower quartile", "median", "upper quartile", "max"], rows)


def plot_links(plots):
    return "\n\n".join(f"![{title}]({path})" for title, path in plots)


def losses_section(results):
    parts = []
    for figure, heading in (("time", "time"), ("peak_rss_bytes", "peak RSS"), ("faults", "page faults")):
        rows = [[f"{program['group']}/{program['name']}", peer, ratio(value)] for program, peer, value in results.losses(figure)]
        parts.append(f"In {heading}, {len(rows)} of {len(results.measured())} programs:"
                     + ("\n\n" + markdown_table(["program", "best peer", "quarry / best peer"], rows) if rows else " none."))
    return "\n\n".join(parts)


def markdown(results, plots, title="Benchmarks"):
    """The whole report; plots are (title, path) pairs."""
    parts = [f"# {title}",
             "Written by `tools/bench`; not by hand. Every program runs under every allocator in turn, and each ratio is the "
             "median of the ratios of each round, so below 1.00 is better. A star marks what a peer is better at. Time is "
             "wall time, or what bench/suite.toml names instead. bench/README.md says what the programs do.",
             markdown_table(["", ""], [list(row) for row in fact_rows(results)], "---")]
    head, rows = goal_rows(results)
    if rows:
        parts += ["## What is to be shown", markdown_table(head, rows, "---"), "## Where quarry is behind its best peer",
                  losses_section(results)]
    if plots:
        parts += ["## Plots", plot_links(plots)]
    for figure, heading, divisor, unit in TABLES:
        head, rows = figure_rows(results, figure, divisor, results.measured())
        if rows:
            note = "glibc's own figure" + (f" in {unit}" if unit else "") + ", then each allocator's ratio to it; in the rows of " \
                   "means, the number of programs. Spread: between quarry's quartiles, of its median."
            parts += [f"## {heading}", note, markdown_table(head, rows + mean_rows(results, figure))]
    if not_run(results):
        parts += ["## Not run, or with failures", markdown_table(["program", "status", "why"],
                                                                [list(row) for row in not_run(results)], "---")]
    parts += ["## Spread of time", spread_table(results, "time", 1), "## Spread of peak RSS, MiB",
              spread_table(results, "peak_rss_bytes", MIB), "## What the programs print"]
    for program in results.measured():
        if results.printed_figures(program):
            parts += [f"### {program['group']}/{program['name']}", f"Command: {' '.join(program['command'])}. Medians.",
                      detail_table(results, program)]
    return "\n\n".join(parts) + "\n"
