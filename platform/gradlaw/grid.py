"""Grids expanded: every combination checked, each with its program, its trials cut into packs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice, product
from typing import NamedTuple, TypeVar

from gradlaw.errors import ConfigurationError
from gradlaw.fingerprint import digest, encode
from gradlaw.grid_faults import (
    STEPS,
    combination_faults,
    grid_faults,
    is_measurement,
    items_of,
    program_faults,
    steps_of,
)
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.measurement import Measurement
from gradlaw.pack import ENGINE_HYPERPARAMETERS, Member, Pack, Program, Training
from gradlaw.rule import Rule
from gradlaw.schedules import Schedule
from gradlaw.study import Grid
from gradlaw.task import Task
from gradlaw.trial import Family, Trial

Values = Mapping[str, Scalar]
Key = tuple[Scalar, ...]
"""Values of the structural hyperparameters: equal for trials that may share a pack."""


Part = TypeVar("Part")


class Arm(NamedTuple):
    """One combination of a grid: a trial but for its seed."""

    values: Values
    steps: int


class _Encoded(NamedTuple):
    """An arm, ready for its seeds: what it shares with others, and its values off their defaults."""

    family: Family
    values: Values
    changed: Values
    text: str

    def trial(self, seed: int, cohort: str = "") -> Trial:
        return self.family.trial(self.changed, self.text, seed, cohort)


_Place = tuple[_Encoded, int]
"""An arm and a seed: one trial."""


@dataclass
class _Group:
    """The arms that run one program."""

    program: Program
    arms: list[Arm] = field(default_factory=list)


def declared_by(grid: Grid) -> dict[str, Hyperparameter]:
    """Every hyperparameter of a grid by name: the task's, the rule's, the schedule's, the engine's.

    Raises:
        ConfigurationError: One name is declared twice with different meanings.
    """
    parts = [*grid.task.hyperparameters]
    if isinstance(grid.task, Task):
        parts = [item for item in parts if not item.structural]  # it is already constructed
    if not is_measurement(grid.task):
        parts += [*grid.rule.hyperparameters, *grid.schedule.hyperparameters, *ENGINE_HYPERPARAMETERS]
    found: dict[str, Hyperparameter] = {}
    for item in parts:
        if found.setdefault(item.name, item) != item:
            fault = f"{item.name}: declared twice with different meanings in one grid; rename one"
            raise ConfigurationError([fault])
    return found


def expand(
    study: str, grids: Sequence[Grid], seeds: Sequence[int]
) -> tuple[list[Pack], list[tuple[Member, str]]]:
    """Packs and skipped members of all grids. Packs with the lowest seeds come first."""
    faults: list[str] = []
    packs: list[Pack] = []
    skipped: list[tuple[Member, str]] = []
    for number, grid in enumerate(grids):
        expansion = _GridExpansion(grid)
        if expansion.faults:
            faults += [f"grid {number} ({grid.task.name}): {fault}" for fault in expansion.faults]
            continue
        packs += expansion.packs(study, seeds)
        skipped += expansion.skipped(seeds)
    if faults:
        raise ConfigurationError(dict.fromkeys(faults))
    packs.sort(key=lambda pack: pack.members[0].trial.seed)
    return packs, skipped


class _GridExpansion:
    """One grid's combinations of values, checked, and the programs they need."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._declared = declared_by(grid)
        self._structural = [name for name, item in self._declared.items() if item.structural]
        self._defaults = {name: item.default for name, item in self._declared.items()}
        self.faults = grid_faults(grid, self._declared)
        self._groups: dict[Key, _Group | None] = {}
        self._skips: list[tuple[Arm, str]] = []
        if not self.faults:
            for arm in self._arms():
                self._add(arm)

    def _arms(self) -> Iterator[Arm]:
        """Every combination. Steps vary slowest, so that trials of one length are neighbours."""
        grid, declared = self._grid, self._declared
        points = [{name: declared[name].cast(point[name]) for name in point} for point in grid.points]
        together = set(points[0]) if points else set()
        axes = [
            [(name, item.cast(value)) for value in items_of(grid.values.get(name, item.default))]
            for name, item in declared.items()
            if name not in together
        ]
        for steps in steps_of(grid):
            for point in points or [{}]:
                for pairs in product(*axes):
                    yield Arm({**point, **dict(pairs)}, steps)

    def _add(self, arm: Arm) -> None:
        values, steps = arm
        if self._grid.skip:
            known = values if is_measurement(self._grid.task) else {STEPS.name: steps, **values}
            reason = self._grid.skip(known)
            if reason is not None:
                self._skips.append((arm, reason))
                return
        key = tuple([values[name] for name in self._structural])
        if key not in self._groups:
            self._groups[key] = self._group(values)
        group = self._groups[key]
        if group is None:
            return
        group.arms.append(arm)
        if isinstance(group.program, Training):
            self.faults += combination_faults(group.program, values, steps)

    def _group(self, values: Values) -> _Group | None:
        """The program of a combination; None, and faults, where it is impossible."""
        try:
            program = self._build(values)
        except ConfigurationError as error:  # a task's own check of its sizes
            self.faults += error.faults
            return None
        if isinstance(program, Training):
            self.faults += program_faults(program)
        return _Group(program)

    def _build(self, values: Values) -> Program:
        grid = self._grid
        if is_measurement(grid.task):
            return _construct(grid.task, values)
        return Training(
            task=grid.task if isinstance(grid.task, Task) else self._task(grid.task, values),
            rule=_construct(grid.rule, values),
            schedule=_construct(grid.schedule, values),
            probes=grid.probes,
            batch_size=int(values["batch_size"]),
            sampling="epoch" if values["sampling"] == "epoch" else "iid",
            steps=max(steps_of(grid)),
            log_every=grid.log_every,
            dtype=grid.dtype,
            loss_bound=grid.loss_bound,
            target=grid.target,
            halving=grid.halving,
        )

    @staticmethod
    def _task(kind: type, values: Values) -> Task:
        task = _construct(kind, values)
        assert isinstance(task, Task)
        return task

    def _family(self, steps: int, data_digest: str) -> Family:
        grid = self._grid
        if is_measurement(grid.task):
            task = _versioned(grid.task)
            return Family(Trial(task=task, hyperparameters={}, seed=0, data_digest=data_digest))
        target = grid.target and replace(grid.target, value=float(grid.target.value))
        return Family(
            Trial(
                task=_versioned(grid.task),
                rule=_versioned(grid.rule),
                schedule=_versioned(grid.schedule),
                hyperparameters={},
                seed=0,
                steps=steps,
                dtype=grid.dtype,
                data_digest=data_digest,
                target=encode(target) if target else "",
            )
        )

    def packs(self, study: str, seeds: Sequence[int]) -> Iterator[Pack]:
        """Members grouped by program, seeds outermost, cut at the grid's width."""
        for group in filter(None, self._groups.values()):
            program = group.program
            data_digest = ""
            if isinstance(program, Training):
                data_digest = program.task.data_digest()
                program = replace(program, steps=max(arm.steps for arm in group.arms))
            places = self._places(group.arms, seeds, data_digest)
            while part := list(islice(places, self._grid.pack_width)):
                yield self._pack(study, program, part)

    def _places(self, arms: Sequence[Arm], seeds: Sequence[int], data_digest: str) -> Iterator[_Place]:
        families = {steps: self._family(steps, data_digest) for steps in {arm.steps for arm in arms}}
        defaults = self._defaults
        encoded = []
        for values, steps in arms:
            changed = {name: value for name, value in values.items() if value != defaults[name]}
            encoded.append(_Encoded(families[steps], values, changed, encode(changed)))
        return ((arm, seed) for seed in seeds for arm in encoded)

    def _pack(self, study: str, program: Program, places: Sequence[_Place]) -> Pack:
        trials = [arm.trial(seed) for arm, seed in places]
        if self._grid.halving:
            cohort = digest([self._grid.halving, sorted(trial.trial_id for trial in trials)])
            trials = [arm.trial(seed, cohort) for arm, seed in places]
        probes = [probe.digest for probe in program.probes] if isinstance(program, Training) else []
        return Pack(
            pack_id=digest([[trial.trial_id for trial in trials], probes], length=16),
            study=study,
            program=program,
            members=tuple([_member(trial, arm) for trial, (arm, _) in zip(trials, places, strict=True)]),
        )

    def skipped(self, seeds: Sequence[int]) -> Iterator[tuple[Member, str]]:
        """One member for each seed of each combination that is not to run.

        Its identity leaves out the data, so that it is never taken for a trial that ran.
        """
        reasons = cycle([reason for _, reason in self._skips])
        places = self._places([arm for arm, _ in self._skips], seeds, "skipped")
        for (arm, seed), reason in zip(places, reasons, strict=False):
            yield _member(arm.trial(seed), arm), reason


def _member(trial: Trial, arm: _Encoded) -> Member:
    return Member(trial=trial, hyperparameters=arm.values)


def _versioned(part: Task | type[Task | Measurement | Rule | Schedule]) -> str:
    return f"{part.name}@{part.version}"


def _construct(kind: Callable[..., Part], values: Values) -> Part:
    """An instance of a task, rule, schedule or measurement from its structural hyperparameters."""
    declared: tuple[Hyperparameter, ...] = getattr(kind, "hyperparameters", ())
    return kind(**{item.name: values[item.name] for item in declared if item.structural})
