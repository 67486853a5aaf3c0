"""A sweep's file read whole: every fault with its line, or the study that it stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradlaw.ending import Halving, Target
from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter
from gradlaw.measurement import Measurement
from gradlaw.planning.frame import declared_by
from gradlaw.planning.grid_faults import is_measurement
from gradlaw.rule import Rule
from gradlaw.rules import RULES
from gradlaw.schedules import SCHEDULES, Schedule
from gradlaw.study import Grid, Preset, Study
from gradlaw.sweep.document import Faults, Item, read_document
from gradlaw.sweep.fields import HALVING, KEYS, SETTINGS, TARGET, known, scalars, section
from gradlaw.sweep.name import PRESET, sweep_name
from gradlaw.sweep.override import overridden
from gradlaw.sweep.parts import load, probes
from gradlaw.sweep.search import read_search
from gradlaw.sweep.vary import Variation
from gradlaw.task import Task
from gradlaw.tasks import TASKS

MOST_TRIALS = 10_000_000
_TRAINING = (
    *("rule", "schedule", "steps", "log_every", "accumulate", "edge"),
    *("probes", "dtype", "loss_bound", "target", "halving"),
)
"""Keys that a measurement has no use for: it trains nothing."""
_PREFIX = re.compile(r"^(?:grid|edge) \d+ \([^)]*\): ")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a file stands for.

    Attributes:
        study: With one preset.
        notes: What its conditions and samples left out, in lines worth reading.
        lines: Where each key and hyperparameter stands, by name.
    """

    study: Study
    notes: tuple[str, ...]
    lines: Mapping[str, int]

    def locate(self, fault: str) -> tuple[int, str]:
        """The line of what a plan's fault is about, 1 if the file does not name it; and the fault itself.

        >>> from gradlaw.study import Study
        >>> study = Study(name="s", question="?", source="", presets={})
        >>> sweep = Sweep(study=study, notes=(), lines={"halving": 7, "lr": 4})
        >>> sweep.locate("grid 0 (digits_mlp): halving.first: got 3, allowed a multiple of log_every = 2")
        (7, 'halving.first: got 3, allowed a multiple of log_every = 2')
        """
        said = _PREFIX.sub("", fault)
        parts = said.split(": ")
        for most in range(len(parts) - 1, 0, -1):
            place = ": ".join(parts[:most])
            for name in (place, place.rpartition(".")[0]):
                if name in self.lines:
                    return self.lines[name], said
        return 1, said


def read_sweep(path: Path, overrides: Mapping[str, object] | None = None) -> Sweep:
    """Reads a file.

    Args:
        path: The file.
        overrides: What stands in place of what it says; see :mod:`gradlaw.sweep.override`.

    Raises:
        ConfigurationError: All its faults, each with its line.
    """
    faults = Faults(str(path))
    found = known(overridden(read_document(path, faults), overrides or {}), KEYS, "key", faults)
    name = sweep_name(path, found, faults)
    settings = scalars(found, SETTINGS, "", faults)
    grid, whole = _grid(found, faults)
    if "search" in found:
        return _searching(name, path, found, grid if whole else None, settings, faults)
    varied = Variation(found, _declared(grid, found, faults), faults, whole=whole)
    seeds, question = settings.pop("seeds", 1), settings.pop("question", "")
    combinations = varied.combinations
    most = len(combinations) * seeds * max((2 + edge.halvings for edge in varied.edge.values()), default=1)
    if most > MOST_TRIALS:
        faults.add(1, f"got {most:,} trials, allowed {MOST_TRIALS:,}")
    parts = [] if faults else combinations.parts(faults)
    if faults or grid is None:
        raise faults.error()
    if left_out := len(combinations) - sum(map(len, parts)):
        varied.notes.append(f"{left_out:,} of {len(combinations):,} combinations left out by where")
    grids = [
        replace(
            grid,
            values={**varied.values, **varied.edge, **part.axes},
            points=part.points,
            steps=part.steps if len(part.steps) > 1 else part.steps[0],
            **settings,
        )
        for part in parts
    ]
    preset = Preset(doc=f"all of {path.name}", grids=tuple(grids), seeds=seeds)
    lines = {name: item.line for name, item in found.items()} | varied.lines
    return Sweep(study=_study(name, question, path, preset), notes=tuple(varied.notes), lines=lines)


def _searching(
    name: str,
    path: Path,
    found: Mapping[str, Item],
    base: Grid | None,
    settings: dict[str, Any],
    faults: Faults,
) -> Sweep:
    """A sweep whose arms are searched, instead of a grid."""
    seeds, question = settings.pop("seeds", 1), settings.pop("question", "")
    searched = read_search(name, found, base, settings, faults)
    if searched.search is None:
        raise faults.error()
    search = searched.search
    num_trials = len(search.arms) * (search.budget * search.tuning_seeds + seeds)
    if num_trials > MOST_TRIALS:
        faults.add(1, f"got {num_trials:,} trials, allowed {MOST_TRIALS:,}")
        raise faults.error()
    preset = Preset(doc=f"all of {path.name}", grids=(), seeds=seeds, searches=(search,))
    return Sweep(study=_study(name, question, path, preset), notes=(), lines=searched.lines)


def _study(name: str, question: str, path: Path, preset: Preset) -> Study:
    return Study(
        name=name,
        question=question or f"What does the sweep {name} show?",
        source=path.name,
        presets={PRESET: preset},
    )


def _grid(found: Mapping[str, Item], faults: Faults) -> tuple[Grid | None, bool]:
    """The classes, probes and early ends of a sweep, none without a task; and whether all were found."""
    if "task" not in found:
        faults.add(1, "task: missing; allowed a name or an import path package.module:Class")
        return None, False
    task = load(found["task"], "task", TASKS, (Task, Measurement), faults)
    chosen = {
        kind: load(found[kind], kind, registry, base, faults)
        for kind, registry, base in (("rule", RULES, Rule), ("schedule", SCHEDULES, Schedule))
        if kind in found
    }
    whole = None not in (task, *chosen.values())
    if "probes" in found:
        chosen["probes"] = probes(found["probes"], faults)
    for name, declared, required, kind in (
        ("target", TARGET, ("metric", "value"), Target),
        ("halving", HALVING, ("metric", "first"), Halving),
    ):
        if name in found and (given := section(found[name], name, declared, required, faults)):
            chosen[name] = kind(**given)
    if task is None:
        return None, False
    _check_trained(task, found, faults)
    return Grid(task=task, **{kind: part for kind, part in chosen.items() if part is not None}), whole


def _check_trained(task: Task | type[Task | Measurement], found: Mapping[str, Item], faults: Faults) -> None:
    """A task needs steps; a measurement has no use for them, nor for what goes with them."""
    if not is_measurement(task) and "steps" not in found:
        faults.add(1, "steps: missing; allowed a number >= 0, or an axis of numbers")
    for name, item in found.items() if is_measurement(task) else ():
        if name in _TRAINING:
            faults.add(item.line, f"{name}: {task.name} is a measurement, which trains nothing; leave it out")


def _declared(grid: Grid | None, found: Mapping[str, Item], faults: Faults) -> dict[str, Hyperparameter]:
    """The hyperparameters that the file may name."""
    try:
        return declared_by(grid) if grid else {}
    except ConfigurationError as error:
        for fault in error.faults:
            faults.add(found["task"].line, fault)
        return {}
