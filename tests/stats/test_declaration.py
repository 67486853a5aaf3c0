"""Impossible declarations: each named with its claim, all at once, before anything runs."""

import math
from dataclasses import replace

import pytest

from gradlaw.claim import (
    AllBelow,
    Claim,
    Control,
    Distribution,
    Mean,
    PairedDifference,
    Proportion,
    Slope,
    Survival,
    Trend,
)
from gradlaw.errors import ConfigurationError
from gradlaw_analysis.stats import check_decidable
from gradlaw_analysis.stats.declaration import declaration_faults

MEAN = Mean(target=0.0, margin=1.0, sd=1.0)
SHARES = Distribution(reference={"a": 0.5, "b": 0.5}, reference_seeds=5, margin=0.1)


def claim(name="m", test=MEAN, **fields):
    return Claim(name=name, statement="s", source="s", sql="s.sql", test=test, **fields)


@pytest.mark.parametrize(
    ("test", "fault"),
    [
        (replace(MEAN, margin=0.0), "margin: got 0.0, allowed > 0"),
        (replace(MEAN, margin=math.nan), "margin: got nan, allowed > 0"),
        (replace(MEAN, margin=-1, direction="less"), "margin: got -1, allowed >= 0"),
        (replace(MEAN, sd=0), "sd: got 0, allowed > 0"),
        (replace(MEAN, target=math.inf), "target: got inf, allowed a finite number"),
        (Slope(target=0, margin=1, sd=1, num_parts=0), "num_parts: got 0, allowed >= 1"),
        (PairedDifference(arms=("a", "a"), margin=1, sd=1), "arms: got 'a' twice, allowed two arms"),
        (Proportion(target=1.2, margin=0.1), "target: got 1.2, allowed 0 to 1"),
        (Trend(direction="less", num_levels=1), "num_levels: got 1, allowed >= 2"),
        (AllBelow(bound=-1e-9), "bound: got -1e-09, allowed >= 0"),
        (Survival(arms=("a", "b"), direction="less", horizon=0), "horizon: got 0, allowed > 0"),
        (replace(SHARES, reference={"a": 1.0}), "reference: got 1 categories, allowed 2 to 10"),
        (
            replace(SHARES, reference={"a": 0.5, "b": 0.4}),
            "reference: got shares that sum to 0.9, allowed shares from 0 that sum to 1",
        ),
        (replace(SHARES, reference_seeds=1), "reference_seeds: got 1, allowed >= 2"),
        (replace(SHARES, margin=1.0), "margin: got 1.0, allowed above 0 and below 1"),
        (replace(MEAN, direction="grater"), "direction: got 'grater', allowed None, 'greater', 'less'"),
        (Trend(direction="up", num_levels=3), "direction: got 'up', allowed 'greater', 'less'"),
    ],
)
def test_an_impossible_test_is_named(test, fault):
    assert declaration_faults([claim(test=test)]) == [f"m: {fault}"]
    control = Control(name="c", statement="s", sql="c.sql", test=test, expect="refuted")
    assert declaration_faults([claim(controls=(control,))]) == [f"m: control c: {fault}"]


def test_faults_of_claims_come_all_at_once_and_before_those_of_seeds():
    control = Control(name="c", statement="s", sql="c.sql", test=MEAN, expect="refuted")
    claims = [
        claim(alpha=0.0),
        claim(looks=(20, 10)),
        claim("looked", looks=(1, 10), controls=(control, control)),
        claim("other", alpha=0.05, family="apart"),
    ]
    with pytest.raises(ConfigurationError) as caught:
        check_decidable(claims, 2)
    assert caught.value.faults == (
        "m: name: got 2 claims of this name, allowed one",
        "m: alpha: got 0.0, allowed above 0 and below 0.5",
        "m: looks: got (20, 10), allowed increasing numbers of seeds from 2",
        "looked: looks: got (1, 10), allowed increasing numbers of seeds from 2",
        "looked: control c: name: got 2 controls of this name, allowed one",
        "family main: alpha: got 0.0, 0.025, allowed one for all its claims",
    )


def test_a_control_expects_one_of_two_outcomes():
    control = Control(name="c", statement="s", sql="c.sql", test=MEAN, expect="refused")
    fault = "m: control c: expect: got 'refused', allowed 'supported', 'refuted'"
    assert declaration_faults([claim(controls=(control,))]) == [fault]


def test_what_is_possible_passes():
    tests = (MEAN, replace(MEAN, margin=0, direction="greater"), SHARES, AllBelow(bound=0.0))
    assert declaration_faults([claim(str(i), test) for i, test in enumerate(tests)]) == []
    apart = [claim(), claim("identity", AllBelow(bound=1), alpha=0.05)]
    assert declaration_faults(apart) == []
