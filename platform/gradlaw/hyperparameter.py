"""Declared hyperparameters: name, default, range. Values are checked, never clamped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Scalar = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One declared hyperparameter of a task, a rule, a schedule or the engine.

    Attributes:
        name: The field's term, for example ``lr``.
        default: Value where none is given; its type (bool, int, float or str) is the declared type.
            A trial's identity leaves out what stands at its default, so that a hyperparameter added later
            changes no trial made before it.
        low, high: Allowed range, both ends included unless open.
        low_open, high_open: Whether an end is excluded.
        choices: Allowed values of a str or int; empty: any.
        structural: Whether the value changes shapes or control flow. Trials that differ in one go to
            different packs; all others vary inside a pack, as tensors.
        doc: One line: meaning, units, source of the default.
    """

    name: str
    default: Scalar
    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    choices: tuple[Scalar, ...] = ()
    structural: bool = False
    doc: str = ""

    def check(self, value: object) -> str | None:
        """Returns the fault of ``value`` as one line, or None."""
        kind = type(self.default)
        if kind is float and type(value) is int:
            return self._check_range(float(value))
        if type(value) is not kind:
            got = f"{value!r} ({type(value).__name__})"
            return f"{self.name}: got {got}, allowed {kind.__name__} {self.allowed()}"
        if self.choices and value not in self.choices:
            return f"{self.name}: got {value!r}, allowed {self.allowed()}"
        if isinstance(value, (int, float)) and kind is not bool:
            return self._check_range(float(value))
        return None

    def _check_range(self, value: float) -> str | None:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        if math.isfinite(value) and above and below:
            return None
        return f"{self.name}: got {value:g}, allowed {self.allowed()}"

    def allowed(self) -> str:
        """The allowed values as text."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        if type(self.default) in (bool, str):
            return ""
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        if self.low == -math.inf and self.high == math.inf:
            return "any finite number"
        if self.high == math.inf:
            return f"{'>' if self.low_open else '>='} {self.low:g}"
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def cast(self, value: Any) -> Scalar:
        """Returns a checked value in the declared type: an int given for a float is a float."""
        typed: Scalar = float(value) if type(self.default) is float else value
        return typed


def unknown_names(given: Iterable[str], declared: Mapping[str, Hyperparameter]) -> list[str]:
    """One fault line for each given name that is not declared; it lists the declared ones."""
    known = ", ".join(sorted(declared))
    return [
        f"{name}: unknown hyperparameter; known: {known}" for name in sorted(given) if name not in declared
    ]
