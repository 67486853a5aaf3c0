"""Decisions: Holm against its definition, intervals against outcomes, looks, gates and controls."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlaw.claim import AllBelow, Claim, Control, Gate, Mean, Outcome, Trend
from gradlaw.errors import ClaimError
from gradlaw_analysis.decide import Evidence, decide, holm
from gradlaw_analysis.stats import claim_rng, evaluate
from gradlaw_analysis.stats.student import student

GREATER = Mean(target=0.0, margin=0.0, direction="greater", sd=1)


def claim(name="m", test=GREATER, **fields):
    return Claim(name=name, statement="s", source="s", sql="s.sql", test=test, **fields)


def sample(mean, num=10, sd=1.0):
    """Values with exactly this mean and standard deviation."""
    values = np.random.default_rng(num).standard_normal(num)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


def evidence(declared, mean, num=10, **fields):
    return Evidence(
        claim=declared, effect=student(declared.test, sample(mean, num), num_excluded=0), **fields
    )


def one(item, num_seeds=10, declared_seeds=10):
    (decision,) = decide([item], num_seeds=num_seeds, declared_seeds=declared_seeds)
    return decision


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@given(probabilities)
@settings(max_examples=150, deadline=None)
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    """By definition: i is adjusted to the largest Bonferroni p of all intersections that contain i."""
    indices = range(len(p_values))
    for index, adjusted in enumerate(holm(p_values, 0.05)):
        closed = max(
            min(1.0, len(subset) * min(p_values[i] for i in subset))
            for size in range(1, len(p_values) + 1)
            for subset in combinations(indices, size)
            if index in subset
        )
        assert adjusted.p == pytest.approx(closed)


@given(probabilities, st.sampled_from([0.025, 0.05, 0.3]))
@settings(max_examples=150, deadline=None)
def test_holms_divisor_alone_tells_what_is_rejected(p_values, alpha):
    for p, adjusted in zip(p_values, holm(p_values, alpha), strict=True):
        if not math.isclose(p * adjusted.divisor, alpha):
            assert (p * adjusted.divisor <= alpha) == (adjusted.p <= alpha)


@given(probabilities, st.integers(0, 5), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_holm_is_monotone(p_values, index, factor):
    index %= len(p_values)
    smaller = [p * factor if i == index else p for i, p in enumerate(p_values)]
    pairs = zip(holm(smaller, 0.05), holm(p_values, 0.05), strict=True)
    assert all(low.p <= high.p + 1e-12 for low, high in pairs)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_the_interval_says_what_the_outcome_says(means):
    items = [evidence(claim(f"m{i}"), mean) for i, mean in enumerate(means)]
    for decision in decide(items, num_seeds=10, declared_seeds=10):
        assert (decision.ci_low > 0) == (decision.outcome is Outcome.SUPPORTED)
        assert (decision.ci_high < 0) == (decision.outcome is Outcome.REFUTED)
        assert (decision.p_adjusted <= 0.025) == (decision.outcome is not Outcome.INCONCLUSIVE)


def test_one_claim_has_a_95_percent_interval_and_its_own_p():
    item = evidence(claim(), 2.0)
    decision = one(item)
    assert decision.outcome is Outcome.SUPPORTED
    assert decision.ci_level == pytest.approx(0.95)
    assert decision.p_adjusted == decision.p_value == item.effect.p_claim
    assert (decision.exploratory, decision.reason, decision.family_size) == (False, None, 1)
    refuted = one(evidence(claim(), -2.0))
    assert refuted.outcome is Outcome.REFUTED
    assert refuted.p_value == refuted.p_complement < 0.025


def test_equivalence_is_supported_inside_and_refuted_outside():
    test = Mean(target=0.0, margin=1.0, sd=1)
    outcomes = [one(evidence(claim(test=test), mean)).outcome for mean in (0.0, 0.9, 2.0, -2.0)]
    assert outcomes == [Outcome.SUPPORTED, Outcome.INCONCLUSIVE, Outcome.REFUTED, Outcome.REFUTED]


def test_family_members_share_alpha_and_missing_ones_count():
    weak = 0.75  # p about .021: enough alone, not among two
    assert one(evidence(claim(), weak)).outcome is Outcome.SUPPORTED
    items = [evidence(claim("a"), weak), Evidence(claim=claim("b"), effect=None)]
    first, second = decide(items, num_seeds=10, declared_seeds=10)
    assert (first.outcome, first.family_size) == (Outcome.INCONCLUSIVE, 2)
    assert first.p_adjusted == pytest.approx(2 * first.p_value)
    assert first.ci_level == pytest.approx(0.975)
    assert (second.outcome, second.estimate, second.p_value, second.ci_low) == (
        Outcome.NO_DATA,
        None,
        None,
        None,
    )
    assert second.reason == "no rows"
    other = [items[0], Evidence(claim=claim("b", family="other"), effect=None)]
    assert decide(other, num_seeds=10, declared_seeds=10)[0].outcome is Outcome.SUPPORTED


def test_identities_stay_outside_the_family():
    identity = claim("exact", AllBelow(bound=1.0))
    effects = [
        evaluate(identity.test, pd.DataFrame({"seed": [1], "value": [v]}), rng=claim_rng(identity))
        for v in (0.5, 2.0)
    ]
    for effect, outcome in zip(effects, (Outcome.SUPPORTED, Outcome.REFUTED), strict=True):
        items = [evidence(claim(), 0.75), Evidence(claim=identity, effect=effect)]
        first, second = decide(items, num_seeds=10, declared_seeds=10)
        assert (first.outcome, first.family_size) == (Outcome.SUPPORTED, 1)
        assert (second.outcome, second.family_size, second.num_seeds) == (outcome, 1, 1)


def test_looks_spend_their_share_and_others_are_exploratory():
    looked = claim(looks=(10, 20))
    first = one(evidence(looked, 0.75), num_seeds=10)
    assert (first.outcome, first.exploratory) == (Outcome.INCONCLUSIVE, False)
    assert first.p_adjusted == pytest.approx(2 * first.p_value)
    assert first.ci_level == pytest.approx(0.975)
    second = one(evidence(looked, 0.75, num=20), num_seeds=20)
    assert second.p_adjusted == pytest.approx(4 * second.p_value)
    assert one(evidence(looked, 0.75, num=15), num_seeds=15).exploratory
    assert not one(evidence(claim(), 0.75)).exploratory
    assert one(evidence(claim(), 0.75), num_seeds=10, declared_seeds=20).exploratory


def test_too_few_seeds_decide_nothing():
    decision = one(
        Evidence(claim=claim(), effect=student(GREATER, np.array([3.0]), num_excluded=4)), num_seeds=5
    )
    assert (decision.outcome, decision.p_adjusted) == (Outcome.INCONCLUSIVE, 1.0)
    assert (decision.ci_low, decision.ci_level, decision.num_seeds) == (None, None, 1)
    assert decision.reason == "1 usable seeds (4 excluded: incomplete), at least 2 needed"
    empty = one(Evidence(claim=claim(), effect=student(GREATER, np.array([]), num_excluded=3)))
    assert (empty.outcome, empty.estimate, empty.num_seeds) == (Outcome.NO_DATA, None, 0)


def test_a_gate_that_nothing_passes():
    gated = claim(gate=Gate(statement="steps are small", sql="g.sql"))
    decision = one(evidence(gated, 2.0, gate_seeds=1))
    assert decision.outcome is Outcome.OUTSIDE_REGIME
    assert decision.reason == "1 seeds pass the gate, at least 2 needed: steps are small"
    assert one(Evidence(claim=gated, effect=None, gate_seeds=0)).outcome is Outcome.OUTSIDE_REGIME
    assert one(evidence(gated, 2.0, gate_seeds=2)).outcome is Outcome.SUPPORTED


def test_controls_must_come_out_as_expected():
    found = Control(name="found", statement="s", sql="f.sql", test=GREATER, expect="supported")
    absent = replace(found, name="absent", expect="refuted")
    guarded = claim(controls=(found, absent))
    effects = {mean: student(GREATER, sample(mean), num_excluded=0) for mean in (2.0, 0.0, -2.0)}

    def outcome(first, second):
        return one(evidence(guarded, 2.0, controls={"found": first, "absent": second}))

    good = outcome(effects[2.0], effects[-2.0])
    assert good.outcome is Outcome.SUPPORTED
    assert [(c.name, c.outcome) for c in good.controls] == [
        ("found", Outcome.SUPPORTED),
        ("absent", Outcome.REFUTED),
    ]
    broken = outcome(effects[0.0], effects[-2.0])
    assert broken.outcome is Outcome.INSTRUMENT_BROKEN
    assert broken.reason == "control found: expected supported, got inconclusive"
    assert outcome(effects[2.0], effects[2.0]).reason == "control absent: expected refuted, got supported"
    assert outcome(effects[2.0], None).reason == "control absent: expected refuted, got no data"
    with pytest.raises(ClaimError, match="declares controls absent, found; got none"):
        one(evidence(guarded, 2.0))


def test_a_broken_instrument_frees_no_alpha():
    guarded = claim(
        "a", controls=(Control(name="c", statement="s", sql="s", test=GREATER, expect="supported"),)
    )
    items = [evidence(guarded, 5.0, controls={"c": None}), evidence(claim("b"), 0.75)]
    first, second = decide(items, num_seeds=10, declared_seeds=10)
    assert (first.outcome, first.p_adjusted) == (Outcome.INSTRUMENT_BROKEN, 1.0)
    assert (second.outcome, second.family_size) == (Outcome.INCONCLUSIVE, 2)


def test_one_family_has_one_alpha():
    items = [evidence(claim("a"), 1.0), evidence(claim("b", alpha=0.05), 1.0)]
    with pytest.raises(ClaimError, match=r"family 'main' must share one alpha; got 0.025, 0.05"):
        decide(items, num_seeds=10, declared_seeds=10)


def test_seeds_needed_uses_the_observed_spread():
    declared = claim(test=Mean(target=0.0, margin=0.5, direction="greater", sd=9.0))
    assert one(evidence(declared, 0.1)).seeds_needed == 34  # sd 1, as in the published tables


def test_permutation_tests_repeat_exactly():
    declared = claim(test=Trend(direction="greater", num_levels=3, blocked=False))
    frame = pd.DataFrame({"seed": range(9), "level": [0, 1, 2] * 3, "value": [0, 2, 1, 3, 4, 8, 7, 6, 5]})
    shuffled = frame.sample(frac=1.0, random_state=1)
    runs = [evaluate(declared.test, rows, rng=claim_rng(declared)) for rows in (frame, shuffled)]
    assert runs[0].p_claim == runs[1].p_claim


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_equivalence_is_supported_exactly_if_the_interval_lies_inside(means):
    items = [
        evidence(claim(f"m{i}", test=Mean(target=0.0, margin=1.0, sd=1)), mean)
        for i, mean in enumerate(means)
    ]
    for decision in decide(items, num_seeds=10, declared_seeds=10):
        inside = decision.ci_low > -1 and decision.ci_high < 1
        assert inside == (decision.outcome is Outcome.SUPPORTED)
        if decision.outcome is Outcome.REFUTED:
            assert decision.ci_low > 1 or decision.ci_high < -1
