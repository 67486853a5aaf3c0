"""A sweep that searches: arms tuned with equal budgets, in the place of what a grid would vary.

    search:
      budget: 32
      metric: train_loss
      arms:
        lion: {rule: lion, space: {lr: {from: 1e-5, to: 1e-1, scale: log}}}
        adamw: {rule: adamw, values: {beta1: 0.9}, space: {lr: {from: 1e-5, to: 1e-1, scale: log}}}

What an arm may be is for :mod:`gradlaw.adaptive.faults` to say, as of a study's; here it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter
from gradlaw.planning.frame import declared_by
from gradlaw.rule import Rule
from gradlaw.rules import RULES
from gradlaw.schedules import SCHEDULES, Schedule
from gradlaw.study import Arm, Grid, Search
from gradlaw.sweep.document import COMMAND_LINE, Faults, Item
from gradlaw.sweep.fields import SEARCH, entries, known, scalars
from gradlaw.sweep.parts import load
from gradlaw.sweep.vary import Variation

CLASSES: Mapping[str, tuple[Mapping[str, type], type]] = {
    "rule": (RULES, Rule),
    "schedule": (SCHEDULES, Schedule),
}
"""Keys that an arm may say in place of the file."""
_ELSEWHERE = ("grid", "zip", "sample", "edge", "where", "halving")
"""Keys with which a search has nothing to do: in an arm nothing varies but its space."""


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search stands for.

    Attributes:
        search: The search; None where there are faults.
        lines: Where its parts stand, by what a plan's faults begin with.
    """

    search: Search | None
    lines: Mapping[str, int]


class _Arm(NamedTuple):
    """An arm as it is read: its entries, a grid with its classes (None: at fault), and what these declare."""

    item: Item
    parts: Mapping[str, Item]
    grid: Grid | None
    declared: Mapping[str, Hyperparameter]


def read_search(
    name: str, found: Mapping[str, Item], base: Grid | None, settings: Mapping[str, Any], faults: Faults
) -> Searched:
    """The search of a file.

    Args:
        name: Of the sweep, and of its search.
        found: The file's entries.
        base: What all arms have in common, without values; None if it could not be read.
        settings: Its single values.
        faults: Takes what is wrong.
    """
    for key in _ELSEWHERE:
        if key in found:
            fault = f"{key}: got with search, in which the space of an arm alone varies; allowed one of them"
            faults.add(found[key].line, fault)
    given, numbers = _numbers(found["search"], faults)
    arms = {
        arm: _read_arm(item, f"search.arms.{arm}", base, faults)
        for arm, item in (entries(given["arms"], "search.arms", faults) if "arms" in given else {}).items()
    }
    common = _common(found, arms, faults)
    lines = {key: item.line for key, item in found.items()} | common.lines
    of_search = {key: item.line for key, item in given.items()}
    places = {f"search {name}": found["search"].line}
    places |= {f"search {name}: {key}": line for key, line in of_search.items()}
    read = []
    for arm, (item, parts, grid, declared) in arms.items():
        own = Variation(parts, declared, faults, whole=grid is not None, taken=common.lines)
        of_arm = of_search | lines | {key: part.line for key, part in parts.items()} | own.lines
        places |= {f"search {name}: arm {arm}: {key}": line for key, line in of_arm.items()}
        places[f"search {name}: arm {arm}"] = item.line
        if grid is not None and not faults:
            shared = {key: value for key, value in common.values.items() if key in declared}
            values, (steps,) = {**shared, **own.values}, common.combinations.steps
            read.append(
                Arm(name=arm, grid=replace(grid, values=values, steps=steps, **settings), space=own.space)
            )
    search = None if faults else Search(name=name, arms=tuple(read), **numbers)
    return Searched(search=search, lines=lines | places)


def _numbers(item: Item, faults: Faults) -> tuple[Mapping[str, Item], dict[str, Any]]:
    """The entries of the search, and the sound ones of its single values."""
    held = entries(item, "search", faults)
    given = known(held, [*(part.name for part in SEARCH), "arms"], "key of search", faults)
    for missing in [key for key in ("budget", "metric", "arms") if held and key not in held]:
        faults.add(item.line, f"search.{missing}: missing")
    return given, scalars(given, SEARCH, "search.", faults)


def _read_arm(item: Item, where: str, base: Grid | None, faults: Faults) -> _Arm:
    held = entries(item, where, faults)
    parts = dict(known(held, (*CLASSES, "values", "space"), f"key of {where}", faults))
    if "space" in parts and parts["space"].line == COMMAND_LINE:
        del parts["space"]
        faults.add(COMMAND_LINE, f"{where}: got values for all that is searched there, allowed all but one")
    if held and "space" not in held:
        faults.add(item.line, f"{where}.space: missing; allowed hyperparameters, each with a range or a list")
    classes = {
        key: load(parts[key], key, registry, kind, faults)
        for key, (registry, kind) in CLASSES.items()
        if key in parts
    }
    if base is None or None in classes.values():
        return _Arm(item, parts, None, {})
    grid = replace(base, **classes)
    try:
        return _Arm(item, parts, grid, declared_by(grid))
    except ConfigurationError as error:  # two of its classes mean different things by one name
        for fault in error.faults:
            faults.add(item.line, f"{where}: {fault}")
        return _Arm(item, parts, None, {})


def _common(found: Mapping[str, Item], arms: Mapping[str, _Arm], faults: Faults) -> Variation:
    """The values and steps of all arms; a value goes to those that have such a hyperparameter."""
    declared = {name: what for arm in arms.values() for name, what in arm.declared.items()}
    whole = bool(arms) and all(arm.grid is not None for arm in arms.values())
    shared = {key: found[key] for key in ("values", "steps") if key in found}
    common = Variation(shared, declared, faults, whole=whole)
    if len(common.combinations.steps) > 1:
        fault = "steps: got several, allowed one with search: configurations train for equally long"
        faults.add(found["steps"].line, fault)
    return common
