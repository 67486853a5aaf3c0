"""Early ends: a target that a trial may reach, and a budget shared among the trials of a pack.

Both are part of a trial's identity, since they decide how far it is trained. Both are looked at when a row
of ``metrics`` is logged, on columns of that row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["below", "above"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A trial ends as ``reached_target`` at the first logged step where its metric is at the value or past.

    Its ``steps_done`` is that step, and its last row of ``metrics``.

    Attributes:
        metric: A column of ``metrics``, for example ``loss`` (of the step's batch) or ``train_loss``.
        value: Where the target lies.
        direction: The side on which the target is reached.
    """

    metric: str
    value: float
    direction: Direction = "below"


@dataclass(frozen=True, kw_only=True)
class Halving:
    """Successive halving (Jamieson and Talwalkar, arXiv 1502.07943, algorithm 1) among the trials of a pack.

    At step ``first``, ``first * factor``, ``first * factor**2``, ... those that still run are ranked by
    the metric, the best 1 / factor of them (rounded up) go on, and the others end as ``stopped``. A metric
    that is not a number ranks last; ties are broken by the order of trial ids. Trials that ended before are
    not ranked.

    Attributes:
        metric: A column of ``metrics``.
        first: Step of the first ranking, >= 1; a multiple of ``log_every``.
        factor: At least 2.
        direction: "below" where small values are good.
    """

    metric: str
    first: int
    factor: int = 3
    direction: Direction = "below"

    def rungs(self, steps: int) -> tuple[int, ...]:
        """The steps of the rankings of a training of ``steps``.

        >>> Halving(metric="loss", first=10).rungs(270)
        (10, 30, 90)
        """
        found, rung = [], self.first
        while rung < steps:
            found.append(rung)
            rung *= self.factor
        return tuple(found)
