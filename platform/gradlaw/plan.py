"""Plan: what one run asks for. A preset is expanded into trials, checked whole, and cut into packs."""

from __future__ import annotations

import gc
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

from gradlaw.errors import ConfigurationError, UnknownNameError, all_faults
from gradlaw.fingerprint import digest
from gradlaw.frame import declared_by
from gradlaw.grid import expand
from gradlaw.grid_faults import STEPS, is_measurement, items_of
from gradlaw.hyperparameter import Hyperparameter, Scalar, unknown_names
from gradlaw.pack import Member, Pack
from gradlaw.probe_settings import MARK, set_probes
from gradlaw.space import Edge
from gradlaw.study import Grid, Preset, Study

EXPLORE_SEED = 1_000_000
"""First seed of explore plans: the seeds below stay unseen until the claims are locked."""


class PlanKind(StrEnum):
    """What a plan may be used for. Only ``confirm`` decides claims."""

    CONFIRM = "confirm"
    EXPLORE = "explore"
    VARIANT = "variant"
    SMOKE = "smoke"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run asks for.

    Attributes:
        plan_id: The preset's name and a digest of all that follows.
        study, preset: Names.
        overrides: What ``--set`` changed.
        kind: What it may be used for.
        seeds: The seeds, in order.
        declared_seeds: Number of seeds the preset declares.
        packs: All packs, those with the lowest seeds first.
        skipped: Members that are not to run, each with its reason.
    """

    plan_id: str
    study: str
    preset: str
    overrides: Mapping[str, Scalar | tuple[Scalar, ...]]
    kind: PlanKind
    seeds: tuple[int, ...]
    declared_seeds: int
    packs: tuple[Pack, ...]
    skipped: tuple[tuple[Member, str], ...]

    @property
    def members(self) -> Iterator[Member]:
        """Every trial of the plan, skipped ones last."""
        for pack in self.packs:
            yield from pack.members
        for member, _ in self.skipped:
            yield member


def make_plan(
    study: Study,
    preset: str = "demo",
    *,
    overrides: Mapping[str, object] | None = None,
    seeds: int | None = None,
    explore: bool = False,
) -> Plan:
    """Expands a preset.

    Args:
        study: The study.
        preset: Name of one of its presets.
        overrides: New values, or axes (lists of values), of hyperparameters or of ``steps``; new values of
            settings of probes, by ``probe.setting``.
        seeds: Number of seeds instead of the preset's.
        explore: Draw the seeds from the range set apart for exploration.

    Raises:
        UnknownNameError: No such preset.
        ConfigurationError: Impossible values or unknown names: all faults at once.
    """
    if preset not in study.presets:
        raise UnknownNameError(preset, kind=f"preset of study {study.name}", known=study.presets)
    chosen = study.presets[preset]
    num_seeds = chosen.seeds if seeds is None else seeds
    first = EXPLORE_SEED if explore else 0
    seed_range = range(first, first + num_seeds)
    with all_faults() as faults:
        if num_seeds < 1:
            faults.append(f"seeds: got {num_seeds}, allowed >= 1")
        edges = [item for grid in chosen.grids for item in grid.values.values() if isinstance(item, Edge)]
        if chosen.searches or edges:
            faults.append("searches and edges: declared, but they cannot be run in this version yet")
        grids, settings, wrong = _override(chosen.grids, dict(overrides or {}))
        faults += wrong
        with _no_collection():
            packs, skipped = expand(study.name, grids, seed_range)
    kind = _kind(chosen, explore=explore, varied=bool(settings))
    trial_ids = sorted(_trial_ids(packs, skipped))
    _refuse_duplicates(trial_ids)
    identity = [study.name, preset, dict(settings), kind, list(seed_range), trial_ids]
    return Plan(
        plan_id=f"{preset}_{digest(identity, length=10)}",
        study=study.name,
        preset=preset,
        overrides=settings,
        kind=kind,
        seeds=tuple(seed_range),
        declared_seeds=chosen.seeds,
        packs=tuple(packs),
        skipped=tuple(skipped),
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """No search for garbage: of the millions of parts of a plan none is, and searching takes a third more."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _kind(preset: Preset, *, explore: bool, varied: bool) -> PlanKind:
    if not preset.decides:
        return PlanKind.SMOKE
    if explore:
        return PlanKind.EXPLORE
    return PlanKind.VARIANT if varied else PlanKind.CONFIRM


def _trial_ids(packs: Iterable[Pack], skipped: Iterable[tuple[Member, str]]) -> Iterator[str]:
    for pack in packs:
        for member in pack.members:
            yield member.trial.trial_id
    for member, _ in skipped:
        yield member.trial.trial_id


def _refuse_duplicates(trial_ids: Sequence[str]) -> None:
    """Raises if an id comes twice; they are sorted."""
    repeated = sum(map(operator.eq, trial_ids, islice(trial_ids, 1, None)))
    if repeated:
        fault = f"grids: {repeated} trials stand in more than one grid; allowed: each once; merge the grids"
        raise ConfigurationError([fault])


Settings = dict[str, Scalar | tuple[Scalar, ...]]


def _override(grids: Iterable[Grid], given: Mapping[str, object]) -> tuple[list[Grid], Settings, list[str]]:
    """The grids with the new values that are possible, those values as typed, and the faults of the rest."""
    grids = list(grids)
    declared: dict[str, Hyperparameter] = {STEPS.name: STEPS}
    for grid in grids:
        declared.update(declared_by(grid))
    of_probes = {name: value for name, value in given.items() if MARK in name}
    grids, held, faults = set_probes(grids, of_probes)
    faults += unknown_names(set(given) - set(of_probes), declared)
    settings: Settings = dict(held)
    for name in sorted(set(given) & set(declared)):
        value = given[name]
        items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        wrong = [fault for item in items if (fault := declared[name].check(item))]
        if not items:
            wrong.append(f"{name}: got 0 values, allowed one or more")
        faults += wrong
        if not wrong:
            typed = tuple(declared[name].cast(item) for item in items)
            settings[name] = typed if isinstance(value, (list, tuple)) else typed[0]
    return [_apply(grid, settings) for grid in grids], settings, faults


def _apply(grid: Grid, settings: Settings) -> Grid:
    """The grid with new values; what varied in its points and has a new value varies there no more."""
    names = {*declared_by(grid)} | (set() if is_measurement(grid.task) else {STEPS.name})
    new = {name: value for name, value in settings.items() if name in names}
    values = {**grid.values, **{name: value for name, value in new.items() if name != STEPS.name}}
    points, steps = grid.points, grid.steps
    if any(name in new for point in points for name in point):
        rest = [{name: value for name, value in point.items() if name not in new} for point in points]
        distinct = {tuple(sorted(point.items())): point for point in rest if point}
        points = tuple(distinct.values())
    if STEPS.name in new:
        steps = tuple(int(item) for item in items_of(new[STEPS.name]))
    return replace(grid, values=values, points=points, steps=steps)
