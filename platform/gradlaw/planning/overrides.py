"""Overrides: a preset with what ``--set`` says in place of what the study does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar, unknown_names
from gradlaw.planning.frame import declared_by
from gradlaw.planning.grid_faults import STEPS, is_measurement, items_of
from gradlaw.planning.probe_settings import MARK, set_probes
from gradlaw.probe import Probe
from gradlaw.study import Arm, Grid, Preset

Settings = dict[str, Scalar | tuple[Scalar, ...]]


def override(preset: Preset, given: Mapping[str, object]) -> tuple[Preset, Settings, list[str]]:
    """The preset with the new values that are possible, those values as typed, and the faults of the rest.

    A value takes the place of an edge, and what an arm searches stands fixed at it; a list of values cannot
    stand in an arm, whose configurations the search alone varies.

    Args:
        preset: As it is declared.
        given: Values, or lists of values, by name of a hyperparameter, or by ``probe.setting``.

    Raises:
        ConfigurationError: The preset's grids, or a grid's probes, are none.
    """
    if not isinstance(preset.grids, tuple):
        got = type(preset.grids).__name__
        raise ConfigurationError([f"grids: got a {got}, allowed a tuple of Grid; one alone is (grid,)"])
    arms = [arm for search in preset.searches for arm in search.arms]
    grids = [*preset.grids, *(arm.grid for arm in arms)]
    if strange := [fault for grid in grids for fault in _strange_probes(grid)]:
        raise ConfigurationError(strange)
    declared: dict[str, Hyperparameter] = {STEPS.name: STEPS}
    for grid in grids:
        declared.update(declared_by(grid))
    of_probes = {name: value for name, value in given.items() if MARK in name}
    grids, held, faults = set_probes(grids, of_probes)
    faults += unknown_names(set(given) - set(of_probes), declared)
    settings: Settings = dict(held)
    for name in sorted(set(given) & set(declared)):
        typed, wrong = _typed(declared[name], given[name])
        faults += wrong or _arm_faults(name, typed, arms)
        if not wrong:
            settings[name] = typed
    changed = [_apply(grid, settings) for grid in grids]
    plain, of_arms = changed[: len(preset.grids)], iter(changed[len(preset.grids) :])
    searches = tuple(
        replace(search, arms=tuple(_with_grid(arm, next(of_arms), settings) for arm in search.arms))
        for search in preset.searches
    )
    return replace(preset, grids=tuple(plain), searches=searches), settings, faults


def _strange_probes(grid: Grid) -> list[str]:
    """What stands in place of probes; all else asks them for their names."""
    if not isinstance(grid.probes, tuple):
        got = type(grid.probes).__name__
        return [f"probes: got a {got}, allowed a tuple of probes; one alone is (probe,)"]
    given: tuple[object, ...] = grid.probes
    return [
        f"probes: got {item!r}, allowed an instance of a MetricProbe or TableProbe, as Probe()"
        for item in given
        if not isinstance(item, Probe)
    ]


def _typed(item: Hyperparameter, value: object) -> tuple[Scalar | tuple[Scalar, ...], list[str]]:
    many = isinstance(value, (list, tuple))
    items = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    faults = [fault for part in items if (fault := item.check(part))]
    if not items:
        faults.append(f"{item.name}: got 0 values, allowed one or more")
    if faults:
        return (), faults
    typed = tuple(item.cast(part) for part in items)
    return (typed if many else typed[0]), []


def _arm_faults(name: str, value: Scalar | tuple[Scalar, ...], arms: Sequence[Arm]) -> list[str]:
    """What a search cannot take: a list, or the last of what it searches."""
    faults = []
    for arm in arms:
        known = {STEPS.name, *declared_by(arm.grid)}
        if isinstance(value, tuple) and name in known:
            faults.append(f"{name}: got {list(value)}, allowed a single value: arm {arm.name} has no axes")
        elif set(arm.space) == {name}:
            faults.append(f"{name}: got a value, allowed none: nothing else is searched in arm {arm.name}")
    return faults


def _with_grid(arm: Arm, grid: Grid, settings: Settings) -> Arm:
    space = {name: item for name, item in arm.space.items() if name not in settings}
    return replace(arm, grid=grid, space=space)


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
        given = tuple(int(item) for item in items_of(new[STEPS.name]))
        steps = given if isinstance(new[STEPS.name], tuple) else given[0]
    return replace(grid, values=values, points=points, steps=steps)
