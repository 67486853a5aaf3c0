"""How often do the tests err? Simulates every statistic at the boundary of its claim.

Run ``python benchmarks/calibration.py [REPLICATES]``; each line of output is one JSON object:
``false_support`` is the share of samples that support a claim which is just false (the larger of the two
boundaries where there are two), ``false_refute`` the share that refute one which just holds, ``coverage``
that of the 95% interval. Promised is at most ``alpha`` for the first two and 95 +- 2% for the last.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlaw.claim import Claim, Distribution, Mean, Proportion, Survival, Trend
from gradlaw_analysis.stats import Effect, evaluate
from gradlaw_analysis.stats.power import look_share
from gradlaw_analysis.stats.proportion import bernoulli
from gradlaw_analysis.stats.student import student

ALPHA = 0.025
LEVEL = 1 - 2 * ALPHA
LOOKS = (10, 20, 40, 80)
Floats = npt.NDArray[np.float64]
Row = dict[str, object]

# Laws with mean 0 and variance 1, and their skewness.
LAWS: dict[str, tuple[float, Callable[[np.random.Generator, tuple[int, ...]], Floats]]] = {
    "normal": (0.0, lambda rng, shape: rng.standard_normal(shape)),
    "gamma4": (1.0, lambda rng, shape: (rng.standard_gamma(4, shape) - 4) / 2),
    "lognormal": (
        1.75,
        lambda rng, shape: (
            (np.exp(0.5 * rng.standard_normal(shape)) - math.exp(1 / 8))
            / math.sqrt(math.exp(0.5) - math.exp(0.25))
        ),
    ),
    "exponential": (2.0, lambda rng, shape: rng.standard_exponential(shape) - 1),
}


def mean_errors(law: str, num_seeds: int, replicates: int, *, skewed: bool) -> Row:
    """Errors of t for one law: the truth, 0, is the upper and then the lower end of the claimed region."""
    rng = np.random.default_rng([num_seeds, len(law)])
    below = Mean(target=-2.0, margin=2.0, sd=1.0, skewed=skewed)
    above = Mean(target=2.0, margin=2.0, sd=1.0, skewed=skewed)
    effects = [
        [student(test, sample, num_excluded=0, skewed=skewed) for test in (below, above)]
        for sample in LAWS[law][1](rng, (replicates, num_seeds))
    ]
    intervals = np.array([pair[0].interval(LEVEL) for pair in effects])
    return {
        "statistic": "mean",
        "law": law,
        "skewness": LAWS[law][0],
        "skewed": skewed,
        "num_seeds": num_seeds,
        "replicates": replicates,
        "false_support": max(_share([pair[i].p_claim for pair in effects]) for i in (0, 1)),
        "false_refute": max(_share([pair[i].p_complement for pair in effects]) for i in (0, 1)),
        "coverage": float(((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)).mean()),
    }


def correlated_rows(num_seeds: int, replicates: int) -> Row:
    """Eight rows a seed that correlate at 0.8, as logged steps of one trial do."""
    rng = np.random.default_rng([num_seeds, 8])
    seeds = np.repeat(np.arange(num_seeds), 8)
    test = Mean(target=-2.0, margin=2.0, sd=1.0)
    effects = []
    for _ in range(replicates):
        values = math.sqrt(0.8) * np.repeat(rng.standard_normal(num_seeds), 8)
        values = values + math.sqrt(0.2) * rng.standard_normal(len(seeds))
        effects.append(evaluate(test, pd.DataFrame({"seed": seeds, "value": values}), rng=rng))
    return _row("mean of correlated rows", num_seeds, effects, truth=0.0)


def extend_until_decided(replicates: int, *, declared: bool) -> Row:
    """Seeds are added at 10, 20, 40 and 80 until the claim, which is just false, is supported."""
    rng = np.random.default_rng(80)
    test = Mean(target=-2.0, margin=2.0, sd=1.0)
    claim = Claim(name="m", statement="", source="", sql="", test=test, looks=LOOKS)
    supported = 0
    for sample in rng.standard_normal((replicates, LOOKS[-1])):
        for look in LOOKS:
            effect = student(test, sample[:look], num_excluded=0)
            level = ALPHA * (look_share(claim, look) if declared else 1.0)
            if min(effect.p_claim, effect.p_complement) <= level:
                supported += effect.p_claim <= level
                break
    return {
        "statistic": "mean, extended while inconclusive",
        "looks": LOOKS,
        "declared": declared,
        "replicates": replicates,
        "false_support": supported / replicates,
    }


def bernoulli_errors(num_seeds: int, replicates: int) -> Row:
    """One Bernoulli a seed, the truth at the upper end of the claimed region."""
    rng = np.random.default_rng([num_seeds, 2])
    test = Proportion(target=0.4, margin=0.4)
    effects = [bernoulli(test, int(k), num_seeds) for k in rng.binomial(num_seeds, 0.8, replicates)]
    return _row("proportion, one Bernoulli a seed", num_seeds, effects, truth=0.8)


def trend_errors(num_seeds: int, replicates: int, *, blocked: bool) -> Row:
    """No trend: four levels with skewed, coarsely rounded (tied) values; blocks share an offset."""
    rng = np.random.default_rng([num_seeds, 4, blocked])
    test = Trend(direction="greater", num_levels=4, blocked=blocked)
    level = np.tile(np.arange(4.0), num_seeds) if blocked else np.arange(num_seeds) % 4.0
    seeds = np.repeat(np.arange(num_seeds), 4) if blocked else np.arange(num_seeds)
    effects = []
    for _ in range(replicates):
        offset = 3 * rng.standard_normal(num_seeds)[seeds]
        values = np.round(offset + rng.standard_exponential(len(seeds)), 1)
        sample = pd.DataFrame({"seed": seeds, "level": level, "value": values})
        effects.append(evaluate(test, sample, rng=rng))
    return _row("Page" if blocked else "Jonckheere", num_seeds, effects, truth=0.0)


def survival_errors(num_seeds: int, replicates: int) -> Row:
    """Two arms of one law, correlated within a seed and censored at a budget."""
    rng = np.random.default_rng([num_seeds, 6])
    test = Survival(arms=("a", "b"), direction="greater", horizon=1.5)
    effects = []
    for _ in range(replicates):
        shared = rng.standard_exponential(num_seeds)
        time = (np.repeat(shared, 2) + rng.standard_exponential(2 * num_seeds)) / 2
        sample = pd.DataFrame(
            {
                "seed": np.repeat(np.arange(num_seeds), 2),
                "arm": ["a", "b"] * num_seeds,
                "time": np.minimum(time, 1.5),
                "observed": time < 1.5,
            }
        )
        effects.append(evaluate(test, sample, rng=rng))
    return _row("survival", num_seeds, effects, truth=0.0)


def distribution_errors(num_seeds: int, replicates: int, *, items: int, spread: float | None) -> Row:
    """Networks that draw ``items`` at random, 0.3 in total variation from a reference of five networks.

    With ``spread`` each network has shares of its own (Dirichlet with that concentration).
    """
    rng = np.random.default_rng([num_seeds, items])
    published = np.array([0.47, 0.11, 0.40, 0.02])
    ours = published + np.array([0.2, 0.1, -0.3, 0.0])
    names = ["a", "b", "c", "d"]
    effects = []

    def networks(shares: Floats, number: int) -> Floats:
        each = np.tile(shares, (number, 1)) if spread is None else rng.dirichlet(spread * shares, number)
        return rng.multinomial(items, each).astype(np.float64)

    for _ in range(replicates):
        reference = (networks(published, 5) / items).mean(axis=0)
        counts = networks(ours, num_seeds)
        sample = pd.DataFrame(
            {
                "seed": np.repeat(np.arange(num_seeds), 4),
                "category": names * num_seeds,
                "count": counts.ravel(),
            }
        )
        shares = dict(zip(names, reference.tolist(), strict=True))
        effects.append(
            evaluate(Distribution(reference=shares, reference_seeds=5, margin=0.3), sample, rng=rng)
        )
    return {**_row("distribution", num_seeds, effects, truth=0.3), "items": items, "spread": spread}


def _row(statistic: str, num_seeds: int, effects: list[Effect], *, truth: float) -> Row:
    intervals = np.array([effect.interval(LEVEL) for effect in effects])
    return {
        "statistic": statistic,
        "num_seeds": num_seeds,
        "replicates": len(effects),
        "false_support": _share([effect.p_claim for effect in effects]),
        "false_refute": _share([effect.p_complement for effect in effects]),
        "coverage": float(((intervals[:, 0] <= truth) & (intervals[:, 1] >= truth)).mean()),
    }


def _share(p_values: list[float]) -> float:
    return float(np.mean(np.array(p_values) <= ALPHA))


def rows(replicates: int) -> Iterator[Row]:
    """All rows; the slower statistics take a tenth of the replicates."""
    for num_seeds in (5, 10, 20, 40):
        for law in LAWS:
            for skewed in (False, True):
                yield mean_errors(law, num_seeds, replicates, skewed=skewed)
    few = max(replicates // 10, 1)
    for declared in (True, False):
        yield extend_until_decided(replicates, declared=declared)
    for num_seeds in (5, 10, 20):
        yield correlated_rows(num_seeds, few)
        yield bernoulli_errors(num_seeds, replicates)
        yield trend_errors(num_seeds, few, blocked=True)
        yield survival_errors(num_seeds, few)
        for items, spread in ((1, None), (11, None), (11, 10.0)):
            yield distribution_errors(num_seeds, few, items=items, spread=spread)
    yield trend_errors(12, few, blocked=False)


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000):
        print(json.dumps(row), flush=True)
