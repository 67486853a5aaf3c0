"""Identities: exact to rounding, so one value above the bound refutes and no sampling is involved."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from gradlaw.claim import AllBelow
from gradlaw_analysis.stats.effect import Effect, undecided
from gradlaw_analysis.stats.sample import finite, require_columns


def identity_effect(test: AllBelow, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:  # noqa: ARG001
    """Effect of :class:`gradlaw.claim.AllBelow`: the largest absolute value, an interval of no width."""
    require_columns(sample, ("seed", "value"), "AllBelow")
    values = finite(sample, "value")
    if not len(values):
        return undecided(math.nan, 0, 0)
    largest = float(np.max(np.abs(values)))
    holds = largest <= test.bound
    return Effect(
        estimate=largest,
        p_claim=0.0 if holds else 1.0,
        p_complement=1.0 if holds else 0.0,
        num_seeds=int(sample["seed"].nunique()),
        num_excluded=0,
        interval=lambda _level: (largest, largest),
    )
