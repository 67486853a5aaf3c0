"""Is a distribution over categories the published one? Total variation between networks' mean shares.

With d(A) = ours(A) - reference(A) for a set A of categories, TV = max_A d(A) (Levin, Peres & Wilmer,
Markov Chains and Mixing Times, 2nd ed., Prop. 4.2). So TV < margin is an intersection of one-sided claims
d(A) < margin, tested as an intersection-union (Berger, Technometrics 24, 1982; TOST is the case of two
categories), and TV > margin is a union, tested by the largest t over sets with its joint distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from gradlaw.claim import Distribution
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats.effect import Effect, undecided
from gradlaw_analysis.stats.sample import Floats, finite, require, require_columns

MAX_CATEGORIES = 10
NUM_DRAWS = 19_999


@dataclass(frozen=True, kw_only=True)
class SetDifferences:
    """Differences of every set of categories with an uncertain share; S sets.

    Attributes:
        difference: d(A), shape (S,).
        error: Standard error of d(A) over networks of both sides, shape (S,).
        largest_t: Draws of the largest t over sets when every d(A) is at its bound, sorted.
        df: Degrees of freedom, networks less one.
    """

    difference: Floats
    error: Floats
    largest_t: Floats
    df: int


def distribution_effect(test: Distribution, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:
    """Effect of :class:`gradlaw.claim.Distribution`; a network without counts is excluded.

    Raises:
        ClaimError: For negative counts, categories not in the reference, or more than 10 categories.
    """
    require_columns(sample, ("seed", "category", "count"), "Distribution")
    counts, num_excluded = _counts(test, sample)
    if len(counts) < 2:
        estimate = _total_variation(test, counts) if len(counts) else math.nan
        return undecided(estimate, len(counts), num_excluded)
    sets = set_differences(counts, np.array(list(test.reference.values())), test.reference_seeds, rng)
    return Effect(
        estimate=_total_variation(test, counts),
        p_claim=_p_within(sets, test.margin),
        p_complement=_p_beyond(sets, test.margin),
        num_seeds=len(counts),
        num_excluded=num_excluded,
        interval=lambda level: _interval(sets, level),
    )


def _counts(test: Distribution, sample: pd.DataFrame) -> tuple[Floats, int]:
    values = finite(sample, "count")
    require(sample, values >= 0, "count", "at least 0")
    known = sample["category"].isin(list(test.reference)).to_numpy(dtype=bool)
    require(sample, known, "category", f"one of {', '.join(test.reference)}")
    if len(test.reference) > MAX_CATEGORIES:
        msg = f"Distribution compares at most {MAX_CATEGORIES} categories; got {len(test.reference)}"
        raise ClaimError(msg)
    cells = pd.DataFrame({"seed": sample["seed"], "category": sample["category"], "count": values})
    table = cells.pivot_table(
        index="seed", columns="category", values="count", aggfunc="sum", fill_value=0, observed=True
    )
    counts = table.reindex(columns=list(test.reference), fill_value=0).to_numpy(dtype=np.float64)
    filled = counts.sum(axis=1) > 0
    return counts[filled], int((~filled).sum())


def _total_variation(test: Distribution, counts: Floats) -> float:
    ours = (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0)
    return float(np.abs(ours - np.array(list(test.reference.values()))).sum() / 2)


def set_differences(
    counts: Floats, reference: Floats, reference_seeds: int, rng: np.random.Generator
) -> SetDifferences:
    """Compares counts with a reference that was itself measured on ``reference_seeds`` networks.

    A network's share s of a set has variance phi s (1 - s) / items, phi = 1 where items are drawn at random.
    The reference's networks are unpublished, so they get our phi (over all categories, at least 1) at their
    own shares. Our variance is the one observed, but never below that of random drawing: a handful of
    networks that happen to agree are no proof of certainty.

    Args:
        counts: Items a category, shape (num_seeds, num_categories), no row empty.
        reference: Published shares, shape (num_categories,).
        reference_seeds: Networks behind the reference.
        rng: For the joint distribution of the largest t.
    """
    num, num_categories = counts.shape
    shares = counts / counts.sum(axis=1, keepdims=True)
    ours = shares.mean(axis=0)
    pooled = (num * ours + reference_seeds * reference) / (num + reference_seeds)
    per_item = float(np.mean(1 / counts.sum(axis=1)))
    between = np.cov(shares, rowvar=False).reshape(num_categories, num_categories)
    drawn = float((ours * (1 - ours)).sum()) * per_item
    dispersion = max(1.0, float(np.trace(between)) / drawn) if drawn > 0 else 1.0

    members = _sets(num_categories)
    drawing = _bernoulli(members @ pooled) * per_item
    observed = np.maximum(_quadratic(members, between), drawing)
    published = dispersion * np.maximum(_bernoulli(members @ reference) * per_item, drawing)
    uncertain = observed > 1e-12
    joint = between + (np.diag(pooled) - np.outer(pooled, pooled)) * per_item
    return SetDifferences(
        difference=members[uncertain] @ (ours - reference),
        error=np.sqrt(observed / num + published / reference_seeds)[uncertain],
        largest_t=_largest_t(members[uncertain], joint, num - 1, rng),
        df=num - 1,
    )


def _largest_t(members: Floats, joint: Floats, df: int, rng: np.random.Generator) -> Floats:
    """Sorted draws of the largest of multivariate t variables with the correlations of ``joint``."""
    values, vectors = np.linalg.eigh(joint)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normals = rng.standard_normal((NUM_DRAWS, len(joint))) @ root.T @ members.T
    t_values = normals / np.sqrt(_quadratic(members, joint))
    scale = np.sqrt(rng.chisquare(df, NUM_DRAWS) / df)
    return np.sort(t_values.max(axis=1, initial=-math.inf) / scale)


def _sets(num_categories: int) -> Floats:
    """Indicators of all sets of categories but none and all, shape (2^K - 2, K)."""
    codes = np.arange(1, 2**num_categories - 1)[:, None]
    return (codes >> np.arange(num_categories) & 1).astype(np.float64)


def _bernoulli(shares: Floats) -> Floats:
    return np.clip(shares * (1 - shares), 0.0, None)


def _quadratic(members: Floats, covariance: Floats) -> Floats:
    quadratic: Floats = np.einsum("si,ij,sj->s", members, covariance, members)
    return quadratic


def _p_within(sets: SetDifferences, margin: float) -> float:
    """Intersection-union: the largest p of "d(A) is at least the margin"."""
    return float(np.max(stats.t.cdf((sets.difference - margin) / sets.error, sets.df), initial=0.0))


def _p_beyond(sets: SetDifferences, margin: float) -> float:
    """Tests "no d(A) exceeds the margin" by the largest t over sets."""
    largest = np.max((sets.difference - margin) / sets.error, initial=-math.inf)
    hits = NUM_DRAWS - int(np.searchsorted(sets.largest_t, largest, side="left"))
    return (1 + hits) / (1 + NUM_DRAWS)


def _interval(sets: SetDifferences, level: float) -> tuple[float, float]:
    """Inverts both tests: a margin outside the interval is decided at (1 - level) / 2."""
    tail = (1 - level) / 2
    upper = sets.difference + float(stats.t.isf(tail, sets.df)) * sets.error
    lower = sets.difference - float(np.quantile(sets.largest_t, 1 - tail, method="higher")) * sets.error
    low, high = float(np.max(lower, initial=0.0)), float(np.max(upper, initial=0.0))
    return min(low, 1.0), min(high, 1.0)
