"""Simulation at the boundary of a claim: the share of errors must not exceed what is promised."""

import importlib.util
import math
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "calibration", Path(__file__).parents[2] / "benchmarks" / "calibration.py"
)
calibration = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(calibration)


def assert_level(row):
    """At most alpha, up to three standard errors of the simulation."""
    noise = 3 * math.sqrt(calibration.ALPHA * (1 - calibration.ALPHA) / row["replicates"])
    assert row["false_support"] <= calibration.ALPHA + noise, row
    assert row.get("false_refute", 0.0) <= calibration.ALPHA + noise, row


def assert_coverage(row, *, least=0.93, most=0.97):
    noise = 3 * math.sqrt(0.05 * 0.95 / row["replicates"])
    assert least - noise <= row["coverage"] <= most + noise, row


@pytest.mark.parametrize("num_seeds", [5, 10, 20])
def test_normal_seeds_hold_level_and_coverage(num_seeds):
    row = calibration.mean_errors("normal", num_seeds, 4000, skewed=False)
    assert_level(row)
    assert_coverage(row)


@pytest.mark.parametrize("num_seeds", [5, 10, 20])
@pytest.mark.parametrize("law", ["gamma4", "lognormal", "exponential"])
def test_declared_skewness_holds_the_level_and_never_undercovers(law, num_seeds):
    row = calibration.mean_errors(law, num_seeds, 2000, skewed=True)
    assert_level(row)
    assert_coverage(row, most=1.0)


def test_undeclared_skewness_breaks_the_level_so_the_simulation_can_fail():
    row = calibration.mean_errors("exponential", 10, 2000, skewed=False)
    with pytest.raises(AssertionError):
        assert_level(row)


@pytest.mark.parametrize("num_seeds", [5, 10])
def test_mild_skewness_keeps_coverage_without_declaring(num_seeds):
    row = calibration.mean_errors("gamma4", num_seeds, 4000, skewed=False)
    assert_coverage(row, least=0.92)


def test_declared_looks_hold_the_level_and_undeclared_ones_do_not():
    assert_level(calibration.extend_until_decided(4000, declared=True))
    with pytest.raises(AssertionError):
        assert_level(calibration.extend_until_decided(4000, declared=False))


@pytest.mark.parametrize("num_seeds", [5, 10])
def test_correlated_rows_are_one_seed(num_seeds):
    row = calibration.correlated_rows(num_seeds, 400)
    assert_level(row)
    assert_coverage(row)


@pytest.mark.parametrize("num_seeds", [5, 10, 20])
def test_bernoulli_seeds_hold_level_and_coverage(num_seeds):
    row = calibration.bernoulli_errors(num_seeds, 2000)
    assert_level(row)
    assert_coverage(row)


@pytest.mark.slow
def test_rank_and_survival_tests_hold_their_level():
    for num_seeds in (5, 10):
        assert_level(calibration.trend_errors(num_seeds, 300, blocked=True))
        assert_level(calibration.survival_errors(num_seeds, 200))
    assert_level(calibration.trend_errors(12, 60, blocked=False))


@pytest.mark.slow
@pytest.mark.parametrize(("items", "spread"), [(1, None), (11, None), (11, 10.0)])
def test_distributions_hold_their_level(items, spread):
    for num_seeds in (5, 20):
        assert_level(calibration.distribution_errors(num_seeds, 120, items=items, spread=spread))
