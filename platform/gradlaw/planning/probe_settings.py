"""Settings of probes by name, ``probe.setting``: what ``--set solutions.threshold=0.03`` changes."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gradlaw.errors import GradlawError, UnknownNameError
from gradlaw.probe import Probe
from gradlaw.study import Grid

MARK = "."
"""Between the names of a probe and of its setting; no hyperparameter's name holds it."""


def settings_of(probe: Probe) -> dict[str, Any]:
    """The annotated types of a probe's settings by name."""
    if not is_dataclass(probe):
        return {}
    hints = hints_of(type(probe))
    return {item.name: hints[item.name] for item in fields(probe) if item.init}


def hints_of(kind: type) -> Mapping[str, Any]:
    """The annotated types of a class by name; Any, for all, where one of them is not there when it runs."""
    try:
        return get_type_hints(kind)
    except NameError:  # imported for type checkers alone, or local to a function
        return defaultdict(lambda: Any)


def set_probes(
    grids: Sequence[Grid], given: Mapping[str, object]
) -> tuple[list[Grid], dict[str, Any], list[str]]:
    """Grids whose probes have new settings.

    Args:
        grids: The grids; a setting is changed in all that have its probe.
        given: New values by ``probe.setting``; a list where the setting is a tuple.

    Returns:
        The grids, the values as typed, and the faults; with a fault the grids are as they were.
    """
    known = {
        f"{probe.name}{MARK}{name}": hint
        for grid in grids
        for probe in grid.probes
        for name, hint in settings_of(probe).items()
    }
    faults = [str(UnknownNameError(name, kind="setting", known=known)) for name in given if name not in known]
    settings: dict[str, Any] = {}
    for name in sorted(set(given) & set(known)):
        value = typed(given[name], known[name])
        if is_of(value, known[name]):
            settings[name] = value
        else:
            faults.append(f"{name}: got {given[name]!r}, allowed {_allowed(known[name])}")
    if not faults:
        try:
            return [_with_settings(grid, settings) for grid in grids], settings, []
        except (GradlawError, ValueError, TypeError) as error:  # a probe's own check of its settings
            faults += getattr(error, "faults", [f"{', '.join(settings)}: {error}"])
    return list(grids), settings, list(dict.fromkeys(faults))


def _with_settings(grid: Grid, settings: Mapping[str, Any]) -> Grid:
    """The grid with the settings of its probes changed; raises what a probe raises."""
    counts = Counter(probe.name for probe in grid.probes)
    probes = []
    for probe in grid.probes:
        own = {name: value for full, value in settings.items() for name in [_own(probe, full)] if name}
        if own and counts[probe.name] > 1:
            msg = f"the grid has {counts[probe.name]} probes {probe.name}, allowed one; set them in the study"
            raise ValueError(msg)
        made: Any = probe  # a dataclass, as it has settings
        probes.append(replace(made, **own) if own else probe)
        _ = probes[-1].digest  # raises for what has no identity
    return replace(grid, probes=tuple(probes))


def _own(probe: Probe, full: str) -> str:
    """The setting that a full name means of this probe; "" for another's."""
    name, _, setting = full.partition(MARK)
    return setting if name == probe.name and setting in settings_of(probe) else ""


def typed(value: Any, hint: Any) -> Any:
    """A value as it is written, in the annotated type: a list for a tuple, an int for a float."""
    if isinstance(value, (list, tuple)):
        parts = get_args(hint) if get_origin(hint) is tuple else ()
        return tuple(typed(item, parts[0]) if parts else item for item in value)
    allowed = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return float(value) if type(value) is int and float in allowed and int not in allowed else value


def _allowed(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"a list of {_allowed(get_args(hint)[0])}"
    return hint.__name__ if isinstance(hint, type) else str(hint)


def is_of(value: object, hint: Any) -> bool:
    """Whether a value is of an annotated type; what is not told apart here is let through.

    >>> is_of((900, 1000), tuple[int, ...]), is_of("a", float | None), is_of(float("nan"), float)
    (True, False, False)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(is_of(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        return isinstance(value, tuple) and all(is_of(part, parts[0]) for part in value)
    if hint is float:
        return isinstance(value, (int, float)) and type(value) is not bool and math.isfinite(value)
    return type(value) is hint if hint in (int, bool, str, NoneType) else True
