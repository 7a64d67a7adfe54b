# SPDX-License-Identifier: MIT
"""Runs every program under every allocator, interleaved, and keeps every sample. Judges nothing."""
import collections
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from benchlib import suite
from benchlib.allocators import PLAIN

EXIT_SKIP = 77
RUN_TIMEOUT_S = 300
# Default settings of every allocator: whatever the caller has set would change one of them.
SCRUBBED = re.compile(r"^(LD_|QUARRY_|MALLOC_|MALLOCCTL|JEMALLOC_|_RJEM_|MIMALLOC_|TCMALLOC_|HEAPCHECK|HEAPPROFILE|PERFTOOLS_|SCUDO_|TBB_|"
                      r"GLIBC_TUNABLES$|BENCH_)")
# A script measures one program in the middle of its own work; what it prints replaces what wait4() said of the whole.
SERIES = "rss_series"
SERIES_GROUPS = ("scenario", "real")
PRINTED_BY_SCRIPTS = {"wall_s": "wall_s", "user_s": "user_s", "sys_s": "system_s", "peak_bytes": "peak_rss_bytes",
                      "faults": "faults", "switches": "switches"}


class Failure(RuntimeError):
    """A program ran and its figures cannot be used."""


class Skip(Exception):
    """A program cannot run here."""


def environment():
    return {name: value for name, value in os.environ.items() if not SCRUBBED.match(name)}


def last_line(*texts):
    lines = [line for text in texts for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[-300:] if lines else "no message"


def printed(stdout):
    """The figures of the last line of JSON; none when the program prints none."""
    line = next((line for line in reversed(stdout.splitlines()) if line.startswith("{")), "{}")
    try:
        return json.loads(line)
    except ValueError as error:
        raise Failure(f"its line is no JSON: {error}") from None


def sample_of(program, allocator, usage, figures):
    """One sample: what the process took, under "figures" what the program printed, and resident memory over time as (ms, bytes)."""
    if "malloc_from" in figures and figures["malloc_from"] != allocator.origin:
        raise Failure(f"malloc came from {figures['malloc_from']}, not {allocator.origin}")
    sample = {"wall_s": usage["wall_s"], "user_s": usage["user_s"], "system_s": usage["system_s"],
              "peak_rss_bytes": usage["peak_rss_bytes"], "faults": usage["minor_faults"] + usage["major_faults"],
              "major_faults": usage["major_faults"],
              "switches": usage["voluntary_switches"] + usage["involuntary_switches"],
              "voluntary_switches": usage["voluntary_switches"]}
    watched = figures if is_script(program) else usage
    if is_script(program):
        own = {ours: figures[theirs] for theirs, ours in PRINTED_BY_SCRIPTS.items() if theirs in figures}
        sample = {**({} if own else sample), **own}
    sample["figures"] = {name: value for name, value in figures.items() if name not in ("program", "malloc_from", SERIES, "rss_last_bytes")}
    # The last that was seen of a program that does not say itself what its end is.
    if watched.get("rss_last_bytes"):
        sample["figures"].setdefault("rss_end_bytes", watched["rss_last_bytes"])
    sample[SERIES] = watched.get(SERIES, [])
    return sample


def reasons(failures):
    """Each reason once, with the allocators that it stopped."""
    names = {}
    for name, why in failures.items():
        names.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(stopped)}: {why}" for why, stopped in names.items())


def is_script(program):
    return "/" in program.command[0]


@dataclasses.dataclass
class Progress:
    """One line on stderr that says what runs and how long the rest takes; a line for each program where there is no terminal."""
    total: int
    done: int = 0
    started: float = dataclasses.field(default_factory=time.monotonic)
    terminal: bool = dataclasses.field(default_factory=sys.stderr.isatty)

    def show(self, text):
        if not self.terminal:
            return
        width = shutil.get_terminal_size().columns - 1
        left_s = (time.monotonic() - self.started) / self.done * (self.total - self.done) if self.done else 0
        left = f", {left_s / 60:.0f} min left" if self.done else ""
        sys.stderr.write(f"\r\x1b[K{f'bench: {self.done}/{self.total} {text}{left}'[:width]}")
        sys.stderr.flush()

    def step(self, count=1):
        self.done += count

    def say(self, text):
        if self.terminal:
            sys.stderr.write("\r\x1b[K")
        print(f"bench: {text}", file=sys.stderr, flush=True)


class Runner:
    def __init__(self, programs_dir, scratch, allocators, rounds, settings=suite.FULL, install=False):
        self.programs_dir = programs_dir
        self.scratch = scratch
        self.allocators = allocators
        self.rounds = rounds
        self.settings = settings
        self.install = install
        self.launcher = suite.find_built(programs_dir, "bench_launch")

    def start(self, command, library=None, more_environment=None):
        """Runs to the end by bench_launch; returns the usage and what was printed."""
        read_fd, write_fd = os.pipe()
        with os.fdopen(read_fd) as report:
            try:
                process = subprocess.Popen(
                    [str(self.launcher), str(write_fd), library or "-", *command], pass_fds=(write_fd,),
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                    errors="replace", env={**environment(), **(more_environment or {})}, cwd=self.scratch,
                    start_new_session=True)
            finally:
                os.close(write_fd)
            try:
                stdout, stderr = process.communicate(timeout=RUN_TIMEOUT_S)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise Failure(f"no end after {RUN_TIMEOUT_S} s") from None
                raise
            if process.returncode != 0:
                raise Failure(f"not started: {last_line(stderr)}")
            return json.loads(report.read()), stdout, stderr

    def finish(self, usage, stdout, stderr):
        """Turns the end of a program that did not go well into Skip or Failure."""
        if usage["exit_signal"]:
            raise Failure(f"signal {usage['exit_signal']}: {last_line(stderr)}")
        if usage["exit_status"] == EXIT_SKIP:
            raise Skip(" ".join(stdout.split()) or last_line(stderr))
        if usage["exit_status"] != 0:
            raise Failure(f"status {usage['exit_status']}: {last_line(stderr, stdout)}")
        if "cannot be preloaded" in stderr:
            raise Failure(last_line(stderr))

    def set_up(self, program):
        """Scripts make their inputs once, outside the measure; they leave with 77 and the packages that are missing."""
        if not is_script(program):
            return
        command, _ = suite.command_of(program, self.programs_dir, self.settings)
        words = [command[0], "setup", str(self.scratch)] + (["--install"] if self.install else [])
        try:
            self.finish(*self.start(words))
        except Skip as missing:
            raise Skip(f"not installed: {missing}") from None

    def run_once(self, program, allocator):
        command, why_not = suite.command_of(program, self.programs_dir, self.settings)
        if command is None:
            raise Skip(why_not)
        if is_script(program):
            command = [command[0], "run", str(self.scratch), *command[1:]]
            ended = self.start(command, more_environment={**program.environment, "BENCH_PRELOAD": allocator.preload or ""})
        else:
            ended = self.start(command, allocator.preload, program.environment)
        self.finish(*ended)
        return sample_of(program, allocator, ended[0], printed(ended[1]))

    def turn(self, number):
        """The allocators in this round's order: who is first moves on by one."""
        first = number % len(self.allocators)
        return self.allocators[first:] + self.allocators[:first]

    def entry_of(self, program):
        """What the result says of a program before its first round."""
        words = suite.words_of(program, self.settings)
        return {**dataclasses.asdict(program), "status": "ran", "reason": None, "failures": {},
                "command": [program.command[0], *(pathlib.Path(word).name if "/" in word else word for word in words)],
                SERIES: {}, "samples": {allocator.name: [None] * self.rounds for allocator in self.allocators}}

    def run(self, program, progress):
        """All rounds of one program: its entry in the result."""
        entry = self.entry_of(program)
        begun = progress.done
        try:
            progress.show(f"{program.label}: setup")
            if suite.command_of(program, self.programs_dir, self.settings)[0] is not None:
                self.set_up(program)
            for number in range(self.rounds):
                self.run_round(program, number, entry, progress)
        except Skip as skip:
            entry.update(status="skipped", reason=str(skip))
        except Failure as failure:
            entry["failures"]["setup"] = str(failure)
        self.check_sums(entry)
        if entry["failures"]:
            entry.update(status="failed", reason=reasons(entry["failures"]))
        progress.done = begun + self.rounds * len(self.allocators)
        return entry

    def run_round(self, program, number, entry, progress):
        """Raises Skip when the program can run under no allocator; one that leaves with 77 under some alone has failed there."""
        skips = {}
        for allocator in self.turn(number):
            progress.show(f"{program.label}: round {number + 1} of {self.rounds}, {allocator.name}")
            if allocator.name not in entry["failures"]:
                try:
                    sample = self.run_once(program, allocator)
                    # Of one round, the last: it is for the eye.
                    series = sample.pop(SERIES)
                    if program.group in SERIES_GROUPS:
                        entry[SERIES][allocator.name] = series
                    entry["samples"][allocator.name][number] = sample
                except Skip as skip:
                    skips[allocator.name] = str(skip)
                except Failure as failure:
                    self.fail(program, entry, allocator.name, str(failure), progress)
            progress.step()
        if skips and not entry["failures"] and not any(map(any, entry["samples"].values())):
            raise Skip(next(iter(skips.values())))
        for name, why in skips.items():
            self.fail(program, entry, name, f"cannot run here, though others could: {why}", progress)

    @staticmethod
    def fail(program, entry, name, why, progress):
        entry["failures"][name] = why
        progress.say(f"FAILED {program.label} on {name}: {why}")

    @staticmethod
    def check_sums(entry):
        """What a script computed must be the same under every allocator, or the samples do not count. Right is what more than half of the
        allocators say in all their rounds, else what the C library's malloc gave; failing that nobody knows, and nobody's count."""
        sums = {name: {each["figures"]["output_sum"] for each in samples if each and "output_sum" in each["figures"]}
                for name, samples in entry["samples"].items()}
        sums = {name: found for name, found in sums.items() if found}
        votes = collections.Counter(next(iter(found)) for found in sums.values() if len(found) == 1)
        right = next((output for output, nr in votes.items() if 2 * nr > len(sums)), None)
        if right is None and len(sums.get(PLAIN, ())) == 1:
            right, = sums[PLAIN]
        for name, found in sums.items():
            if found != {right}:
                entry["failures"][name] = f"its output differs: {', '.join(sorted(found))}, not {right or 'anything most agree on'}"
                entry["samples"][name] = [None] * len(entry["samples"][name])
