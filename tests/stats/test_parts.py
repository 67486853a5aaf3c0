"""A claim of several parts holds in each: against scipy part by part, and by simulation at its boundary."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from gradlaw.claim import Mean, PairedDifference, Slope
from gradlaw.errors import ClaimError
from gradlaw_analysis.stats import evaluate, seeds_needed
from gradlaw_analysis.stats.effect import Effect
from gradlaw_analysis.stats.parts import every_part
from gradlaw_analysis.stats.student import student

ALPHA = 0.025
EACH = Mean(target=0.0, margin=1.0, sd=0.5, num_parts=3)


def effect_of(test, frame):
    return evaluate(test, frame, rng=np.random.default_rng(0))


def sample(values):
    """From values of shape [seeds, parts]."""
    seeds, parts = np.indices(np.shape(values))
    return pd.DataFrame({"seed": seeds.ravel(), "part": parts.ravel(), "value": np.ravel(values)})


def drawn(means, num_seeds=8, sd=0.5, seed=0):
    return np.asarray(means) + sd * np.random.default_rng(seed).standard_normal((num_seeds, len(means)))


def test_parts_that_are_wrong_in_opposite_directions_do_not_average_out():
    frame = sample(drawn([2.5, 0.0, -2.5]))
    average = effect_of(Mean(target=0.0, margin=1.0, sd=0.5), frame)
    assert average.p_claim < ALPHA
    each = effect_of(EACH, frame)
    assert each.p_claim > 0.9
    assert each.p_complement < ALPHA
    assert abs(each.estimate) > 2


def test_p_is_the_largest_of_the_parts_and_its_complement_bonferronis():
    values = drawn([0.4, 0.0, -0.2])
    effect = effect_of(EACH, sample(values))
    above = stats.ttest_1samp(values, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 1.0, alternative="less").pvalue
    assert effect.p_claim == pytest.approx(max(above.max(), below.max()), rel=1e-9)
    far = drawn([0.4, 1.6, -0.2])
    beyond = stats.ttest_1samp(far, 1.0, alternative="greater").pvalue.min()
    assert effect_of(EACH, sample(far)).p_complement == pytest.approx(3 * 2 * beyond, rel=1e-9)
    assert effect.sd == pytest.approx(values.std(axis=0, ddof=1).max(), rel=1e-9)


def test_an_equivalence_is_supported_exactly_if_the_interval_lies_inside():
    outcomes = set()
    for seed in range(60):
        effect = effect_of(EACH, sample(drawn([0.5, 0.0, -0.5], seed=seed)))
        low, high = effect.interval(1 - 2 * ALPHA)
        assert (effect.p_claim <= ALPHA) == (low > -1 and high < 1)
        assert low < effect.estimate < high
        outcomes.add(effect.p_claim <= ALPHA)
    assert outcomes == {True, False}


def of_parts(values):
    """The same without a frame's parts being found anew: a column is a part."""
    plain = Mean(target=0.0, margin=1.0, sd=0.5)
    return every_part(
        sample(values), values.shape[1], lambda rows: student(plain, rows["value"], num_excluded=0)
    )


@pytest.mark.parametrize("means", [(1.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, -1.0, 0.5)])
def test_errors_at_the_boundary_hold_their_level(means):
    replicates = 800
    noise = 3 * (ALPHA * (1 - ALPHA) / replicates) ** 0.5
    effects: list[Effect] = [of_parts(drawn(means, seed=seed)) for seed in range(replicates)]
    assert np.mean([effect.p_claim <= ALPHA for effect in effects]) <= ALPHA + noise
    assert np.mean([effect.p_complement <= ALPHA for effect in effects]) <= ALPHA + noise
    intervals = np.array([effect.interval(0.95) for effect in effects])
    covered = (intervals[:, 0] <= means[0]) & (means[0] <= intervals[:, 1])
    assert covered.mean() >= 0.95 - 3 * (0.95 * 0.05 / replicates) ** 0.5


def test_power_of_all_parts_is_what_was_asked_for():
    num = seeds_needed(EACH, ALPHA)
    assert num > seeds_needed(Mean(target=0.0, margin=1.0, sd=0.5), ALPHA)
    found = [of_parts(drawn([0, 0, 0], num, seed=seed)).p_claim <= ALPHA for seed in range(500)]
    assert np.mean(found) > 0.8 - 3 * (0.16 / 500) ** 0.5


def test_a_seed_that_lacks_a_part_is_excluded():
    frame = sample(drawn([0, 0, 0]))
    effect = effect_of(EACH, frame.drop(frame.index[(frame["seed"] == 5) & (frame["part"] == 1)]))
    assert (effect.num_seeds, effect.num_excluded) == (7, 1)
    effect = effect_of(EACH, frame.loc[frame["part"] != 1])
    assert (effect.num_seeds, effect.num_excluded, effect.p_claim) == (0, 8, 1.0)
    assert effect.reason == "0 usable seeds (8 excluded: incomplete), at least 2 needed"


def test_a_seed_that_one_part_cannot_use_is_not_counted():
    x, y = np.tile([0.0, 1.0], 8), np.tile([0.0, -0.5], 8) + 0.01 * np.arange(16)
    frame = pd.DataFrame(
        {"seed": np.repeat(np.arange(4), 4), "part": np.tile([0, 0, 1, 1], 4), "x": x, "y": y}
    )
    frame.loc[(frame["seed"] == 2) & (frame["part"] == 1), "x"] = 1.0
    effect = effect_of(Slope(target=-0.5, margin=0.5, sd=1, num_parts=2), frame)
    assert (effect.num_seeds, effect.num_excluded) == (3, 1)
    effect = effect_of(
        Slope(target=-0.5, margin=0.5, sd=1, num_parts=2), frame.loc[frame["seed"].isin([1, 2])]
    )
    assert (effect.num_seeds, effect.num_excluded, effect.p_claim) == (1, 1, 1.0)


def test_more_parts_than_declared_are_an_error():
    with pytest.raises(ClaimError, match=r"num_parts=3 is declared but the sample has 4 parts: 0, 1, 2, 3"):
        effect_of(EACH, sample(drawn([0, 0, 0, 0])))
    with pytest.raises(ClaimError, match="missing columns part"):
        effect_of(EACH, sample(drawn([0, 0, 0])).drop(columns="part"))


def test_arms_are_paired_within_a_series():
    # The arms differ by -1 in each series; over unequal sets of series their means differ by +4.
    rows = [
        {"seed": seed, "series": series, "arm": arm, "value": 10.0 * series - (arm == "a") + 0.01 * seed}
        for seed in range(5)
        for series in (0, 1)
        for arm in ("a", "b")
    ]
    frame = pd.DataFrame(rows)
    test = PairedDifference(arms=("a", "b"), direction="less", margin=0.1, sd=1)
    whole = effect_of(test, frame)
    assert (whole.estimate, whole.num_seeds) == (pytest.approx(-1.0), 5)
    lost = frame.drop(frame.index[(frame["seed"] == 3) & (frame["series"] == 1) & (frame["arm"] == "b")])
    cut = effect_of(test, lost)
    assert (cut.estimate, cut.num_seeds, cut.num_excluded) == (pytest.approx(-1.0), 4, 1)
