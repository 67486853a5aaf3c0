"""Ordered trends: Page's L with seeds as blocks, Jonckheere and Terpstra's test without blocks."""

from __future__ import annotations

import math
from functools import lru_cache, reduce

import numpy as np
import pandas as pd
from scipy import stats

from gradlaw.claim import Trend
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats.effect import Effect, undecided
from gradlaw_analysis.stats.sample import Floats, finite, require_columns, require_single, seed_table
from gradlaw_analysis.stats.student import spread, t_interval

EXACT_LEVELS = 10
EXACT_BLOCKS = 200
NUM_PERMUTATIONS = 19_999


def trend_effect(test: Trend, sample: pd.DataFrame, rng: np.random.Generator) -> Effect:
    """Effect of :class:`gradlaw.claim.Trend`.

    Raises:
        ClaimError: If the levels are not the declared number, or an unblocked seed has several levels.
    """
    require_columns(sample, ("seed", "level", "value"), "Trend")
    rows = pd.DataFrame({"seed": sample["seed"], "level": finite(sample, "level"), "value": sample["value"]})
    levels = sorted(set(rows["level"]))
    if len(levels) > test.num_levels or (len(levels) < test.num_levels and not test.blocked):
        msg = f"Trend declares num_levels={test.num_levels} but its sample has {len(levels)}: {levels[:12]}"
        raise ClaimError(msg)
    if test.blocked:
        return _page(test, rows, levels)
    require_single(rows, ("seed",), "with several levels a seed use Trend(blocked=True)")
    return _jonckheere(test, rows, rng)


def _page(test: Trend, rows: pd.DataFrame, levels: list[float]) -> Effect:
    if len(levels) < test.num_levels:  # no seed has every level
        return undecided(math.nan, 0, int(rows["seed"].nunique()))
    blocks, num_excluded = seed_table(rows, "value", "level", levels)
    rhos = np.array([spearman(block) for block in blocks], dtype=np.float64)
    if len(blocks) < 2:
        return undecided(float(rhos[0]) if len(rhos) else math.nan, len(blocks), num_excluded)
    rising, falling = page_p(blocks), page_p(-blocks)
    return _effect(test, rhos, float(np.mean(rhos)), (rising, falling), num_excluded)


def _jonckheere(test: Trend, rows: pd.DataFrame, rng: np.random.Generator) -> Effect:
    rows = rows.sort_values(["level", "seed"])
    level, value = finite(rows, "level"), finite(rows, "value")
    num = len(level)
    tau = kendall(level, value)
    if num < 3:  # leaving one seed out must leave a pair
        return undecided(tau, num, 0)
    kept = ~np.eye(num, dtype=bool)
    without = np.array([kendall(level[keep], value[keep]) for keep in kept], dtype=np.float64)
    rising, falling = jonckheere_p(level, value, rng)
    return _effect(test, num * tau - (num - 1) * without, tau, (rising, falling), 0)


def _effect(
    test: Trend, by_seed: Floats, estimate: float, tails: tuple[float, float], num_excluded: int
) -> Effect:
    """The interval is Student's over seeds (correlations or their jackknife pseudo-values)."""
    num = len(by_seed)
    error = spread(by_seed) / math.sqrt(num)

    def interval(level: float) -> tuple[float, float]:
        low, high = t_interval(estimate, error, num, level)
        return max(low, -1.0), min(high, 1.0)

    claim, complement = tails if test.direction == "greater" else tails[::-1]
    return Effect(
        estimate=estimate,
        p_claim=claim,
        p_complement=complement,
        num_seeds=num,
        num_excluded=num_excluded,
        interval=interval,
    )


def spearman(block: Floats) -> float:
    """Rank correlation of the values of one block with their position; 0 where all are equal."""
    ranks = stats.rankdata(block) - (len(block) + 1) / 2
    positions = np.arange(len(block)) - (len(block) - 1) / 2
    norm = math.sqrt(float(ranks @ ranks) * float(positions @ positions))
    return float(ranks @ positions) / norm if norm else 0.0


def page_p(blocks: Floats) -> float:
    """One-sided p of a rising trend: P(L >= observed) when each block is in random order.

    Page, J. Am. Stat. Assoc. 58 (1963), 216-230: L = sum_j j R_j with R_j the sum over blocks of the rank
    at level j. Exact (midranks permuted within each block, so also with ties) up to 10 levels and 200
    blocks; beyond, normal with the exact mean and variance of the permuted midranks.

    Args:
        blocks: Values, shape (num_seeds, num_levels), levels in order.
    """
    num_blocks, num_levels = blocks.shape
    doubled = np.rint(2 * stats.rankdata(blocks, axis=1)).astype(np.int64)
    positions = np.arange(1, num_levels + 1)
    observed = int((doubled @ positions).sum())
    if num_levels <= EXACT_LEVELS and num_blocks <= EXACT_BLOCKS:
        starts, masses = zip(
            *(_block_distribution(tuple(sorted(row))) for row in doubled.tolist()), strict=True
        )
        mass = reduce(np.convolve, masses)
        return min(1.0, float(mass[max(observed - sum(starts), 0) :].sum()))
    centred = doubled - doubled.mean(axis=1, keepdims=True)
    spread_positions = float(((positions - positions.mean()) ** 2).sum())
    variance = float((centred**2).sum()) * spread_positions / (num_levels - 1)
    excess = observed - num_blocks * num_levels * (num_levels + 1) ** 2 / 2
    return float(stats.norm.sf(excess / math.sqrt(variance))) if variance else 1.0


@lru_cache(maxsize=256)
def _block_distribution(doubled: tuple[int, ...]) -> tuple[int, Floats]:
    """Smallest value and probabilities of sum_j j * doubled[pi(j)] over all orders pi of one block.

    Levels are filled one after another; a state is the set of ranks already used.
    """
    largest = sum(rank * (j + 1) for j, rank in enumerate(doubled))
    states = {0: np.zeros(largest + 1)}
    states[0][0] = 1.0
    for position in range(1, len(doubled) + 1):
        following: dict[int, Floats] = {}
        for used, counts in states.items():
            for index, rank in enumerate(doubled):
                if not used >> index & 1:
                    target = following.setdefault(used | 1 << index, np.zeros(largest + 1))
                    step = position * rank
                    target[step:] += counts[: largest + 1 - step]
        states = following
    (counts,) = states.values()
    start = int(np.flatnonzero(counts)[0])
    return start, counts[start:] / math.factorial(len(doubled))


def kendall(level: Floats, value: Floats) -> float:
    """Kendall's tau-b of value with level; 0 where either is constant."""
    by_level, by_value = _signs(level), _signs(value)
    norm = math.sqrt(float((by_level**2).sum()) * float((by_value**2).sum()))
    return float((by_level * by_value).sum()) / norm if norm else 0.0


def jonckheere_p(level: Floats, value: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """One-sided p of a rising and of a falling trend, by permutation of seeds over levels.

    Jonckheere, Biometrika 41 (1954), 133-145. With ties counted one half, J is an affine function of
    sum_{a<b} sign(level_b - level_a) sign(value_b - value_a), which is what is permuted here.
    p = (1 + hits) / (1 + draws), so its error never exceeds its level.
    """
    by_level, by_value = _signs(level).astype(np.int8), _signs(value).astype(np.int8)
    observed = int((by_level * by_value).sum())
    chunk = max(1, 2_000_000 // len(level) ** 2)
    above = below = 0
    for start in range(0, NUM_PERMUTATIONS, chunk):
        size = min(chunk, NUM_PERMUTATIONS - start)
        order = rng.permuted(np.tile(np.arange(len(level)), (size, 1)), axis=1)
        permuted = by_value[order[:, :, None], order[:, None, :]]
        statistic = np.einsum("ij,bij->b", by_level, permuted, dtype=np.int64)
        above += int((statistic >= observed).sum())
        below += int((statistic <= observed).sum())
    return (1 + above) / (1 + NUM_PERMUTATIONS), (1 + below) / (1 + NUM_PERMUTATIONS)


def _signs(values: Floats) -> Floats:
    return np.sign(values[:, None] - values[None, :])
