"""Claims of several parts at once, such as every quantity in every task: each part must hold by itself.

An average over parts can be right where the parts are wrong in opposite directions, or where one of many is.
"The claim holds in every part" is an intersection, tested without adjustment by the largest p of its parts
(intersection-union: Berger, Technometrics 24, 1982, 295-300); "it fails in some part" is a union, tested by
their number times the smallest p (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from gradlaw.errors import ClaimError
from gradlaw_analysis.stats.effect import Effect, undecided
from gradlaw_analysis.stats.sample import require_columns


def every_part(sample: pd.DataFrame, num_parts: int, effect_of: Callable[[pd.DataFrame], Effect]) -> Effect:
    """The effect of the part that is furthest from being supported, with the p of all parts together.

    A seed that lacks a part is excluded. The interval reaches over those of all parts: an equivalence is
    supported exactly if it lies inside the region, and it covers the value of any one part at its level.

    Args:
        sample: With a column ``part``.
        num_parts: Parts declared; a sample with fewer decides nothing.
        effect_of: The effect of the rows of one part.

    Raises:
        ClaimError: If there are more parts than declared, or a row has none.
    """
    require_columns(sample, ("seed", "part"), "A test with num_parts")
    parts = list(sample["part"].drop_duplicates())
    if sample["part"].isna().any() or len(parts) > num_parts:
        shown = ", ".join(sorted(map(str, parts))[:12])
        msg = f"num_parts={num_parts} is declared but the sample has {len(parts)} parts: {shown}"
        raise ClaimError(msg)
    held = sample.groupby("seed")["part"].nunique()
    complete = held.index[held == num_parts]
    num_excluded = len(held) - len(complete)
    if not len(complete):
        return undecided(math.nan, 0, num_excluded)
    rows = sample.loc[sample["seed"].isin(complete)]
    effects = [effect_of(group) for _, group in rows.groupby("part", sort=True)]
    fewest = min(effects, key=lambda effect: effect.num_seeds)
    num_excluded += len(complete) - fewest.num_seeds
    if fewest.num_seeds < 2:
        return undecided(fewest.estimate, fewest.num_seeds, num_excluded)
    worst = max(effects, key=lambda effect: (effect.p_claim, -effect.p_complement))

    def interval(level: float) -> tuple[float, float]:
        lows, highs = zip(*(effect.interval(level) for effect in effects), strict=True)
        return min(lows), max(highs)

    return Effect(
        estimate=worst.estimate,
        p_claim=worst.p_claim,
        p_complement=min(1.0, num_parts * min(effect.p_complement for effect in effects)),
        num_seeds=fewest.num_seeds,
        num_excluded=num_excluded,
        interval=interval,
        sd=max(effect.sd or 0.0 for effect in effects),
    )
