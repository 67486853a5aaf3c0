"""Formulas of the norm against solutions that are built, and minima against an optimizer."""

import numpy as np
import pytest
from scipy.optimize import minimize

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw_studies.modular_addition.algebra.constructions import (
    balanced,
    drawn_phases,
    mixed,
    order_four_constant,
    order_four_six,
)
from gradlaw_studies.modular_addition.algebra.norms import cheapest_split, norm2_constant_node, norm2_formula

SPLITS = [(modulus, n6) for modulus in (5, 9, 13, 23) for n6 in range(1, modulus // 2 + 1)]


@pytest.mark.parametrize(("modulus", "n6"), [*SPLITS, (71, 9), (127, 9)])
def test_the_norm_of_solutions(modulus, n6):
    rng = np.random.default_rng(n6)
    n = modulus // 2
    six = rng.permutation(np.arange(1, n + 1))[:n6]
    found = mixed(modulus, six.tolist(), free=drawn_phases(modulus, rng))
    assert np.sum(found**2) == pytest.approx(norm2_formula(n - n6, n6, modulus), rel=1e-12)
    lowest = norm2_formula(n - n6, n6, modulus, balanced=True)
    assert np.sum(balanced(found) ** 2) == pytest.approx(lowest, rel=1e-12)


@pytest.mark.parametrize("zero_mean", [False, True])
@pytest.mark.parametrize("modulus", [5, 9, 23, 127])
def test_the_norm_with_nodes_of_constant_output(modulus, zero_mean):
    free = drawn_phases(modulus, np.random.default_rng(1))
    found = order_four_constant(modulus, free=free, zero_mean=zero_mean)
    assert np.sum(found**2) == pytest.approx(norm2_constant_node(modulus, zero_mean=zero_mean), rel=1e-12)
    np.testing.assert_allclose(balanced(found), found, rtol=1e-12, atol=1e-15)


def test_the_constant_node_is_below_every_split():
    """So no order 6 is needed for the least norm; at zero mean it is, up to some modulus."""

    def least(modulus):
        n = modulus // 2
        return min(norm2_formula(n - n6, n6, modulus, balanced=True) for n6 in range(1, n + 1))

    assert norm2_constant_node(9) > least(9)
    for modulus in (11, 23, 71, 127, 511):
        assert norm2_constant_node(modulus) < least(modulus)
    assert norm2_constant_node(391, zero_mean=True) > least(391)
    assert norm2_constant_node(393, zero_mean=True) < least(393)


def test_no_scales_of_the_nodes_are_better_than_the_balanced_ones():
    found = order_four_six(7)
    a, b, c = np.sum(found**2, axis=1)

    def norm2(log_scale):
        return np.sum(np.exp(2 * log_scale) * (a + b) + np.exp(-4 * log_scale) * c)

    best = minimize(norm2, np.zeros(found.shape[-1]), method="BFGS", options={"gtol": 1e-10})
    assert best.fun == pytest.approx(norm2_formula(2, 1, 7, balanced=True), rel=1e-8)
    assert best.fun < norm2_formula(2, 1, 7) - 0.5


@pytest.mark.parametrize(("rescaled", "constant"), [(False, 1.15), (True, 0.89)])
def test_the_cheapest_split_grows_as_the_square_root(rescaled, constant):
    """By 1.15 for equal moduli, and by 0.89 at the least norm, where it is a minimum but not the least."""
    n = 10**6
    candidates = np.linspace(0.5, 2, 3001) * np.sqrt(n)
    curve = [norm2_formula(n - n6, n6, 2 * n + 1, balanced=rescaled) for n6 in candidates]
    assert candidates[int(np.argmin(curve))] / np.sqrt(n) == pytest.approx(constant, abs=0.005)
    curve = [norm2_formula(63 - n6, n6, 127, balanced=rescaled) for n6 in range(1, 64)]
    assert cheapest_split(127, balanced=rescaled) == 1 + int(np.argmin(curve))
    assert cheapest_split(481, balanced=True) == 14
    assert cheapest_split(483, balanced=True) == 1


def test_formulas_refuse_what_is_no_solution():
    with pytest.raises(UsageError, match=r"n4, n6: got 3, 0, allowed n4 >= 0 and n6 > 0"):
        norm2_formula(3, 0, 7)
    with pytest.raises(UsageError, match="n4, n6: got -1, 4"):
        norm2_formula(-1, 4, 7)
    with pytest.raises(ConfigurationError, match="modulus: got 12"):
        cheapest_split(12)
    with pytest.raises(ConfigurationError, match="modulus: got 8"):
        norm2_formula(1, 2, 8)
    with pytest.raises(ConfigurationError, match="modulus: got 3"):
        norm2_constant_node(3)
