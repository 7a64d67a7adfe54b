# SPDX-License-Identifier: MIT
"""Draws results: plots.py RESULTS.json DIR writes each plot as PNG and SVG and prints "title<tab>file name" of each.

A program of its own, because matplotlib may belong to another Python than the one tools/bench runs on.
"""
import pathlib
import re
import sys

import matplotlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402, the backend comes first
from matplotlib import ticker  # noqa: E402

from benchlib import results as results_module  # noqa: E402
from benchlib import stats  # noqa: E402
from benchlib.allocators import PLAIN, SUBJECT  # noqa: E402

# Told apart by most colour-blind readers (Okabe and Ito), and by marker besides.
STYLES = {"quarry": ("#D55E00", "o"), "glibc": ("#000000", "s"), "jemalloc": ("#0072B2", "^"), "mimalloc": ("#009E73", "v"),
          "tcmalloc": ("#CC79A7", "D"), "tbbmalloc": ("#E69F00", "P"), "scudo": ("#56B4E9", "X")}
OTHER_STYLE = ("#7f7f7f", "*")
PERCENTILE = re.compile(r"^(?P<before>.*?)_?(?P<which>p50|p90|p99|p999|p9999|max)_(?P<after>.*)ns$")
PERCENTILES = ("p50", "p90", "p99", "p999", "p9999", "max")
STAGES_MIN = 3
SERIES_COLUMNS = 4
MIB = 1 << 20


def style(name):
    color, marker = STYLES.get(name, OTHER_STYLE)
    return {"color": color, "marker": marker, "zorder": 3 if name == SUBJECT else 2}


class Book:
    """Writes plots and says which there are."""

    def __init__(self, folder):
        self.folder = folder

    def save(self, figure, title, name):
        figure.savefig(self.folder / f"{name}.png", dpi=110, bbox_inches="tight")
        path = self.folder / f"{name}.svg"
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        # Kept in version control, where trailing blanks are an error.
        path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text(encoding="utf-8").splitlines()), encoding="utf-8")
        plt.close(figure)
        print(f"{title}\t{name}")


def ratios_plot(book, results, figure, title, name):
    """A row for each program, a mark for each allocator at its ratio to glibc, a line over its quartiles."""
    programs = [each for each in results.measured() if results.median(each, PLAIN, figure)]
    if not programs:
        return
    drawing, axes = plt.subplots(figsize=(9, 1.5 + 0.27 * len(programs)))
    others = [each for each in results.allocators if each != PLAIN]
    for step, allocator in enumerate(others):
        points = []
        for row, program in enumerate(programs):
            spread = stats.spread(stats.paired_ratios(results.values(program, allocator, figure),
                                                      results.values(program, PLAIN, figure)))
            if spread and spread[2] > 0:
                points.append((row + (step - (len(others) - 1) / 2) * 0.11, spread))
        if points:
            axes.errorbar([spread[2] for _, spread in points], [height for height, _ in points],
                          xerr=[[spread[2] - spread[1] for _, spread in points], [spread[3] - spread[2] for _, spread in points]],
                          linestyle="none", markersize=6 if allocator == SUBJECT else 4, linewidth=1, label=allocator,
                          **style(allocator))
    axes.axvline(1, color=STYLES[PLAIN][0], linewidth=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_yticks(range(len(programs)), [f"{each['group']}/{each['name']}" for each in programs])
    axes.set_ylim(len(programs) - 0.5, -0.5)
    axes.grid(axis="x", which="both", color="#dddddd", linewidth=0.5)
    axes.set_xlabel("ratio to glibc, median and quartiles; left is better")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0, 1, 0), ncols=6, frameon=False, fontsize=8)
    axes.set_title(title, pad=28)
    book.save(drawing, title, name)


def lines_plot(book, title, name, labels, lines, ylabel, xlabel="", log=False):
    """lines: allocator -> one value, or None, for each label."""
    drawing, axes = plt.subplots(figsize=(7, 4))
    for allocator, values in lines.items():
        known = [(at, value) for at, value in enumerate(values) if value is not None]
        if known:
            axes.plot([at for at, _ in known], [value for _, value in known], label=allocator,
                      linewidth=2 if allocator == SUBJECT else 1, markersize=5, **style(allocator))
    axes.set_xticks(range(len(labels)), labels, rotation=20 if max(map(len, labels)) > 12 else 0,
                    ha="right" if max(map(len, labels)) > 12 else "center")
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.set_title(title)
    axes.legend(frameon=False, fontsize=8)
    book.save(drawing, title, name)


def scaling_plots(book, results):
    series = {}
    for program in results.measured():
        if program["scaling"]:
            series.setdefault(program["scaling"], []).append(program)
    for name, programs in series.items():
        programs.sort(key=lambda each: each["threads"])
        if len(programs) < 2:
            continue
        labels = [str(each["threads"]) for each in programs]
        for figure, title, unit in (("wall_s", "time of the same work", "s"), ("peak_rss_bytes", "peak RSS", "MiB")):
            scale = MIB if unit == "MiB" else 1
            lines = {allocator: [value and value / scale for value in (results.median(each, allocator, figure) for each in programs)]
                     for allocator in results.allocators}
            lines_plot(book, f"{name}: {title}", f"scaling-{name}-{figure.partition('_')[0]}", labels, lines, unit, "threads")


def latency_plots(book, results):
    for program in results.measured():
        calls = {}
        for name in results.printed_figures(program):
            match = PERCENTILE.match(name)
            if match:
                calls.setdefault((match["before"] + " " + match["after"]).strip("_ "), {})[match["which"]] = name
        for call, names in calls.items():
            which = [each for each in PERCENTILES if each in names]
            if len(which) < 3:
                continue
            lines = {allocator: [results.median(program, allocator, names[each]) for each in which]
                     for allocator in results.allocators}
            title = f"{program['name']}: latency" + (f" of {call}" if call else "")
            lines_plot(book, title, "latency-" + "-".join([program["name"], *call.split()]), which, lines, "ns", log=True)


def stages_of(results, program):
    """[(label, allocator -> bytes)] over the program's life: a list it prints, or its rss_* figures in their order."""
    first = next(sample for samples in program["samples"].values() for sample in samples if sample)["figures"]
    for name, value in first.items():
        if name.startswith("rss_") and isinstance(value, list):
            return [str(at) for at in range(len(value))], {
                allocator: [stats.median([sample["figures"][name][at] for sample in results.samples(program, allocator) if sample])
                            for at in range(len(value))] for allocator in results.allocators}
    names = [name for name in first if name.startswith("rss_") and name.endswith("_bytes")]
    return [name[len("rss_"):-len("_bytes")] for name in names], {
        allocator: [results.median(program, allocator, name) for name in names] for allocator in results.allocators}


def memory_plots(book, results):
    for program in results.measured():
        labels, lines = stages_of(results, program)
        if len(labels) >= STAGES_MIN:
            in_mib = {allocator: [value if value is None else value / MIB for value in values] for allocator, values in lines.items()}
            lines_plot(book, f"{program['name']}: RSS by stage", f"rss-{program['name']}", labels, in_mib, "MiB", "stages of the program")


def series_plot(book, results, group, title):
    """Resident memory of each program over its own time, one small plot for each."""
    programs = [program for program in results.measured(group) if any(program.get("rss_series", {}).values())]
    if not programs:
        return
    rows = -(-len(programs) // SERIES_COLUMNS)
    drawing, grid = plt.subplots(rows, SERIES_COLUMNS, figsize=(3 * SERIES_COLUMNS, 1.9 * rows), squeeze=False)
    drawn = {}
    for axes, program in zip(grid.flat, programs):
        for allocator, series in program["rss_series"].items():
            color, _ = STYLES.get(allocator, OTHER_STYLE)
            drawn[allocator], = axes.plot([ms / 1000 for ms, _ in series], [size / MIB for _, size in series], color=color,
                                          linewidth=1.5 if allocator == SUBJECT else 0.8, zorder=3 if allocator == SUBJECT else 2)
        axes.set_title(program["name"], fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
    for axes in grid.flat[len(programs):]:
        axes.set_visible(False)
    drawing.supxlabel("s")
    drawing.supylabel("MiB")
    drawing.legend(drawn.values(), drawn.keys(), loc="lower left", bbox_to_anchor=(0, 1), ncols=6, frameon=False)
    drawing.tight_layout()
    book.save(drawing, title, f"rss-over-time-{group}")


def main():
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "quarry", "axes.unicode_minus": False, "font.size": 9})
    results = results_module.load(sys.argv[1])
    book = Book(pathlib.Path(sys.argv[2]))
    ratios_plot(book, results, "time", "Time of each program", "time")
    ratios_plot(book, results, "peak_rss_bytes", "Peak RSS of each program", "memory")
    scaling_plots(book, results)
    latency_plots(book, results)
    memory_plots(book, results)
    series_plot(book, results, "scenario", "Resident memory of the scenarios over time")
    series_plot(book, results, "real", "Resident memory of the real programs over time")


if __name__ == "__main__":
    main()
