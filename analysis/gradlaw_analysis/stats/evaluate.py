"""From a declared test and its sample to an effect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from gradlaw.claim import (
    AllBelow,
    Claim,
    Distribution,
    Mean,
    PairedDifference,
    Proportion,
    Slope,
    Statistic,
    Survival,
    Trend,
)
from gradlaw.fingerprint import digest
from gradlaw_analysis.stats.distribution import distribution_effect
from gradlaw_analysis.stats.effect import Effect
from gradlaw_analysis.stats.identity import identity_effect
from gradlaw_analysis.stats.parts import every_part
from gradlaw_analysis.stats.proportion import proportion_effect
from gradlaw_analysis.stats.student import mean_effect, paired_effect, slope_effect
from gradlaw_analysis.stats.survival import survival_effect
from gradlaw_analysis.stats.trend import trend_effect

# Any: each function takes the declaration it is registered under.
TESTS: dict[type[Statistic], Callable[[Any, pd.DataFrame, np.random.Generator], Effect]] = {
    Mean: mean_effect,
    Slope: slope_effect,
    PairedDifference: paired_effect,
    Proportion: proportion_effect,
    Trend: trend_effect,
    Distribution: distribution_effect,
    AllBelow: identity_effect,
    Survival: survival_effect,
}


def evaluate(test: Statistic, sample: pd.DataFrame, *, rng: np.random.Generator) -> Effect:
    """Evaluates ``test`` on ``sample``; the order of rows does not matter.

    Args:
        test: The declared statistic.
        sample: Rows of the claim's SQL with the columns the declaration names.
        rng: Used by permutation tests only; see :func:`claim_rng`.

    Raises:
        ClaimError: If columns are missing or values are not what the test needs; names the seeds.
    """
    num_parts = getattr(test, "num_parts", 1)
    if num_parts == 1:
        return TESTS[type(test)](test, sample, rng)
    return every_part(sample, num_parts, lambda part: TESTS[type(test)](test, part, rng))


def claim_rng(claim: Claim) -> np.random.Generator:
    """A generator that depends on the claim's name alone, so that a verdict can be repeated."""
    return np.random.default_rng(int(digest(claim.name), 16))
