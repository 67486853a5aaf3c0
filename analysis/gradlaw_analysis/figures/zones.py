"""Where on its axis a claim holds, is merely missed, and is refuted; read from its test alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradlaw.claim import AllBelow, Distribution, Statistic, Survival, Trend


@dataclass(frozen=True, kw_only=True)
class Zones:
    """A claim's axis.

    Attributes:
        target: The value claimed, or the value to be exceeded.
        holds: The interval of effects that are as claimed; ends may be infinite.
        tolerated: The interval outside which the claim is refuted; holds ``holds``.
        margin: The claim's margin, None where it has none.
    """

    target: float
    holds: tuple[float, float]
    tolerated: tuple[float, float]
    margin: float | None


def zones(test: Statistic) -> Zones:
    """The zones of a declared test.

    >>> from gradlaw.claim import Mean
    >>> zones(Mean(target=1.0, margin=0.25, sd=1.0)).holds
    (0.75, 1.25)
    >>> zones(Mean(target=1.0, margin=0.25, sd=1.0, direction="greater")).tolerated
    (0.75, inf)
    """
    if isinstance(test, AllBelow):
        return _within(0.0, test.bound, low=0.0)
    if isinstance(test, Distribution):
        return _within(0.0, test.margin, low=0.0)
    if isinstance(test, Trend | Survival):
        return _beyond(0.0, test.direction, 0.0, margin=None)
    if test.direction is None:
        return _within(test.target, test.margin, low=test.target - test.margin)
    return _beyond(test.target, test.direction, test.margin, margin=test.margin)


def _within(target: float, margin: float, *, low: float) -> Zones:
    band = (low, target + margin)
    return Zones(target=target, holds=band, tolerated=band, margin=margin)


def _beyond(target: float, direction: str, slack: float, *, margin: float | None) -> Zones:
    if direction == "greater":
        holds, tolerated = (target, math.inf), (target - slack, math.inf)
    else:
        holds, tolerated = (-math.inf, target), (-math.inf, target + slack)
    return Zones(target=target, holds=holds, tolerated=tolerated, margin=margin)
