"""What the command line says in place of a sweep's file, put where the file would say it."""

from __future__ import annotations

from collections.abc import Mapping

from gradlaw.hyperparameter import Scalar
from gradlaw.sweep.document import COMMAND_LINE, Item
from gradlaw.sweep.fields import KEYS


def overridden(found: Mapping[str, Item], given: Mapping[str, object]) -> dict[str, Item]:
    """The entries of a file with new values: single ones under ``values``, lists under ``grid``.

    A hyperparameter that varied in a grid, a zip, a sample or an arm, or whose edge was to be found, does so
    no more; the keys of a sweep itself, such as ``steps``, are replaced.
    """
    found = dict(found)
    for name, value in given.items():
        item = _item(plain(value))
        if name in KEYS:
            found[name] = item
            continue
        found = {key: left for key, part in found.items() if (left := _without(key, part, name)) is not None}
        section = "grid" if item.items is not None else "values"
        held = found.get(section, Item({}, COMMAND_LINE))
        found[section] = Item({**(held.entries or {}), name: item}, held.line)
    return found


def plain(value: object) -> Scalar | tuple[Scalar, ...]:
    """A value of the command line; what is no scalar and no list of them is text, which no number may be."""
    if isinstance(value, (list, tuple)):
        return tuple(item if isinstance(item, (bool, int, float, str)) else str(item) for item in value)
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _item(value: Scalar | tuple[Scalar, ...]) -> Item:
    if isinstance(value, tuple):
        return Item(tuple(map(_item, value)), COMMAND_LINE)
    return Item(value, COMMAND_LINE)


def _without(key: str, part: Item, name: str) -> Item | None:
    """A section without one hyperparameter; None if nothing is left."""
    if key == "zip" and part.items is not None:
        left = tuple(item for group in part.items if (item := _without("grid", group, name)) is not None)
        return Item(left, part.line) if left else None
    if key == "sample" and part.entries is not None and "axes" in part.entries:
        axes = _without("grid", part.entries["axes"], name)
        return Item({**part.entries, "axes": axes}, part.line) if axes else None
    if key == "search" and part.entries and (arms := part.entries.get("arms")) and arms.entries:
        fixed = {arm: _arm_without(item, name) for arm, item in arms.entries.items()}
        return Item({**part.entries, "arms": Item(fixed, arms.line)}, part.line)
    if key in ("values", "grid", "zip", "edge") and part.entries and name in part.entries:
        rest = {other: item for other, item in part.entries.items() if other != name}
        return Item(rest, part.line) if rest else None
    return part


def _arm_without(arm: Item, name: str) -> Item:
    """An arm of a search without one hyperparameter; a space of nothing else stays, and is refused."""
    if not arm.entries:
        return arm
    left = {}
    for key, part in arm.entries.items():
        rest = _without("values", part, name) if key in ("values", "space") else part
        if rest is not None or key == "space":
            left[key] = rest or Item({}, COMMAND_LINE)
    return Item(left, arm.line)
