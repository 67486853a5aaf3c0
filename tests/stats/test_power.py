"""Seeds needed against published tables and simulation; refusal at plan time."""

import dataclasses

import numpy as np
import pytest

from gradlaw.claim import (
    AllBelow,
    Claim,
    Control,
    Distribution,
    Mean,
    PairedDifference,
    Proportion,
    Survival,
    Trend,
)
from gradlaw.errors import UndecidableError
from gradlaw_analysis.stats import check_decidable, seeds_needed
from gradlaw_analysis.stats.power import decidable, look_share, smallest_decidable, t_power
from gradlaw_analysis.stats.student import student


def claim(name, test, **fields):
    return Claim(name=name, statement="s", source="s", sql="s.sql", test=test, **fields)


@pytest.mark.parametrize(("effect", "published"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_one_sample_t_needs_what_the_tables_say(effect, published):
    # Two-sided .05, power .80: Faul et al., Behav. Res. Methods 39 (2007), G*Power, one-sample t.
    test = Mean(target=0, margin=effect, direction="greater", sd=1)
    assert seeds_needed(test, 0.025) == published


def test_power_of_equivalence_is_what_simulation_finds():
    test = Mean(target=0, margin=0.8, sd=1)
    num = seeds_needed(test, 0.025)
    samples = np.random.default_rng(0).standard_normal((4000, num))
    found = np.mean([student(test, sample, num_excluded=0).p_claim <= 0.025 for sample in samples])
    assert found == pytest.approx(t_power(test, num, 0.025, 1.0), abs=0.02)
    assert 0.79 < found < 0.86


def test_observed_spread_replaces_the_declared_one():
    test = PairedDifference(arms=("a", "b"), margin=0.5, direction="less", sd=1)
    assert seeds_needed(test, 0.025, sd=2.5) == 199
    assert seeds_needed(test, 0.025, sd=0.0) == 2


def test_no_number_without_an_effect_or_within_reach():
    assert seeds_needed(Mean(target=0, margin=0, direction="greater", sd=1), 0.025) is None
    assert seeds_needed(Mean(target=0, margin=1e-4, sd=1), 0.025) is None
    assert seeds_needed(AllBelow(bound=1e-9), 0.025) == 1


def test_skewed_seeds_need_more():
    plain = Mean(target=0, margin=1, sd=1)
    assert seeds_needed(dataclasses.replace(plain, skewed=True), 0.025) > seeds_needed(plain, 0.025)


@pytest.mark.parametrize(
    ("test", "alpha", "fewest"),
    [
        (Trend(direction="greater", num_levels=3), 0.025, 3),  # 6**-2 = .0278
        (Trend(direction="greater", num_levels=4), 0.025, 2),  # 24**-2, and one seed never decides
        (Trend(direction="greater", num_levels=2, blocked=False), 0.025, 8),  # 35 at 7, 70 at 8 seeds
        (Trend(direction="greater", num_levels=3, blocked=False), 0.025, 6),  # 30 at 5, 90 at 6
        (Survival(arms=("a", "b"), direction="less", horizon=1), 0.025, 6),  # 2**-5 = .031
        (Proportion(target=0.5, margin=0.1, direction="greater"), 0.025, 6),  # 0.5**6
        (Proportion(target=0.5, margin=0.1, direction="less"), 0.005, 8),
        (Distribution(reference={"a": 1.0}, reference_seeds=5, margin=0.1), 0.025, 2),
        (Mean(target=0, margin=1, sd=1), 0.025, 7),  # t_{6} .975 / sqrt 7 = .925, at 6 seeds 1.049
        (Proportion(target=0.5, margin=0.1, sd=0.1), 0.025, 7),
        (AllBelow(bound=1), 0.025, 1),
    ],
)
def test_fewest_seeds_that_can_decide(test, alpha, fewest):
    found = 1 if decidable(test, 1, alpha) else smallest_decidable(test, alpha)
    assert found == fewest


def test_equivalence_of_bernoullis_needs_both_ends():
    test = Proportion(target=0.5, margin=0.3)
    fewest = smallest_decidable(test, 0.025)
    assert 0.2 < seeds_needed(test, 0.025) / 100 < 0.5
    assert not decidable(test, fewest - 1, 0.025)


def test_undecidable_claims_are_all_named_with_what_they_need():
    claims = [
        claim("slope", Mean(target=0, margin=1, sd=1)),
        claim("order", Trend(direction="greater", num_levels=3)),
        claim("exact", AllBelow(bound=1e-9)),
        claim("easy", Mean(target=0, margin=100, sd=1), family="other"),
    ]
    check_decidable(claims, 12)
    with pytest.raises(UndecidableError) as caught:
        check_decidable(claims, 2)
    # Two claims share the family: .0125 each. 6**-2 is above it, 6**-3 below.
    assert str(caught.value).splitlines() == [
        "2 seeds cannot decide 2 of 4 claims; declare more seeds:",
        "  slope: needs 9 seeds, 16 for 80% power, at one-sided level 0.013, margin 1, sd 1",
        "  order: needs 3 seeds, 3 for 80% power, at one-sided level 0.013",
    ]


def test_looks_and_controls_are_part_of_the_plan():
    looked = claim("slope", Mean(target=0, margin=1, sd=1), looks=(8, 16))
    assert [look_share(looked, num) for num in (4, 8, 12, 16, 99)] == [0.5, 0.5, 0.5, 0.25, 0.25]
    with pytest.raises(UndecidableError, match="slope: its first look is at 8 seeds"):
        check_decidable([looked], 7)
    with pytest.raises(UndecidableError, match="slope: needs 9 seeds"):
        check_decidable([looked], 8)  # half of alpha; it would do with all of it
    check_decidable([dataclasses.replace(looked, looks=())], 8)
    control = Control(
        name="found", statement="s", sql="c.sql", test=Mean(target=0, margin=0.1, sd=1), expect="supported"
    )
    guarded = claim("slope", Mean(target=0, margin=1, sd=1), controls=(control,))
    with pytest.raises(UndecidableError, match=r"slope, control found: needs \d+ seeds"):
        check_decidable([guarded], 8)
    check_decidable(
        [dataclasses.replace(guarded, controls=(dataclasses.replace(control, expect="refuted"),))], 8
    )


def test_hopeless_margins_say_so():
    with pytest.raises(UndecidableError, match="needs over 100,000 seeds"):
        check_decidable([claim("m", Mean(target=0, margin=1e-6, sd=1))], 10)
