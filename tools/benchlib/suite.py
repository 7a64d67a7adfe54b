# SPDX-License-Identifier: MIT
"""Reads bench/suite.toml: what is run, in which groups, and which figures count. The table's head says what a field means."""
import dataclasses
import os
import pathlib
import tomllib

from benchlib.machine import ROOT

TABLE = ROOT / "bench/suite.toml"
GROUPS = ("micro", "scenario", "real", "replay")
DEFAULT_FIGURES = ("wall_s",)
TRACE = "{trace}"
FULL, QUICK, SMOKE = "full", "quick", "smoke"


class SuiteError(ValueError):
    """The table says something that cannot be run."""


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    group: str
    command: tuple
    quick: tuple = ()
    smoke: tuple = ()
    environment: dict = dataclasses.field(default_factory=dict)
    figures: tuple = DEFAULT_FIGURES
    threads: int = 1
    big_heap: bool = False
    own_mappings: bool = False
    scaling: str | None = None
    traces: str | None = None

    @property
    def label(self):
        return f"{self.group}/{self.name}"


def program_of(entry):
    """One [[program]] as a Program; every field is checked, so a misspelt one is never ignored."""
    fields = {field.name: field for field in dataclasses.fields(Program)}
    unknown = sorted(set(entry) - set(fields))
    if unknown:
        raise SuiteError(f"{entry.get('name', 'a program')}: unknown fields {', '.join(unknown)}")
    missing = [name for name in ("name", "group", "command") if not entry.get(name)]
    if missing:
        raise SuiteError(f"{entry.get('name', 'a program')}: no {', '.join(missing)}")
    if entry["group"] not in GROUPS:
        raise SuiteError(f"{entry['name']}: group {entry['group']} is none of {', '.join(GROUPS)}")
    if not all(isinstance(value, str) for value in entry.get("environment", {}).values()):
        raise SuiteError(f"{entry['name']}: a variable of the environment is text")
    if entry.get("big_heap") and entry.get("own_mappings"):
        raise SuiteError(f"{entry['name']}: the heap is malloc's or it is not")
    if (TRACE in entry["command"]) != ("traces" in entry):
        raise SuiteError(f"{entry['name']}: traces and the word {TRACE} go together")
    return Program(**{name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()})


def with_traces(program, root):
    """One program per trace file; the entry itself when it has none or there is none to be found."""
    if program.traces is None:
        return [program]
    paths = sorted(root.glob(program.traces))
    return [dataclasses.replace(
        program, name=f"{program.name}-{path.stem}", traces=None,
        command=tuple(str(path) if word == TRACE else word for word in program.command)) for path in paths] or [program]


def load(table=TABLE, root=ROOT):
    """Every program of the table, in its order."""
    with open(table, "rb") as source:
        content = tomllib.load(source)
    programs = [each for entry in content["program"] for each in with_traces(program_of(entry), root)]
    names = [program.name for program in programs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SuiteError(f"named twice: {', '.join(twice)}")
    return programs


def find_built(programs_dir, name):
    """A program that meson builds, in the folder of any group; None when it is not there."""
    return next((path for path in sorted(programs_dir.glob(f"**/{name}")) if path.is_file() and os.access(path, os.X_OK)), None)


def words_of(program, settings):
    """The words after the program; settings are "full", "quick" or "smoke"."""
    return program.command[1:] + (program.quick if settings == QUICK else program.smoke if settings == SMOKE else ())


def command_of(program, programs_dir, settings):
    """The words to execute, or None and why there is nothing to execute."""
    if program.traces is not None:
        return None, f"there is no {program.traces}"
    first = program.command[0]
    path = ROOT / first if "/" in first else find_built(programs_dir, first)
    if path is None or not path.exists():
        return None, "not built" if "/" not in first else f"there is no {first}"
    return [str(path), *words_of(program, settings)], None
