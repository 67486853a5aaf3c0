"""Study: a question, the trials that answer it, and what they measure. Declared as data.

A study is a folder: ``study.py`` (``STUDY``), ``claims.py`` (``CLAIMS``), ``*.sql``, ``figures.py``
(``FIGURES``), ``README.md``. It is found without registration elsewhere; see :mod:`gradlaw.studies`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gradlaw.ending import Direction, Halving, Target
from gradlaw.hyperparameter import Scalar
from gradlaw.measurement import Measurement
from gradlaw.probe import Probe, TableProbe
from gradlaw.rule import Rule
from gradlaw.rules.sgd import SGD
from gradlaw.schedules import Constant, Schedule
from gradlaw.space import Dimension, Edge
from gradlaw.table import Table
from gradlaw.task import Task

Skip = Callable[[Mapping[str, Scalar]], str | None]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Trials that share task, rule, schedule and probes; their product over points, axes and seeds.

    Attributes:
        task: A task or measurement class, constructed with its structural hyperparameters, or a task.
        rule: A rule class, constructed with its structural hyperparameters.
        schedule: A schedule class.
        values: Hyperparameters by name; a tuple of values is an axis of the grid, an :class:`Edge` one whose
            value is found by bisection. What is not named stands at its declared default.
        points: Hyperparameters that vary together: each point is a mapping from names to single values, all
            with the same names, none of them in ``values``. The grid is the product of points and axes. A
            name may be ``steps``, in place of the field.
        steps: Steps to train, >= 0 (0 for a measurement); a tuple is an axis.
        log_every: Steps between rows of ``metrics``, >= 1.
        accumulate: Parts in which a batch is taken, one after the other, >= 1. Gradients are averaged over
            them: the same trials to rounding, in the memory of one part. Not for tasks with buffers.
        probes: What is measured.
        dtype: Of parameters and data.
        pack_width: Largest number of trials in one pack, >= 1.
        loss_bound: A loss above it counts as divergence.
        target: Where a trial ends early.
        halving: How the trials of a pack share a budget; then a pack runs whole or not at all.
        skip: Gives the reason why a combination is not to be run, or None: it becomes a skipped row.
    """

    task: type[Task | Measurement] | Task
    rule: type[Rule] = SGD
    schedule: type[Schedule] = Constant
    values: Mapping[str, Scalar | tuple[Scalar, ...] | Edge] = field(default_factory=dict)
    points: tuple[Mapping[str, Scalar], ...] = ()
    steps: int | tuple[int, ...] = 0
    log_every: int = 1
    accumulate: int = 1
    probes: tuple[Probe, ...] = ()
    dtype: Literal["float32", "float64"] = "float32"
    pack_width: int = 64
    loss_bound: float = 1e6
    target: Target | None = None
    halving: Halving | None = None
    skip: Skip | None = None


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a search: what stands fixed, and what is searched.

    Attributes:
        name: Lower-case words joined by underscores.
        grid: What every configuration has in common: single values alone, no points.
        space: The searched hyperparameters by name, none of them in the grid's values. A structural one is
            given as :class:`Choices`, since each value is a program of its own.
    """

    name: str
    grid: Grid
    space: Mapping[str, Dimension]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Arms tuned with equal budgets; then the best configuration of each on fresh seeds.

    A configuration is tried on ``tuning_seeds`` seeds of a range of their own and ranked by the mean of its
    metric at each trial's last row. One that diverged, failed or gave no finite number on any of them ranks
    last. The best of each arm then runs on the preset's seeds.

    Attributes:
        name: Lower-case words joined by underscores, once in a preset.
        arms: What is compared.
        budget: Configurations of every arm, >= 1.
        metric: A column of ``metrics``, or ``steps_to_target``: the steps done of a trial that reached the
            grid's target; others rank last.
        direction: "below" where small values are good.
        sampler: "tpe" learns from what has ended; "sobol" and "random" do not look, and ask for all at once.
        per_round: Configurations that each arm asks for before it looks again, >= 1.
        tuning_seeds: Seeds of each configuration, >= 1.
        budgets: Budgets by arm. They must be those of ``budget``: arms with unequal budgets are refused.
    """

    name: str
    arms: tuple[Arm, ...]
    budget: int
    metric: str = ""
    direction: Direction = "below"
    sampler: Literal["tpe", "sobol", "random"] = "tpe"
    per_round: int = 8
    tuning_seeds: int = 1
    budgets: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One size of a study.

    Attributes:
        doc: What it is for and what it costs, in a line.
        grids: Its trials.
        seeds: Number of seeds, >= 1.
        searches: What is tuned, beside the grids.
        decides: Whether claims may be decided on it. A preset that only tests the plumbing does not.
    """

    doc: str
    grids: tuple[Grid, ...]
    seeds: int
    searches: tuple[Search, ...] = ()
    decides: bool = True


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question and the presets that answer it.

    Attributes:
        name: Lower-case words joined by underscores; the folder's name.
        question: The question, in a sentence that ends with a question mark.
        source: Where the question comes from.
        presets: By name; ``smoke``, ``demo`` and ``paper`` have the meaning given in the docs.
    """

    name: str
    question: str
    source: str
    presets: Mapping[str, Preset]

    def tables(self) -> tuple[Table, ...]:
        """The tables that the study's probes and measurements declare, each once."""
        found: dict[str, Table] = {}
        for preset in self.presets.values():
            searched = (arm.grid for search in preset.searches for arm in search.arms)
            for grid in (*preset.grids, *searched):
                found.update({table.name: table for table in grid_tables(grid)})
        return tuple(found.values())


def grid_tables(grid: Grid) -> tuple[Table, ...]:
    """The tables that one grid's probes or measurement fill."""
    if isinstance(grid.task, type) and issubclass(grid.task, Measurement):
        return grid.task.tables()
    return tuple(table for probe in grid.probes if isinstance(probe, TableProbe) for table in probe.tables())
