"""What an adaptive plan may ask for: the space that a search draws from, and an axis found by bisection."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradlaw.ending import Target
from gradlaw.hyperparameter import Scalar


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers between two ends, both included.

    Attributes:
        low, high: The ends, ``low < high``.
        log: Whether the logarithm is what is uniform; then ``low > 0``.
        whole: Whether only whole numbers are meant; a hyperparameter that is an integer needs it.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Single values, none better than its neighbours for being near a good one.

    Attributes:
        values: The values, each once.
    """

    values: tuple[Scalar, ...]


Dimension = Range | Choices


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An axis whose value is found: the largest at which a trial still holds.

    It stands in a grid's values in the place of an axis, once in a grid. For each combination of the rest and
    each seed apart, both ends are tried first. Where ``low`` holds and ``high`` fails, the geometric mean of
    the largest value that holds and the smallest that fails is tried next, ``halvings`` times. Other ends
    bracket nothing: the search ends there and is counted; nothing is widened.

    A trial fails if it ends as ``diverged``, or, with ``fails``, if at its last row the metric is not a
    number, or at ``fails.value`` or past it.

    Attributes:
        low, high: Ends, ``0 < low < high``.
        halvings: How often the bracket's logarithm is halved, >= 1.
        fails: What else counts as failing.
    """

    low: float
    high: float
    halvings: int
    fails: Target | None = None

    @property
    def resolution(self) -> float:
        """Ratio of the smallest value that fails to the largest that holds, once found.

        >>> Edge(low=1.0, high=16.0, halvings=2).resolution
        2.0
        """
        return math.pow(self.high / self.low, 0.5**self.halvings)


def between(low: float, high: float) -> float:
    """The geometric mean, the same double on every machine: product and root are rounded correctly.

    >>> between(1.0, 16.0)
    4.0
    """
    return math.sqrt(low * high)
