"""Laws of the semiring, and potentials as homomorphisms, on random solutions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw_studies.modular_addition.algebra.fourier import spectrum
from gradlaw_studies.modular_addition.algebra.semiring import add, every_frequency, multiply, one_frequency

SEEDS = st.integers(0, 2**32 - 1)
MODULI = st.sampled_from([5, 7, 9])
WIDTHS = st.integers(0, 4)


def drawn(rng, modulus, width):
    return spectrum(rng.normal(size=(3, modulus, width)) * modulus)  # coefficients of order 1


def all_potentials(z):
    """r_{k1 k2 k} and r_{p k1 k2 k} for all signed frequencies, as sums over nodes."""
    a, b, c = np.concatenate((z, z[:, :0:-1].conj()), axis=1)
    pairs = ((a, b), (a, a), (b, b))
    return np.array([np.einsum("xj,yj,kj->xyk", first, second, c) for first, second in pairs])


def assert_same_nodes(first, second):
    """Equal up to the order of the nodes: the cheapest matching costs nothing."""
    assert first.shape == second.shape
    cost = np.abs(first[..., :, None] - second[..., None, :]).sum(axis=(0, 1))
    assert cost[linear_sum_assignment(cost)].sum() == pytest.approx(0, abs=1e-9)


@given(MODULI, WIDTHS, WIDTHS, SEEDS)
def test_potentials_are_homomorphisms(modulus, width1, width2, seed):
    rng = np.random.default_rng(seed)
    z1, z2 = drawn(rng, modulus, width1), drawn(rng, modulus, width2)
    r1, r2 = all_potentials(z1), all_potentials(z2)
    scale = 1 + np.abs(r1).max() + np.abs(r2).max() + np.abs(r1 * r2).max()
    np.testing.assert_allclose(all_potentials(add(z1, z2)), r1 + r2, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(all_potentials(multiply(z1, z2)), r1 * r2, rtol=0, atol=1e-12 * scale)


@given(MODULI, WIDTHS, WIDTHS, WIDTHS, SEEDS)
def test_the_laws_of_a_commutative_semiring(modulus, width1, width2, width3, seed):
    rng = np.random.default_rng(seed)
    x, y, z = (drawn(rng, modulus, width) for width in (width1, width2, width3))
    assert_same_nodes(add(x, y), add(y, x))
    assert_same_nodes(multiply(x, y), multiply(y, x))
    assert_same_nodes(multiply(x, add(y, z)), add(multiply(x, y), multiply(x, z)))
    np.testing.assert_array_equal(add(add(x, y), z), add(x, add(y, z)))
    np.testing.assert_allclose(multiply(multiply(x, y), z), multiply(x, multiply(y, z)), rtol=1e-14)
    np.testing.assert_array_equal(multiply(x, np.ones((*x.shape[:2], 1))), x)
    np.testing.assert_array_equal(add(x, x[..., :0]), x)
    assert multiply(x, y[..., :0]).shape[-1] == 0


def test_a_product_pairs_nodes_row_by_row():
    x, y = np.array([[1, 2], [3, 4]]), np.array([[5, 6, 7], [1, 0, 2]])
    np.testing.assert_array_equal(multiply(x, y), [[5, 6, 7, 10, 12, 14], [3, 0, 6, 4, 0, 8]])


def test_blocks_at_frequencies():
    block = np.arange(6).reshape(3, 2) * (1 + 1j)
    z = one_frequency(block, 2, 7)
    assert z.shape == (3, 4, 2)
    np.testing.assert_array_equal(z[:, 2], block)
    assert np.count_nonzero(z[:, [0, 1, 3]]) == 0
    everywhere = every_frequency(block, 7)
    assert np.count_nonzero(everywhere[:, 0]) == 0
    np.testing.assert_array_equal(everywhere[:, 1:], np.stack([block] * 3, axis=1))


@pytest.mark.parametrize("frequency", [-1, 0, 4])
def test_frequencies_beyond_half_the_modulus_are_refused(frequency):
    with pytest.raises(UsageError, match=rf"frequencies: got \[{frequency}\], allowed 1 .. 3"):
        one_frequency(np.ones((3, 2)), frequency, 7)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ConfigurationError, match="modulus: got 12"):
        one_frequency(np.ones((3, 2)), 1, 12)
    with pytest.raises(ConfigurationError, match="modulus: got 3"):
        every_frequency(np.ones((3, 2)), 3)
    for operation in (add, multiply):
        with pytest.raises(UsageError, match=r"got shapes \(3, 4, 2\) and \(3, 5, 2\)"):
            operation(np.ones((3, 4, 2)), np.ones((3, 5, 2)))
