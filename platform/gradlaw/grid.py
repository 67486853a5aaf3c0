"""Grids expanded: every combination checked, each with its program, its trials cut into packs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeGuard, TypeVar

from gradlaw.errors import ConfigurationError
from gradlaw.fingerprint import digest
from gradlaw.hyperparameter import Hyperparameter, Scalar, unknown_names
from gradlaw.measurement import Measurement
from gradlaw.pack import ENGINE_HYPERPARAMETERS, Member, Pack, Program, Training
from gradlaw.random import streams_of
from gradlaw.rule import Rule
from gradlaw.schedules import Schedule
from gradlaw.study import Grid
from gradlaw.task import Task
from gradlaw.trial import Trial

Values = Mapping[str, Scalar]
Key = tuple[Scalar, ...]
"""Values of the structural hyperparameters: equal for trials that may share a pack."""


Part = TypeVar("Part")


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


def is_measurement(task: object) -> TypeGuard[type[Measurement]]:
    """Whether a grid's task is a measurement: nothing is trained."""
    return isinstance(task, type) and issubclass(task, Measurement)


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
            faults += [f"grid {number} ({expansion.label}): {fault}" for fault in expansion.faults]
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
        self._steps = grid.steps if isinstance(grid.steps, tuple) else (grid.steps,)
        self.label = grid.task.name
        self.faults = self._range_faults()
        self._programs: dict[Key, Program] = {}
        self._data_digests: dict[Key, str] = {}
        self._runs: list[Values] = []
        self._skips: list[tuple[Values, str]] = []
        if not self.faults:
            self._combine()

    def _range_faults(self) -> list[str]:
        grid = self._grid
        faults = unknown_names(grid.values, self._declared)
        for name, value in grid.values.items():
            items = value if isinstance(value, tuple) else (value,)
            if name in self._declared:
                faults += [fault for item in items if (fault := self._declared[name].check(item))]
                faults += [f"{name}: got {item!r} twice, allowed once" for item in _repeated(items)]
        for name, amount, low in (
            ("steps", min(self._steps), 0),
            ("log_every", grid.log_every, 1),
            ("pack_width", grid.pack_width, 1),
        ):
            if amount < low:
                faults.append(f"{name}: got {amount}, allowed >= {low}")
        return faults

    def _combine(self) -> None:
        axes = [
            [(name, item.cast(value)) for value in _items(self._grid.values.get(name, item.default))]
            for name, item in self._declared.items()
        ]
        for combination in itertools.product(*axes):
            values = dict(combination)
            reason = self._grid.skip(values) if self._grid.skip else None
            if reason is not None:
                self._skips.append((values, reason))
                continue
            self._runs.append(values)
            self.faults += self._combined_faults(values)

    def _combined_faults(self, values: Values) -> list[str]:
        try:
            program = self._program(values)
        except ConfigurationError as error:  # a task's own check of its sizes
            return list(error.faults)
        if isinstance(program, Measurement):
            return []
        faults = program.rule.faults(values) + program.schedule.faults(values, program.steps)
        if program.task.num_rows is None:
            if program.batch_size == 0:
                faults.append("batch_size: got 0 (the whole training set) of a stream, allowed >= 1")
            return faults
        num_train = len(program.task.split(streams_of(0)).train)
        if program.sampling == "epoch" and program.batch_size > num_train:
            faults.append(
                f"batch_size: got {program.batch_size}, allowed 0 .. {num_train}, the training rows "
                "(sampling 'epoch' draws without replacement)"
            )
        return faults

    def _key(self, values: Values) -> Key:
        return tuple(values[name] for name, item in self._declared.items() if item.structural)

    def _program(self, values: Values) -> Program:
        key = self._key(values)
        if key not in self._programs:
            self._programs[key] = self._build(values)
        return self._programs[key]

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
            steps=max(self._steps),
            log_every=grid.log_every,
            dtype=grid.dtype,
            loss_bound=grid.loss_bound,
        )

    @staticmethod
    def _task(kind: type, values: Values) -> Task:
        task = _construct(kind, values)
        assert isinstance(task, Task)
        return task

    def _member(self, values: Values, seed: int, data_digest: str) -> Member:
        grid = self._grid
        changed = {name: value for name, value in values.items() if value != self._declared[name].default}
        if is_measurement(grid.task):
            trial = Trial(
                task=_versioned(grid.task), hyperparameters=changed, seed=seed, data_digest=data_digest
            )
        else:
            trial = Trial(
                task=_versioned(grid.task),
                rule=_versioned(grid.rule),
                schedule=_versioned(grid.schedule),
                hyperparameters=changed,
                seed=seed,
                steps=max(self._steps),
                dtype=grid.dtype,
                data_digest=data_digest,
            )
        return Member(trial=trial, hyperparameters=values)

    def _data_digest(self, values: Values) -> str:
        key = self._key(values)
        if key not in self._data_digests:
            program = self._program(values)
            self._data_digests[key] = program.task.data_digest() if isinstance(program, Training) else ""
        return self._data_digests[key]

    def packs(self, study: str, seeds: Sequence[int]) -> list[Pack]:
        """Members grouped by program, seeds outermost, cut at the grid's width."""
        groups: dict[Key, list[Member]] = {}
        for seed in seeds:
            for values in self._runs:
                groups.setdefault(self._key(values), []).append(
                    self._member(values, seed, self._data_digest(values))
                )
        width = self._grid.pack_width
        return [
            _pack(study, self._programs[key], members[start : start + width])
            for key, members in groups.items()
            for start in range(0, len(members), width)
        ]

    def skipped(self, seeds: Sequence[int]) -> list[tuple[Member, str]]:
        """One member for each seed of each combination that is not to run.

        Its identity leaves out the data, so that it is never taken for a trial that ran.
        """
        return [
            (self._member(values, seed, "skipped"), reason)
            for seed in seeds
            for values, reason in self._skips
        ]


def _repeated(items: Sequence[Scalar]) -> list[Scalar]:
    return [item for item, count in Counter(items).items() if count > 1]


def _items(value: Scalar | tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else (value,)


def _versioned(part: Task | type[Task | Measurement | Rule | Schedule]) -> str:
    return f"{part.name}@{part.version}"


def _construct(kind: Callable[..., Part], values: Values) -> Part:
    """An instance of a task, rule, schedule or measurement from its structural hyperparameters."""
    declared: tuple[Hyperparameter, ...] = getattr(kind, "hyperparameters", ())
    return kind(**{item.name: values[item.name] for item in declared if item.structural})


def _pack(study: str, program: Program, members: Sequence[Member]) -> Pack:
    probes = [probe.digest for probe in program.probes] if isinstance(program, Training) else []
    identity = [[member.trial.trial_id for member in members], probes]
    return Pack(pack_id=digest(identity, length=16), study=study, program=program, members=tuple(members))
