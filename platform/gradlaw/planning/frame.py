"""Frame: what the trials of a grid have in common but their values; it makes programs, trials and packs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, signature
from itertools import islice
from typing import NamedTuple, TypeVar

from gradlaw.errors import ConfigurationError
from gradlaw.fingerprint import digest, encode
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.measurement import Measurement
from gradlaw.pack import ENGINE_HYPERPARAMETERS, Member, Pack, Program, Training
from gradlaw.planning.grid_faults import is_measurement, program_faults, steps_of
from gradlaw.rule import Rule
from gradlaw.schedules import Schedule
from gradlaw.study import Grid
from gradlaw.task import Task
from gradlaw.trial import Family, Trial

Values = Mapping[str, Scalar]
Key = tuple[Scalar, ...]
"""Values of the structural hyperparameters: equal for trials that may share a pack."""

Part = TypeVar("Part")


class Combination(NamedTuple):
    """One combination of a grid: a trial but for its seed. ``values`` has every hyperparameter."""

    values: Values
    steps: int


class Encoded(NamedTuple):
    """A combination, ready for its seeds: what it shares with others, and its values off their defaults."""

    family: Family
    values: Values
    changed: Values
    text: str

    def member(self, seed: int, cohort: str = "") -> Member:
        """One trial."""
        trial = self.family.trial(self.changed, self.text, seed, cohort)
        return Member(trial=trial, hyperparameters=self.values)


Place = tuple[Encoded, int]
"""A combination and a seed: one trial."""


def declared_by(grid: Grid) -> dict[str, Hyperparameter]:
    """Every hyperparameter of a grid by name: the task's, the rule's, the schedule's, the engine's.

    Raises:
        ConfigurationError: One name is declared twice with different meanings.
    """
    parts = [*grid.task.hyperparameters]
    if not is_measurement(grid.task):
        parts += [*grid.rule.hyperparameters, *grid.schedule.hyperparameters, *ENGINE_HYPERPARAMETERS]
    found: dict[str, Hyperparameter] = {}
    for item in parts:
        if found.setdefault(item.name, item) != item:
            fault = f"{item.name}: declared twice with different meanings in one grid; rename one"
            raise ConfigurationError([fault])
    return found


class Frame:
    """What the trials of a grid have in common but their values. Of ``grid`` values and points are not read.

    Attributes:
        grid: The grid.
        declared: Its hyperparameters by name.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.declared = declared_by(grid)
        self._structural = [name for name, item in self.declared.items() if item.structural]
        self._defaults = {name: item.default for name, item in self.declared.items()}
        self._programs: dict[Key, tuple[Program | None, tuple[str, ...]]] = {}

    def key(self, values: Values) -> Key:
        """What is equal for combinations that may share a pack."""
        return tuple([values[name] for name in self._structural])

    def program(self, values: Values) -> tuple[Program | None, tuple[str, ...]]:
        """The program of a combination, and its faults; None where it cannot even be made."""
        key = self.key(values)
        if key not in self._programs:
            self._programs[key] = self._checked(values)
        return self._programs[key]

    def _checked(self, values: Values) -> tuple[Program | None, tuple[str, ...]]:
        try:
            program = self._build(values)
        except ConfigurationError as error:  # a task's own check of its sizes
            return None, error.faults
        return program, tuple(program_faults(program)) if isinstance(program, Training) else ()

    def _build(self, values: Values) -> Program:
        grid = self.grid
        if is_measurement(grid.task):
            return _construct(grid.task, values)
        return Training(
            task=grid.task if isinstance(grid.task, Task) else _task(grid.task, values),
            rule=_construct(grid.rule, values),
            schedule=_construct(grid.schedule, values),
            probes=grid.probes,
            batch_size=int(values["batch_size"]),
            sampling="epoch" if values["sampling"] == "epoch" else "iid",
            accumulate=grid.accumulate,
            steps=max(steps_of(grid)),
            log_every=grid.log_every,
            dtype=grid.dtype,
            loss_bound=grid.loss_bound,
            target=grid.target,
            halving=grid.halving,
        )

    def _family(self, steps: int, data_digest: str) -> Family:
        grid = self.grid
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
                loss_bound=float(grid.loss_bound),
                log_every=grid.log_every,
                target=encode(target) if target else "",
            )
        )

    def encoded(self, combinations: Sequence[Combination], program: Program | None) -> list[Encoded]:
        """Combinations of one program, ready for their seeds.

        Those that are not to run have none; their identity leaves out the data, so that they are never taken
        for trials that ran.
        """
        data_digest = "" if program else "skipped"
        if isinstance(program, Training):
            data_digest = program.task.data_digest()
        families = {
            steps: self._family(steps, data_digest) for steps in {item.steps for item in combinations}
        }
        found = []
        for values, steps in combinations:
            changed = {name: value for name, value in values.items() if value != self._defaults[name]}
            found.append(Encoded(families[steps], values, changed, encode(changed)))
        return found

    def packs(self, study: str, program: Program, places: Iterable[Place]) -> Iterator[Pack]:
        """Trials of one program, cut at the grid's width.

        Args:
            study: Name of the study.
            program: What they run; a training's ``steps`` are those of the longest of them.
            places: The trials, in the order in which they are to run.
        """
        remaining = iter(places)
        while part := list(islice(remaining, self.grid.pack_width)):
            yield self._pack(study, program, part)

    def _pack(self, study: str, program: Program, places: Sequence[Place]) -> Pack:
        members = [item.member(seed) for item, seed in places]
        if self.grid.halving:
            cohort = digest([self.grid.halving, sorted(member.trial.trial_id for member in members)])
            members = [item.member(seed, cohort) for item, seed in places]
        probes = [probe.digest for probe in program.probes] if isinstance(program, Training) else []
        return Pack(
            pack_id=digest([[member.trial.trial_id for member in members], probes], length=16),
            study=study,
            program=program,
            members=tuple(members),
        )


def _task(kind: type, values: Values) -> Task:
    task = _construct(kind, values)
    assert isinstance(task, Task)
    return task


def _versioned(part: Task | type[Task | Measurement | Rule | Schedule]) -> str:
    return f"{part.name}@{part.version}"


def _construct(kind: Callable[..., Part], values: Values) -> Part:
    """An instance of a task, rule, schedule or measurement from its structural hyperparameters.

    Raises:
        ConfigurationError: It does not take one of these, or takes one that is not structural: that would
            stay at its default, whatever the trial is recorded with.
    """
    declared: tuple[Hyperparameter, ...] = getattr(kind, "hyperparameters", ())
    given = {item.name: values[item.name] for item in declared if item.structural}
    taken = signature(kind).parameters
    takes_any = any(item.kind is Parameter.VAR_KEYWORD for item in taken.values())
    name = getattr(kind, "__name__", repr(kind))
    faults = [
        f"{item}: structural, but {name}.__init__ does not take it; allowed: it takes it by this name"
        for item in given
        if item not in taken and not takes_any
    ]
    faults += [
        f"{item.name}: {name}.__init__ takes it, but it is not declared structural=True and would stay at "
        "its default; allowed: structural, or read where hyperparameters are given (update, measure)"
        for item in declared
        if item.name in taken and not item.structural
    ]
    if faults:
        raise ConfigurationError(faults)
    return kind(**given)
