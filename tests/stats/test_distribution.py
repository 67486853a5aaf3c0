"""Total variation: by hand, against two-sample t for two categories, and its own interval."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradlaw.claim import Distribution
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats import evaluate

REFERENCE = {"order4": 0.47, "mixed": 0.11, "order6": 0.40, "other": 0.02}


def run(test, counts, names=None, seed=0):
    names = list(test.reference) if names is None else names
    counts = np.asarray(counts)
    sample = pd.DataFrame(
        {
            "seed": np.repeat(np.arange(len(counts)), len(names)),
            "category": names * len(counts),
            "count": counts.ravel(),
        }
    )
    return evaluate(test, sample, rng=np.random.default_rng(seed))


def test_effect_is_the_total_variation_of_mean_shares():
    counts = [[5, 1, 5, 0], [6, 2, 2, 1]]
    effect = run(Distribution(reference=REFERENCE, reference_seeds=5, margin=0.2), counts)
    shares = [(5 / 11 + 6 / 11) / 2, (1 / 11 + 2 / 11) / 2, (5 / 11 + 2 / 11) / 2, 1 / 22]
    by_hand = sum(abs(a - b) for a, b in zip(shares, REFERENCE.values(), strict=True)) / 2
    assert effect.estimate == pytest.approx(by_hand)


def test_two_categories_are_two_one_sided_t_tests_with_the_references_error():
    shares = np.array([0.1, 0.5, 0.7, 0.3, 0.9])  # spread beyond that of drawing 1000 items
    counts = np.stack([1000 * shares, 1000 * (1 - shares)], axis=1)
    effect = run(Distribution(reference={"a": 0.45, "b": 0.55}, reference_seeds=10, margin=0.4), counts)
    # Our mean share is .5: the reference's variance is ours times q (1 - q) / .25, q the share nearest .5.
    error = np.std(shares, ddof=1) * np.sqrt(1 / 5 + (7 / 15) * (8 / 15) / 0.25 / 10)
    assert effect.p_claim == pytest.approx(stats.t.cdf((0.05 - 0.4) / error, 4), rel=1e-9)
    error = np.std(shares, ddof=1) * np.sqrt(1 / 5 + (1 / 6) * (5 / 6) / 0.25 / 10)  # q: 5 of ours, 10 at 0
    beyond = run(Distribution(reference={"a": 0.0, "b": 1.0}, reference_seeds=10, margin=0.1), counts)
    # The largest of t and -t exceeds a positive bound about twice as often as t alone.
    assert beyond.p_complement == pytest.approx(2 * stats.t.sf((0.5 - 0.1) / error, 4), rel=0.1)


def test_networks_that_happen_to_agree_prove_little():
    reference = {"order4": 0.9, "order6": 0.1}
    test = Distribution(reference=reference, reference_seeds=100, margin=0.05)
    effect = run(test, [[1, 0]] * 5)
    assert effect.p_complement > 0.25  # five of five happens in 59% of samples at a share of .9
    assert effect.p_claim > 0.25


def test_interval_inverts_both_tests():
    counts = np.random.default_rng(2).multinomial(11, [0.85, 0.05, 0.05, 0.05], size=20)
    wide = Distribution(reference=REFERENCE, reference_seeds=5, margin=0.9)
    low, high = run(wide, counts).interval(0.95)
    for margin, claim, complement in ((high + 1e-6, True, False), (high - 1e-6, False, False)):
        effect = run(Distribution(reference=REFERENCE, reference_seeds=5, margin=margin), counts)
        assert (effect.p_claim <= 0.025, effect.p_complement <= 0.025) == (claim, complement)
    assert 0 < low < high
    below = run(Distribution(reference=REFERENCE, reference_seeds=5, margin=low - 1e-6), counts)
    assert below.p_complement <= 0.025
    above = run(Distribution(reference=REFERENCE, reference_seeds=5, margin=low + 1e-3), counts)
    assert above.p_complement > 0.025


def test_a_certain_match_and_absent_categories():
    test = Distribution(reference={"a": 1.0, "b": 0.0}, reference_seeds=5, margin=0.1)
    effect = run(test, [[3], [4]], names=["a"])
    assert (effect.estimate, effect.p_claim, effect.p_complement) == (0.0, 0.0, 1.0)
    assert effect.interval(0.95) == (0.0, 0.0)


def test_empty_networks_are_excluded_and_one_decides_nothing():
    test = Distribution(reference=REFERENCE, reference_seeds=5, margin=0.1)
    effect = run(test, [[1, 2, 3, 4], [0, 0, 0, 0]])
    assert (effect.num_seeds, effect.num_excluded, effect.p_claim) == (1, 1, 1.0)
    assert effect.reason is not None


def test_bad_samples_are_named():
    test = Distribution(reference={"a": 0.5, "b": 0.5}, reference_seeds=5, margin=0.1)
    with pytest.raises(ClaimError, match=r"'count' must be at least 0.*seed 1"):
        run(test, [[1, 1], [1, -1]])
    with pytest.raises(ClaimError, match="'category' must be one of a, b; got 'c'"):
        run(test, [[1, 1]], names=["a", "c"])
    many = Distribution(reference={str(i): 1 / 11 for i in range(11)}, reference_seeds=5, margin=0.1)
    with pytest.raises(ClaimError, match="at most 10 categories; got 11"):
        run(many, np.ones((2, 11)))
