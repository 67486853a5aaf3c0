"""The data law n ~ d log d, as numbers that study, claims and figures share.

References: Tian, arXiv 2509.21519; its public code sets the share of rows trained on to
``critical_ratio_multiplier * log(M) / M`` (yuandong-tian/understanding, cogo/config/dyn_madd.yaml).
"""

from __future__ import annotations

import math

CONSTANT = 2.7482
"""The public code's ``critical_ratio_multiplier``."""

ACCURACY = 0.99
"""Where a set of rows counts as fitted, or added; of fewer than 100 rows it asks for all."""


def share(modulus: int, multiple: float = CONSTANT) -> float:
    """The share ``multiple * ln(d) / d`` of the d^2 pairs; n = share * d^2 = multiple * d ln(d) rows.

    Rounded to four digits, so that a trial's identity holds the number that is shown.

    >>> share(71)
    0.165
    """
    return round(multiple * math.log(modulus) / modulus, 4)


def ladder(lowest: float, ratio: float, num: int) -> tuple[float, ...]:
    """``num`` multiples from ``lowest``, each ``ratio`` times the one before.

    >>> ladder(1.0, 2.0, 3)
    (1.0, 2.0, 4.0)
    """
    return tuple(lowest * ratio**rung for rung in range(num))
