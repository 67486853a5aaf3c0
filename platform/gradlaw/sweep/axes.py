"""Axes: the values that a list or a range of a sweep stands for, and the range that a sample draws from.

    [0.1, 0.2]                                 these values
    {from: 0.1, to: 0.9, num: 9}               evenly spaced, both ends included
    {from: 1e-4, to: 1, num: 9, scale: log}    evenly spaced in the logarithm
    {from: 10, to: 50, step: 10}               from, from + step, ... as far as ``to``
    {from: 8, to: 128, factor: 2}              from, from * factor, ... as far as ``to``

Computed values are rounded to twelve significant digits: 0.1 + 2 * 0.1 is 0.3 as one writes it, and a trial
of a range is the same trial as one of a list. A hyperparameter that is a whole number takes only ranges
that give whole numbers: nothing is rounded to one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.sweep.document import Faults, Item
from gradlaw.sweep.fields import RANGE, scalar, section

DIGITS = 12
MOST_VALUES = 1_000_000
HOW_MANY = {"sample": "sample.num", "search": "search.budget"}
_SLACK = 1e-9  # of an end that is met but for rounding


@dataclass(frozen=True, kw_only=True)
class Range:
    """Values between two ends, both included.

    Attributes:
        low, high: The ends; ``low < high``, and ``low > 0`` on a log scale.
        scale: "linear" or "log".
        whole: Whether values are whole numbers.
    """

    low: float
    high: float
    scale: str
    whole: bool

    def at(self, share: float) -> float | int:
        """The value below which ``share`` in [0, 1) of the range lies; whole numbers by their own interval.

        On a log scale a whole number k has the weight log((k + 1) / k).

        >>> Range(low=1e-4, high=1.0, scale="log", whole=False).at(0.5)
        0.01
        >>> [Range(low=1, high=3, scale="linear", whole=True).at(share) for share in (0.0, 0.4, 0.99)]
        [1, 2, 3]
        """
        high = self.high + self.whole
        if self.scale == "log":
            value = math.exp(math.log(self.low) + share * math.log(high / self.low))
        else:
            value = self.low + share * (high - self.low)
        return min(math.floor(rounded(value)), int(self.high)) if self.whole else rounded(value)


def rounded(value: float) -> float:
    """To twelve significant digits.

    >>> rounded(0.1 + 0.2)
    0.3
    """
    return float(f"{value:.{DIGITS}g}")


def axis(
    item: Item, declared: Hyperparameter, name: str, faults: Faults, *, repeats: bool = False
) -> tuple[Scalar, ...]:
    """The values of an axis; none, and faults, if it is no list or range of allowed values.

    Args:
        item: A list or a range.
        declared: The hyperparameter.
        name: How messages name it.
        faults: Takes the faults.
        repeats: Whether a list may name a value twice.
    """
    if item.items is not None:
        return _listed(item, declared, name, faults, repeats=repeats)
    if item.entries is None:
        faults.add(
            item.line, f"{name}: got {item}, allowed a list or a range; a single value goes under values"
        )
        return ()
    found = _range(item, declared, name, faults)
    if found is None:
        return ()
    spread, ways = found
    if len(ways) != 1 or (spread.scale == "log" and "num" not in ways):
        got = ", ".join(ways) or "none of them"
        faults.add(
            item.line, f"{name}: got {got}, allowed one of num (with scale: log, if wished), step, factor"
        )
        return ()
    return _typed(_spaced(spread, *ways.popitem()), item, declared, name, faults)


def choices(
    item: Item, declared: Hyperparameter, name: str, faults: Faults, *, within: str = "sample"
) -> Range | Sequence[Scalar]:
    """What a sample or a search draws from: a range without ``num``, or a list; nothing, and faults, else."""
    if item.entries is None:
        return axis(item, declared, name, faults)
    found = _range(item, declared, name, faults)
    if found is None:
        return ()
    spread, ways = found
    if ways:
        faults.add(
            item.line,
            f"{name}: got {', '.join(ways)}, allowed from, to, scale: {HOW_MANY[within]} says how many",
        )
        return ()
    return spread if _typed([spread.low, spread.high], item, declared, name, faults) else ()


def _listed(
    item: Item, declared: Hyperparameter, name: str, faults: Faults, *, repeats: bool
) -> tuple[Scalar, ...]:
    parts = item.items or ()
    if not parts:
        faults.add(item.line, f"{name}: got an empty list, allowed at least one value")
    values: list[Scalar] = []
    seen: set[Scalar] = set()
    for part in parts:
        value = scalar(part, declared, name, faults)
        if value is not None and value in seen and not repeats:
            faults.add(part.line, f"{name}: got {value!r} twice, allowed once")
        elif value is not None:
            values.append(value)
            seen.add(value)
    return tuple(values) if len(values) == len(parts) else ()


def _range(
    item: Item, declared: Hyperparameter, name: str, faults: Faults
) -> tuple[Range, dict[str, float]] | None:
    """A range, and which of num, step and factor it names; None, and faults, if it is none."""
    if type(declared.default) not in (int, float):
        faults.add(item.line, f"{name}: got a range, allowed a list: it is no number")
        return None
    found = section(item, name, RANGE, ("from", "to"), faults)
    if found is None:
        return None
    numbers = {key: float(value) for key, value in found.items() if key != "scale"}
    scale, low, high = str(found.get("scale", "linear")), numbers.pop("from"), numbers.pop("to")
    if not low < high:
        faults.add(item.line, f"{name}: got from {low:g} to {high:g}, allowed from < to")
    elif low <= 0 and (scale == "log" or "factor" in numbers):
        faults.add(item.line, f"{name}: got from {low:g}, allowed > 0 where values are spaced by factors")
    else:
        return Range(low=low, high=high, scale=scale, whole=type(declared.default) is int), numbers
    return None


def _spaced(spread: Range, way: str, size: float) -> list[float]:
    """At most ``MOST_VALUES`` + 1 values of a range, by their number, step or factor."""
    low, high = spread.low, spread.high
    if way == "num":
        shares = [index / (size - 1) for index in range(int(size))]
        if spread.scale == "log":
            return [low * (high / low) ** share for share in shares]
        return [low + (high - low) * share for share in shares]
    reach = (high - low) / size if way == "step" else math.log(high / low) / math.log(size)
    count = math.floor(min(reach, MOST_VALUES) + _SLACK) + 1
    if way == "step":
        return [low + index * size for index in range(count)]
    return [low * size**index for index in range(count)]


def _typed(
    values: Sequence[float], item: Item, declared: Hyperparameter, name: str, faults: Faults
) -> tuple[Scalar, ...]:
    """Values of a range in their declared type; none, and the first fault, if one is not allowed."""
    if len(values) > MOST_VALUES:
        faults.add(item.line, f"{name}: got more than {MOST_VALUES:,} values, allowed at most that")
        return ()
    found: dict[Scalar, None] = {}
    for value in map(rounded, values):
        typed = int(value) if type(declared.default) is int and value.is_integer() else value
        fault = replace(declared, name=name).check(typed)
        if fault is None and typed in found:
            fault = f"{name}: got {typed!r} twice, allowed: values that differ in {DIGITS} digits"
        if fault:
            faults.add(item.line, fault)
            return ()
        found[declared.cast(typed)] = None
    return tuple(found)
