"""Paths between solutions: loss by brute force, norms against their closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.errors import ConfigurationError, UnknownNameError, UsageError
from gradlaw_studies.modular_addition.algebra.blocks import z_nu, z_syn
from gradlaw_studies.modular_addition.algebra.constructions import (
    balanced,
    drawn_phases,
    memorising,
    mixed,
    order_four_six,
    order_six,
    padded,
)
from gradlaw_studies.modular_addition.algebra.fourier import spectrum
from gradlaw_studies.modular_addition.algebra.paths import (
    PATH_KINDS,
    balance_path,
    blend_path,
    connecting_path,
    factor_path,
    measure_path,
    straight_path,
)
from gradlaw_studies.modular_addition.algebra.semiring import every_frequency

POSITIONS = np.linspace(0, 1, 11)
SEEDS = st.integers(0, 2**32 - 1)


def norm2(found):
    return float(np.sum(found**2))


@pytest.mark.parametrize("block", [z_syn(), z_nu(np.exp(0.3j)), np.ones((3, 5))])
@pytest.mark.parametrize("solution", [order_six(7), order_six(9, kind="nu_i*syn_ab"), memorising(5)])
def test_a_factor_is_led_to_one_at_zero_loss_and_falling_norm(block, solution):
    modulus, num_nodes = solution.shape[-2], block.shape[-1]
    factor = every_frequency(block / np.cbrt(num_nodes), modulus)
    path = factor_path(factor, spectrum(solution), modulus)
    found = measure_path(path, POSITIONS)
    assert found.loss.max() < 1e-20
    assert np.all(np.diff(found.norm2) < 0)
    first = (1 + POSITIONS * (num_nodes - 1)) / num_nodes
    others = (1 - POSITIONS) / num_nodes
    expected = np.cbrt(first**2) + (num_nodes - 1) * np.cbrt(others**2)
    np.testing.assert_allclose(found.norm2, norm2(solution) * expected, rtol=1e-12)
    end = padded(solution, solution.shape[-1] * num_nodes)
    np.testing.assert_allclose(path(1.0), end, atol=1e-14)


@given(SEEDS)
def test_a_factor_may_have_any_phases(seed):
    """Random phases at each frequency, with z_a z_b z_c = 1/m: no condition but the signal is needed of y."""
    rng = np.random.default_rng(seed)
    factor = np.exp(2j * np.pi * rng.random((3, 4, 2)))
    factor[2] = (factor[0] * factor[1]).conj()
    path = factor_path(factor / np.cbrt(2), spectrum(order_six(7, free=drawn_phases(7, rng))), 7)
    found = measure_path(path, POSITIONS[::2])
    assert found.loss.max() < 1e-20
    assert np.all(np.diff(found.norm2) < 0)


def test_a_solution_that_meets_a_condition_by_a_sum_is_not_kept_by_every_factor():
    """In z_F4/6 frequencies cancel each other's constants; a factor that tells them apart breaks that."""
    factor = every_frequency(z_syn() / np.cbrt(3), 7)
    kept = factor_path(factor, spectrum(order_four_six(7)), 7)
    assert measure_path(kept, POSITIONS).loss.max() < 1e-20
    factor[0, 2] *= 2
    factor[1, 2] /= 2
    broken = factor_path(factor, spectrum(order_four_six(7)), 7)
    assert measure_path(broken, [0.5]).loss[0] > 1e-2
    unbroken = factor_path(factor, spectrum(order_six(7)), 7)
    assert measure_path(unbroken, [0.5]).loss[0] < 1e-20


def test_a_factor_without_equal_products_is_refused():
    factor = every_frequency(z_syn(), 7)
    with pytest.raises(UsageError, match=r"factor: got z_a z_b z_c up to 0.667 away from 1/3"):
        factor_path(factor, spectrum(order_six(7)), 7)
    with pytest.raises(UsageError, match="spectrum: got shape"):
        factor_path(factor, spectrum(order_six(9)), 7)


@pytest.mark.parametrize("modulus", [5, 9, 23])
def test_balancing_falls_at_zero_loss(modulus):
    path = balance_path(mixed(modulus, [1, 2] if modulus > 5 else [1]))
    found = measure_path(path, POSITIONS)
    assert found.loss.max() < 1e-20
    assert np.all(np.diff(found.norm2) < 0)
    np.testing.assert_allclose(path(1.0), balanced(path(0.0)), rtol=1e-14)


@given(SEEDS)
def test_a_blend_has_zero_loss_and_rises_first(seed):
    rng = np.random.default_rng(seed)
    first, second = order_six(7, free=drawn_phases(7, rng)), order_four_six(7, free=drawn_phases(7, rng))
    found = measure_path(blend_path(first, second), POSITIONS)
    assert found.loss.max() < 1e-20
    ends = norm2(first), norm2(second)
    expected = np.cbrt((1 - POSITIONS) ** 2) * ends[0] + np.cbrt(POSITIONS**2) * ends[1]
    np.testing.assert_allclose(found.norm2, expected, rtol=1e-12)
    assert found.norm2[1:-1].min() > max(ends)


def test_a_straight_line_leaves_the_solutions():
    first, second = order_six(7), order_four_six(7)
    found = measure_path(straight_path(first, second), POSITIONS)
    assert found.loss[[0, -1]].max() < 1e-20
    assert found.loss[1:-1].min() > 1e-3


@pytest.mark.parametrize("modulus", [5, 7, 15])
def test_measured_paths(modulus):
    free = drawn_phases(modulus, np.random.default_rng(2))
    found = {kind: connecting_path(kind, modulus, num_positions=5, free=free) for kind in PATH_KINDS}
    for kind, points in found.items():
        np.testing.assert_allclose(points.position, [0, 0.25, 0.5, 0.75, 1])
        assert (points.loss.max() < 1e-20) == (kind != "straight")
        assert bool(np.all(np.diff(points.norm2) < 0)) == (kind in ("factor", "balance"))
    assert found["factor"].norm2[0] == pytest.approx(np.cbrt(3) * found["factor"].norm2[-1])
    assert found["blend"].norm2[[0, -1]] == pytest.approx(found["straight"].norm2[[0, -1]])


def test_paths_refuse_what_they_cannot_be():
    with pytest.raises(UnknownNameError, match="unknown path 'factors'; did you mean 'factor'"):
        connecting_path("factors", 7)
    with pytest.raises(UsageError, match="num_positions: got 1, allowed >= 2"):
        connecting_path("blend", 7, num_positions=1)
    with pytest.raises(ConfigurationError, match="modulus: got 4"):
        connecting_path("blend", 4)


def test_a_factor_of_unequal_moduli_keeps_the_loss_but_not_the_fall():
    """The premise of the falling norm: here the node that takes over is the one of the larger norm."""
    factor = every_frequency(z_syn() / np.cbrt(3), 7)
    factor[0, :, 0] *= 3
    factor[1, :, 0] /= 3
    found = measure_path(factor_path(factor, spectrum(order_six(7)), 7), POSITIONS)
    assert found.loss.max() < 1e-20
    assert found.norm2[-1] > found.norm2[0]
