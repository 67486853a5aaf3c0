"""Combinations: groups of values that vary together, axes, and the conditions that leave some out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from gradlaw.errors import UsageError
from gradlaw.hyperparameter import Scalar
from gradlaw.sweep.condition import Condition
from gradlaw.sweep.document import Faults

Point = Mapping[str, Scalar]


@dataclass(frozen=True)
class Part:
    """Combinations as a grid takes them.

    Attributes:
        points: Hyperparameters that vary together; none: no such.
        axes: Hyperparameters that vary alone.
        steps: Steps to train.
    """

    points: tuple[Point, ...]
    axes: Mapping[str, tuple[Scalar, ...]]
    steps: tuple[int, ...]

    def __len__(self) -> int:
        return max(1, len(self.points)) * math.prod(map(len, self.axes.values())) * len(self.steps)


@dataclass(frozen=True, kw_only=True)
class Combinations:
    """What a sweep varies, before its conditions are asked.

    Attributes:
        axes: Values of each hyperparameter that varies alone.
        groups: Points of each group of hyperparameters that vary together.
        steps: Steps to train.
        fixed: Values of the hyperparameters that do not vary.
        conditions: Each with its line.
    """

    axes: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)
    groups: Sequence[Sequence[Point]] = ()
    steps: tuple[int, ...] = (0,)
    fixed: Point = field(default_factory=dict)
    conditions: Sequence[tuple[int, Condition]] = ()

    def __len__(self) -> int:
        return math.prod(map(len, [*self.axes.values(), *self.groups, self.steps]))

    def parts(self, faults: Faults) -> list[Part]:
        """What meets the conditions; in one part, or in one for each number of steps where a condition asks.

        Only groups, and hyperparameters that a condition names, become points.
        """
        asked = {name for _, condition in self.conditions for name in condition.names}
        apart = [[{name: value} for value in self.axes[name]] for name in self.axes if name in asked]
        groups = [*self.groups, *apart]
        alone = {name: values for name, values in self.axes.items() if name not in asked}
        found = []
        for steps in [(item,) for item in self.steps] if "steps" in asked else [self.steps]:
            points = tuple(self._met(groups, steps[0], faults))
            if points:
                found.append(Part(points if groups else (), alone, steps))
        if not found and not faults:
            line = self.conditions[0][0]
            faults.add(line, f"where: got none of {len(self):,} combinations, allowed what some of them meet")
        return found

    def _met(self, groups: Sequence[Sequence[Point]], steps: int, faults: Faults) -> Iterator[Point]:
        """Points of all groups together that meet every condition; ends at the first that has no truth."""
        for parts in product(*groups):
            point = {name: value for part in parts for name, value in part.items()}
            values = {**self.fixed, **point, "steps": steps}
            for line, condition in self.conditions:
                try:
                    if not condition.holds(values):
                        break
                except UsageError as error:
                    faults.add(line, f"where: {error}")
                    return
            else:
                yield point
