"""An adaptive plan as it is declared: its searches and edges checked, and the trials they may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from operator import itemgetter
from types import MappingProxyType
from typing import NamedTuple

from gradlaw.adaptive.ask import STEPS_TO_TARGET, Ask
from gradlaw.adaptive.faults import arm_faults, searches_faults
from gradlaw.engine.rows import metrics_table
from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.pack import Member, Pack, Program, Training
from gradlaw.planning.frame import Combination, Encoded, Frame, Values
from gradlaw.planning.grid import combinations_of, reason_to_skip
from gradlaw.planning.grid_faults import combination_faults, grid_faults
from gradlaw.probe import Probe
from gradlaw.space import Choices, Dimension, Edge
from gradlaw.study import Arm, Grid, Search
from gradlaw.task import Task


def split_edges(grids: Sequence[Grid]) -> tuple[list[Grid], list[Grid]]:
    """The grids without an edge, and those with one."""
    plain: list[Grid] = []
    edged: list[Grid] = []
    for grid in grids:
        has_edge = any(isinstance(value, Edge) for value in grid.values.values())
        (edged if has_edge else plain).append(grid)
    return plain, edged


@dataclass(frozen=True, kw_only=True)
class Line:
    """What asks for trials of one kind: an arm of a search, or one combination of the rest beside an edge.

    Attributes:
        frame: What its trials have in common.
        rest: All hyperparameters, those that are searched at any value.
        steps: Steps of each trial.
        grid: Where it is declared.
    """

    frame: Frame
    rest: Values
    steps: int
    grid: Grid

    def combination(self, values: Mapping[str, Scalar]) -> Combination:
        """The combination with searched values in their declared types."""
        typed = {name: self.frame.declared[name].cast(value) for name, value in values.items()}
        return Combination({**self.rest, **typed}, self.steps)

    def refused(self, combination: Combination) -> tuple[Program | None, str]:
        """The program of a combination, or None and the reason why it is not to run."""
        if reason := reason_to_skip(self.grid, combination):
            return None, reason
        program, faults = self.frame.program(combination.values)
        found = [*faults]
        if isinstance(program, Training):
            found += combination_faults(program, *combination)
        return (None, "; ".join(found)) if found else (program, "")


Held = Mapping[str, tuple[Probe, ...]]
"""Trials that a plan holds, by id, each with its probes."""


class Built(NamedTuple):
    """Trials that were asked for.

    Attributes:
        trial_ids: One for each that was asked for, in order.
        packs: Those that are to run and that no pack before holds.
        skipped: Those that are not to run, with the reason.
    """

    trial_ids: tuple[str, ...]
    packs: tuple[Pack, ...]
    skipped: tuple[tuple[Member, str], ...]


class Declared:
    """The searches and edges of a preset.

    Attributes:
        searches: The searches.
        edges: Each edge with the name of its axis, by the number of the combination of the rest.
        seeds: The preset's, or those of the range for exploration.
        tuning_seed: The first seed of tuning.
        faults: All that is impossible; then nothing else may be asked of it.
    """

    def __init__(
        self,
        study: str,
        searches: Sequence[Search],
        edged: Sequence[Grid],
        seeds: Sequence[int],
        tuning_seed: int,
    ) -> None:
        """Checks the declarations.

        Args:
            study: Name of the study.
            searches: The searches.
            edged: Grids with an edge.
            seeds: Of fresh trials and of edges.
            tuning_seed: The first seed of tuning.

        Raises:
            ConfigurationError: A name is declared twice with different meanings in one grid.
        """
        self.study, self.searches, self.seeds = study, tuple(searches), tuple(seeds)
        self.tuning_seed = tuning_seed
        self.edges: list[tuple[str, Edge]] = []
        self._frames: dict[object, Frame] = {}
        self._arms: dict[tuple[str, str], Line] = {}
        self._rests: list[Line] = []
        faults = searches_faults(searches)
        for search in searches:
            faults += self._add_search(search)
        for number, grid in enumerate(edged):
            faults += [f"edge {number} ({grid.task.name}): {fault}" for fault in self._add_edge(grid)]
        self.faults = list(dict.fromkeys(faults or self._repeated_edges()))

    @property
    def identity(self) -> object:
        """What a plan's id covers: the declarations, the trials at their fixed ends, and their probes."""
        tuned = [
            [replace(search, arms=(), budgets={}), [self._arm_identity(search, arm) for arm in search.arms]]
            for search in self.searches
        ]
        return [tuned, self._ends(), [_probes(rest) for rest in self._rests], self.tuning_seed]

    def _ends(self) -> list[list[object]]:
        return [
            [name, edge, self._identity(rest.combination({name: edge.low}), rest)]
            for (name, edge), rest in zip(self.edges, self._rests, strict=True)
        ]

    def _repeated_edges(self) -> list[str]:
        repeated = len(self.edges) - len(set(map(tuple, self._ends())))
        what = f"grids: {repeated} edges stand in more than one grid; allowed: each once; merge the grids"
        return [what] if repeated else []

    def _arm_identity(self, search: Search, arm: Arm) -> object:
        line = self._arms[search.name, arm.name]
        return [arm.name, dict(arm.space), self._identity(line.combination({}), line), _probes(line)]

    @staticmethod
    def _identity(combination: Combination, line: Line) -> str:
        program, _ = line.frame.program(combination.values)
        (encoded,) = line.frame.encoded([combination], program)
        return encoded.member(0).trial.trial_id

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to ask for."""
        return not self.searches and not self.edges

    def line(self, ask: Ask) -> Line:
        """What an ask belongs to."""
        if ask.search is None or ask.arm is None:
            return self._rests[ask.number]
        return self._arms[ask.search, ask.arm]

    def build(self, asks: Sequence[Ask], held: Held = MappingProxyType({})) -> Built:
        """Trials and packs of what is asked for.

        Trials of one program share packs, whatever asks for them, seeds outermost. One that is asked for with
        other probes than before runs with all of them.

        Args:
            asks: What is asked for at once.
            held: Probes of the trials that the plan holds already, by id.
        """
        ids: list[str] = []
        skipped: dict[str, tuple[Member, str]] = {}
        wanted = dict(held)
        places: dict[str, _Place] = {}
        for ask in asks:
            line = self.line(ask)
            combination = line.combination(ask.values)
            program, reason = line.refused(combination)
            (encoded,) = line.frame.encoded([combination], program)
            member = encoded.member(ask.seed)
            trial_id = member.trial.trial_id
            ids.append(trial_id)
            if program is None:
                if trial_id not in held:
                    skipped[trial_id] = (member, reason)
                continue
            wanted[trial_id] = _joined(wanted.get(trial_id, ()), program)
            places.setdefault(trial_id, _Place(line.frame, program, combination, ask.seed, encoded))
        groups: dict[object, _Group] = {}
        for trial_id, place in places.items():
            if trial_id in held and len(wanted[trial_id]) == len(held[trial_id]):
                continue
            digests = tuple(probe.digest for probe in wanted[trial_id])
            key = (id(place.frame), place.frame.key(place.combination.values), digests)
            program = _measured(place.program, wanted[trial_id])
            group = groups.setdefault(key, _Group(place.frame, program, []))
            group.places.append((place.seed, place.encoded, place.combination.steps))
        return Built(
            tuple(ids),
            tuple(pack for group in groups.values() for pack in group.packs(self.study)),
            tuple(skipped.values()),
        )

    def _add_search(self, search: Search) -> Iterator[str]:
        for arm in search.arms:
            if any(arm_faults(arm, search)):  # told of with those of the search
                continue
            frame = self._frame(arm.grid)
            place = f"search {search.name}: arm {arm.name}"
            single = {name: _first(dimension) for name, dimension in arm.space.items()}
            grid = replace(arm.grid, values={**arm.grid.values, **single})
            combination = next(iter(combinations_of(grid, frame.declared)))
            line = Line(frame=frame, rest=combination.values, steps=combination.steps, grid=arm.grid)
            self._arms[search.name, arm.name] = line
            for values in _structural(arm, frame.declared):
                program, faults = frame.program({**combination.values, **values})
                found = [*faults]
                if isinstance(program, Training) and search.metric:
                    found += _column_faults(program, "metric", search.metric, (STEPS_TO_TARGET,))
                yield from (f"{place}: {fault}" for fault in found)

    def _add_edge(self, grid: Grid) -> list[str]:
        declared = Frame(grid).declared
        faults = grid_faults(grid, declared)
        if faults:
            return faults
        ((name, edge),) = [(name, value) for name, value in grid.values.items() if isinstance(value, Edge)]
        frame = self._frame(grid)
        rests = combinations_of(replace(grid, values={**grid.values, name: float(edge.low)}), declared)
        for values, steps in rests:
            line = Line(frame=frame, rest=values, steps=steps, grid=grid)
            self._rests.append(line)
            self.edges.append((name, edge))
            faults += self._line_faults(line, name, edge)
        return faults

    @staticmethod
    def _line_faults(line: Line, name: str, edge: Edge) -> list[str]:
        faults: list[str] = []
        for end in (edge.low, edge.high):
            combination = line.combination({name: end})
            if reason_to_skip(line.grid, combination):
                continue
            program, wrong = line.frame.program(combination.values)
            faults += wrong
            if isinstance(program, Training):
                faults += combination_faults(program, *combination)
                if edge.fails:
                    faults += _column_faults(program, f"{name}.fails.metric", edge.fails.metric)
        return faults

    def _frame(self, grid: Grid) -> Frame:
        """One frame for all grids whose trials may share packs."""
        key = tuple(
            _comparable(getattr(grid, item.name)) for item in fields(grid) if item.name not in _VARYING
        )
        return self._frames.setdefault(key, Frame(grid))


_VARYING = ("values", "points", "steps", "skip")
"""Fields of a grid in which trials of one pack may differ."""


def _comparable(value: object) -> object:
    if isinstance(value, Task):
        return id(value)
    if isinstance(value, tuple):
        return tuple(item.digest if isinstance(item, Probe) else item for item in value)
    return value


def _probes(line: Line) -> list[str]:
    return sorted(probe.digest for probe in line.grid.probes)


def _joined(probes: tuple[Probe, ...], program: Program) -> tuple[Probe, ...]:
    """Probes, and after them those of a program that are not among them."""
    own = program.probes if isinstance(program, Training) else ()
    known = {probe.digest for probe in probes}
    return (*probes, *(probe for probe in own if probe.digest not in known))


def _measured(program: Program, probes: tuple[Probe, ...]) -> Program:
    """A program with these probes."""
    if not isinstance(program, Training) or len(program.probes) == len(probes):
        return program
    return replace(program, probes=probes)


class _Place(NamedTuple):
    """One trial of a round, as it was first asked for."""

    frame: Frame
    program: Program
    combination: Combination
    seed: int
    encoded: Encoded


class _Group(NamedTuple):
    """Trials of one round that run one program."""

    frame: Frame
    program: Program
    places: list[tuple[int, Encoded, int]]

    def packs(self, study: str) -> Iterator[Pack]:
        places = sorted(self.places, key=itemgetter(0))
        program = self.program
        longest = max(steps for _, _, steps in places)
        if isinstance(program, Training) and program.steps != longest:
            program = replace(program, steps=longest)
        yield from self.frame.packs(study, program, ((item, seed) for seed, item, _ in places))


def _first(dimension: Dimension) -> Scalar:
    return dimension.values[0] if isinstance(dimension, Choices) else _end(dimension.low, dimension.whole)


def _end(low: float, whole: bool) -> Scalar:
    return int(low) if whole else float(low)


def _structural(arm: Arm, declared: Mapping[str, Hyperparameter]) -> Iterator[dict[str, Scalar]]:
    """Every combination of the structural choices of a space: each is a program."""
    axes = [
        [(name, value) for value in dimension.values]
        for name, dimension in arm.space.items()
        if declared[name].structural and isinstance(dimension, Choices)
    ]
    yield from (dict(pairs) for pairs in product(*axes))


def _column_faults(program: Training, name: str, metric: str, others: tuple[str, ...] = ()) -> list[str]:
    try:
        logged = tuple(column.name for column in metrics_table(program).columns if column.name != "step")
    except ConfigurationError as error:
        return list(error.faults)
    fault = Hyperparameter(name=name, default="", choices=(*logged, *others)).check(metric)
    return [fault] if fault else []
