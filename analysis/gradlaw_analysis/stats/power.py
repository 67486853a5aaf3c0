"""How many seeds a claim needs, and the refusal of studies that cannot decide theirs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from gradlaw.claim import (
    AllBelow,
    Claim,
    Mean,
    PairedDifference,
    Proportion,
    Slope,
    Statistic,
    Survival,
    Trend,
)
from gradlaw.errors import ConfigurationError, UndecidableError
from gradlaw_analysis.stats.declaration import declaration_faults
from gradlaw_analysis.stats.proportion import bernoulli
from gradlaw_analysis.stats.student import Located
from gradlaw_analysis.stats.tails import critical

MAX_SEEDS = 100_000
POWER = 0.8  # Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd ed. (1988), section 2.4
BERNOULLI_SD = 0.5  # the declared default of Proportion: one Bernoulli a seed


def seeds_needed(test: Statistic, alpha: float, *, sd: float | None = None) -> int | None:
    """Seeds for 80% power of "supported" where the claim is true.

    True means: at the centre of an equivalence region; with a direction, ``margin`` beyond the target; in
    every part, of which each may fail with an equal share of the 20% (Bonferroni). Tests that declare no
    size of effect (trends, survival, distributions) need what can reach ``alpha`` at all.

    Args:
        test: The declared statistic.
        alpha: One-sided level of the single test: after the look's share and Holm's divisor.
        sd: Standard deviation over seeds; None: the declared one.

    Returns:
        At least 2; None if no effect is declared (a direction with a margin of 0) or more than 100,000.
    """
    if isinstance(test, AllBelow):
        return 1
    if not isinstance(test, Mean | Slope | PairedDifference | Proportion):
        return smallest_decidable(test, alpha)
    spread = test.sd if sd is None else sd
    if isinstance(test, Proportion) and spread >= BERNOULLI_SD and sd is None:
        return _first(lambda num: _binomial_power(test, num, alpha) >= POWER, limit=2_000)
    if test.margin == 0:
        return None
    missed = (1 - POWER) / (1 if isinstance(test, Proportion) else test.num_parts)
    return _first(lambda num: t_power(test, num, alpha, spread) >= 1 - missed)


def smallest_decidable(test: Statistic, alpha: float) -> int | None:
    """Fewest seeds with which ``test`` can come out supported at ``alpha``; None past 100,000."""
    return _first(lambda num: decidable(test, num, alpha))


def decidable(test: Statistic, num_seeds: int, alpha: float) -> bool:
    """Whether ``num_seeds`` can support the claim at the one-sided level ``alpha``.

    For t tests the interval's half-width expected from the declared sd must be below the margin (with a
    direction and no margin any two seeds may do); for rank, permutation and binomial tests the smallest
    p that can be attained must not exceed ``alpha``.
    """
    if isinstance(test, AllBelow):
        return num_seeds >= 1
    if num_seeds < 2:
        return False
    if isinstance(test, Proportion) and test.sd >= BERNOULLI_SD:
        return smallest_binomial_p(test, num_seeds) <= alpha
    if isinstance(test, Mean | Slope | PairedDifference | Proportion):
        half = critical(alpha, num_seeds, skewed=_skewed(test)) * test.sd / math.sqrt(num_seeds)
        return half < test.margin or (test.direction is not None and test.margin == 0)
    return math.log(alpha) >= log_smallest_p(test, num_seeds)


def log_smallest_p(test: Statistic, num_seeds: int) -> float:
    """Natural logarithm of the smallest p a permutation test can attain.

    Page: one order in k! a block, so (k!)^-n. Jonckheere: one assignment of n seeds to k levels as even as
    possible. Survival: one of 2^n swaps. Distributions rest on t and have no such limit.
    """
    if isinstance(test, Trend) and test.blocked:
        return -num_seeds * math.lgamma(test.num_levels + 1)
    if isinstance(test, Trend):
        if num_seeds < max(3, test.num_levels):
            return 0.0
        sizes = [
            num_seeds // test.num_levels + (i < num_seeds % test.num_levels) for i in range(test.num_levels)
        ]
        return sum(math.lgamma(size + 1) for size in sizes) - math.lgamma(num_seeds + 1)
    if isinstance(test, Survival):
        return -num_seeds * math.log(2)
    return -math.inf


def t_power(test: Located, num_seeds: int, alpha: float, sd: float) -> float:
    """Power of the one-sided t test ``margin`` away from its bound, or of both tests of equivalence.

    One test: noncentral t with n - 1 degrees of freedom and noncentrality margin sqrt(n) / sd. Both, from the
    centre: at least 2 power - 1 (Bonferroni), nearly exact where the power is useful.
    """
    if sd == 0:
        return 1.0
    bound = critical(alpha, num_seeds, skewed=_skewed(test))
    one = float(stats.nct.sf(bound, num_seeds - 1, test.margin * math.sqrt(num_seeds) / sd))
    return one if test.direction is not None else max(0.0, 2 * one - 1)


def _skewed(test: Located) -> bool:
    return not isinstance(test, Proportion) and test.skewed


def smallest_binomial_p(test: Proportion, num_seeds: int) -> float:
    """Smallest p of the claim over all possible numbers of successes of ``num_seeds`` Bernoulli trials."""
    if test.direction is not None:
        return bernoulli(test, num_seeds if test.direction == "greater" else 0, num_seeds).p_claim
    centre = min(max(test.target, 0.0), 1.0) * num_seeds
    return min(bernoulli(test, count, num_seeds).p_claim for count in {math.floor(centre), math.ceil(centre)})


def _binomial_power(test: Proportion, num_seeds: int, alpha: float) -> float:
    shift = {"greater": test.margin, "less": -test.margin, None: 0.0}[test.direction]
    truth = min(max(test.target + shift, 0.0), 1.0)
    counts = np.arange(num_seeds + 1)
    supported = np.array([bernoulli(test, int(count), num_seeds).p_claim <= alpha for count in counts])
    return float(stats.binom.pmf(counts, num_seeds, truth)[supported].sum())


def _first(condition: Callable[[int], bool], limit: int = MAX_SEEDS) -> int | None:
    """Smallest number of seeds from 2 that meets ``condition``, taken to be monotone; None past ``limit``."""
    high = 2
    while not condition(high):
        if high >= limit:
            return None
        high = min(2 * high, limit)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if condition(middle) else (middle, high)
    return max(high, 2)


def family_sizes(claims: Sequence[Claim]) -> Counter[str]:
    """Number of claims in each Holm family; identities are outside and counted nowhere."""
    return Counter(claim.family for claim in claims if not isinstance(claim.test, AllBelow))


def look_share(claim: Claim, num_seeds: int) -> float:
    """Share of alpha that the claim spends at ``num_seeds``: 2**-k at look k, 1 without looks.

    Between looks it is that of the last look passed, before the first that of the first; such
    evaluations are exploratory.
    """
    if not claim.looks:
        return 1.0
    return 2.0 ** -max(1, sum(look <= num_seeds for look in claim.looks))


def check_decidable(claims: Sequence[Claim], num_seeds: int) -> None:
    """Refuses, before any trial runs, a study whose seeds cannot decide its claims.

    Holm's worst divisor, the size of the family, is assumed. Controls that must be found are held to the
    same rule with a divisor of 1: one that cannot come out would break every verdict.

    Args:
        claims: All claims of the study.
        num_seeds: Seeds the preset declares.

    Raises:
        ConfigurationError: Names every impossible value of the declarations.
        UndecidableError: Names every claim that cannot be supported, and the seeds each needs.
    """
    if impossible := declaration_faults(claims):
        raise ConfigurationError(impossible)
    sizes = family_sizes(claims)
    faults = [fault for claim in claims if (fault := _undecidable(claim, num_seeds, sizes[claim.family]))]
    if faults:
        msg = "\n  ".join(
            [
                f"{num_seeds} seeds cannot decide {len(faults)} of {len(claims)} claims; declare more seeds:",
                *faults,
            ]
        )
        raise UndecidableError(msg)


def _undecidable(claim: Claim, num_seeds: int, family_size: int) -> str | None:
    if claim.looks and num_seeds < claim.looks[0]:
        return f"{claim.name}: its first look is at {claim.looks[0]} seeds"
    alpha = claim.alpha * look_share(claim, num_seeds)
    checks = [(claim.name, claim.test, alpha / max(1, family_size))]
    checks += [
        (f"{claim.name}, control {c.name}", c.test, alpha) for c in claim.controls if c.expect == "supported"
    ]
    faults = [_need(*check) for check in checks if not decidable(check[1], num_seeds, check[2])]
    return "\n  ".join(faults) or None


def _need(name: str, test: Statistic, alpha: float) -> str:
    fewest, powerful = smallest_decidable(test, alpha), seeds_needed(test, alpha)
    return (
        f"{name}: needs {_number(fewest)} seeds, "
        f"{_number(powerful)} for 80% power, at one-sided level {alpha:.2g}{_assumed(test)}"
    )


def _assumed(test: Statistic) -> str:
    """What the numbers follow from, of a test on a mean."""
    return f", margin {test.margin:g}, sd {test.sd:g}" if isinstance(test, Located) else ""


def _number(seeds: int | None) -> str:
    return f"over {MAX_SEEDS:,}" if seeds is None else str(seeds)
