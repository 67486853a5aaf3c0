"""The keys of a sweep and of its parts: what each may hold, read with every fault."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gradlaw.errors import UnknownNameError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.pack import DTYPE
from gradlaw.sweep.document import Faults, Item

_SIDE = Hyperparameter(name="direction", default="below", choices=("below", "above"))

SETTINGS = (
    Hyperparameter(name="question", default=""),
    Hyperparameter(name="seeds", default=1, low=1),
    Hyperparameter(name="log_every", default=1, low=1),
    Hyperparameter(name="accumulate", default=1, low=1),
    Hyperparameter(name="pack_width", default=64, low=1),
    Hyperparameter(name="loss_bound", default=1e6, low=0.0, low_open=True),
    DTYPE,
)
"""Single values of a sweep."""

STEPS = Hyperparameter(name="steps", default=0, low=0)
"""Steps to train; an axis where it is a list or a range."""

TARGET = (Hyperparameter(name="metric", default=""), Hyperparameter(name="value", default=0.0), _SIDE)
HALVING = (
    Hyperparameter(name="metric", default=""),
    Hyperparameter(name="first", default=1, low=1),
    Hyperparameter(name="factor", default=3, low=2),
    _SIDE,
)
SEARCH = (
    Hyperparameter(name="budget", default=1, low=1),
    Hyperparameter(name="metric", default=""),
    _SIDE,
    Hyperparameter(name="sampler", default="tpe", choices=("tpe", "sobol", "random")),
    Hyperparameter(name="per_round", default=8, low=1),
    Hyperparameter(name="tuning_seeds", default=1, low=1),
)
EDGE = (
    Hyperparameter(name="from", default=0.0, low=0.0, low_open=True),
    Hyperparameter(name="to", default=0.0, low=0.0, low_open=True),
    Hyperparameter(name="halvings", default=1, low=1, high=60),
)
SAMPLE = (
    Hyperparameter(name="method", default="sobol", choices=("sobol", "random")),
    Hyperparameter(name="num", default=1, low=1, high=1e6),
    Hyperparameter(name="seed", default=0, low=0),
)
RANGE = (
    Hyperparameter(name="from", default=0.0),
    Hyperparameter(name="to", default=0.0),
    Hyperparameter(name="num", default=1, low=2, high=1e6),
    Hyperparameter(name="step", default=1.0, low=0.0, low_open=True),
    Hyperparameter(name="factor", default=2.0, low=1.0, low_open=True),
    Hyperparameter(name="scale", default="linear", choices=("linear", "log")),
)

SECTIONS = (
    *("name", "task", "rule", "schedule", "values", "grid", "zip", "sample", "edge", "where", "steps"),
    "probes",
)
"""Keys of a sweep that hold more than a single value."""

KEYS = (*SECTIONS, *(item.name for item in SETTINGS), "target", "halving", "search")


def entries(item: Item, name: str, faults: Faults) -> Mapping[str, Item]:
    """The entries of a mapping; none, and a fault, if it is no mapping or has none."""
    if not item.entries:
        got = "an empty mapping" if item.entries is not None else item
        faults.add(item.line, f"{name}: got {got}, allowed a mapping from names to values")
    return item.entries or {}


def listed(item: Item, name: str, faults: Faults) -> Sequence[Item]:
    """The items of a list; none, and a fault, if it is no list or has none."""
    if not item.items:
        got = "an empty list" if item.items is not None else item
        faults.add(item.line, f"{name}: got {got}, allowed a list")
    return item.items or ()


def known(found: Mapping[str, Item], names: Collection[str], kind: str, faults: Faults) -> Mapping[str, Item]:
    """The entries with known names; a fault for each of the others."""
    for name, item in found.items():
        if name not in names:
            faults.add(item.line, str(UnknownNameError(name, kind=kind, known=names)))
    return {name: item for name, item in found.items() if name in names}


def scalar(item: Item, declared: Hyperparameter, name: str, faults: Faults) -> Scalar | None:
    """The value in its declared type; None, and a fault, if it is not allowed."""
    if item.items is not None or item.entries is not None:
        allowed = f"{type(declared.default).__name__} {declared.allowed()}".strip()
        faults.add(item.line, f"{name}: got {item}, allowed {allowed}")
        return None
    if fault := replace(declared, name=name).check(item.value):
        faults.add(item.line, fault)
        return None
    return declared.cast(item.value)


def scalars(
    found: Mapping[str, Item], declared: Sequence[Hyperparameter], where: str, faults: Faults
) -> dict[str, Any]:
    """The sound ones of the declared values that are given, each of its declared type.

    Args:
        found: Entries of a mapping.
        declared: What they may be.
        where: What their names begin with in messages, for example ``target.``.
        faults: Takes those of the others.
    """
    values = {
        item.name: scalar(found[item.name], item, where + item.name, faults)
        for item in declared
        if item.name in found
    }
    return {name: value for name, value in values.items() if value is not None}


def section(
    item: Item, name: str, declared: Sequence[Hyperparameter], required: Collection[str], faults: Faults
) -> dict[str, Any] | None:
    """A mapping of single values, whole; None, and its faults, if it is not."""
    found = entries(item, name, faults)
    sound = scalars(
        known(found, [part.name for part in declared], f"key of {name}", faults), declared, f"{name}.", faults
    )
    for missing in [part for part in required if found and part not in found]:
        faults.add(item.line, f"{name}.{missing}: missing")
    return sound if set(required) <= set(sound) and len(sound) == len(found) else None
