"""Grids expanded: every combination checked, each with its program, its trials cut into packs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.pack import Member, Pack, Program, Training
from gradlaw.planning.frame import Combination, Frame, Key
from gradlaw.planning.grid_faults import (
    STEPS,
    combination_faults,
    grid_faults,
    is_measurement,
    items_of,
    steps_in_points,
    steps_of,
)
from gradlaw.study import Grid


@dataclass
class _Group:
    """The combinations that run one program."""

    program: Program
    combinations: list[Combination] = field(default_factory=list)


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


def combinations_of(grid: Grid, declared: Mapping[str, Hyperparameter]) -> Iterator[Combination]:
    """Every combination of a grid. Steps vary slowest, so that trials of one length are neighbours."""
    points = [
        {name: declared[name].cast(value) for name, value in point.items() if name in declared}
        for point in grid.points
    ]
    together = set(points[0]) if points else set()
    axes = [
        [(name, item.cast(value)) for value in items_of(grid.values.get(name, item.default))]
        for name, item in declared.items()
        if name not in together
    ]
    for steps, point in _lengths(grid, points or [{}]):
        for pairs in product(*axes):
            yield Combination({**point, **dict(pairs)}, steps)


def _lengths(
    grid: Grid, points: Sequence[Mapping[str, Scalar]]
) -> Iterator[tuple[int, Mapping[str, Scalar]]]:
    """Every number of steps with every point that it goes with."""
    if steps_in_points(grid):
        yield from ((int(given[STEPS.name]), point) for given, point in zip(grid.points, points, strict=True))
    else:
        yield from product(steps_of(grid), points)


def reason_to_skip(grid: Grid, combination: Combination) -> str | None:
    """Why the grid's own ``skip`` leaves a combination out; None if it does not."""
    if grid.skip is None:
        return None
    values, steps = combination
    return grid.skip(values if is_measurement(grid.task) else {STEPS.name: steps, **values})


class _GridExpansion:
    """One grid's combinations of values, checked, and the programs they need."""

    def __init__(self, grid: Grid) -> None:
        self._frame = Frame(grid)
        self.faults = grid_faults(grid, self._frame.declared)
        self._groups: dict[Key, _Group | None] = {}
        self._skips: list[tuple[Combination, str]] = []
        if not self.faults:
            for combination in combinations_of(grid, self._frame.declared):
                self._add(combination)

    def _add(self, combination: Combination) -> None:
        reason = reason_to_skip(self._frame.grid, combination)
        if reason is not None:
            self._skips.append((combination, reason))
            return
        key = self._frame.key(combination.values)
        if key not in self._groups:
            program, faults = self._frame.program(combination.values)
            self.faults += faults
            self._groups[key] = _Group(program) if program else None
        group = self._groups[key]
        if group is None:
            return
        group.combinations.append(combination)
        if isinstance(group.program, Training):
            self.faults += combination_faults(group.program, *combination)

    def packs(self, study: str, seeds: Sequence[int]) -> Iterator[Pack]:
        """Members grouped by program, seeds outermost, cut at the grid's width."""
        for group in filter(None, self._groups.values()):
            program = group.program
            encoded = self._frame.encoded(group.combinations, program)
            if isinstance(program, Training):
                program = replace(program, steps=max(item.steps for item in group.combinations))
            yield from self._frame.packs(study, program, ((item, seed) for seed in seeds for item in encoded))

    def skipped(self, seeds: Sequence[int]) -> Iterator[tuple[Member, str]]:
        """One member for each seed of each combination that is not to run."""
        encoded = self._frame.encoded([combination for combination, _ in self._skips], None)
        for seed in seeds:
            for item, (_, reason) in zip(encoded, self._skips, strict=True):
                yield item.member(seed), reason
