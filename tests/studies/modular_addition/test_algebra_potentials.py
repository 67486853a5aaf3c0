"""The loss of Theorem 1 against the network itself, and against the theorem written out term by term."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.random import Streams
from gradlaw.task import Taps
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra.fourier import spectrum
from gradlaw_studies.modular_addition.algebra.potentials import (
    accuracy,
    brute_force_loss,
    by_class,
    loss_parts,
    potentials,
    product_potential,
    square_potential,
    theorem_loss,
)

SEEDS = st.integers(0, 2**32 - 1)
MODULI = st.sampled_from([5, 7, 9, 11])


def drawn(seed, modulus, width, *, zero_mean=False, leading=()):
    w = np.random.default_rng(seed).normal(size=(*leading, 3, modulus, width))
    if zero_mean:
        w[..., :2, :, :] -= w[..., :2, :, :].mean(axis=-2, keepdims=True)
    return w / np.sqrt(modulus * max(width, 1))


def loss_by_loops(w):
    """The mean over pairs of the squared norm of the projected error, a pair at a time."""
    a, b, c = w
    modulus = len(a)
    projection = np.eye(modulus) - 1 / modulus
    total, right = 0.0, 0
    for g1, g2 in itertools.product(range(modulus), repeat=2):
        outputs = c @ (a[g1] + b[g2]) ** 2
        target = np.eye(modulus)[(g1 + g2) % modulus]
        total += np.sum((projection @ (outputs - target)) ** 2)
        right += np.argmax(outputs) == (g1 + g2) % modulus
    return total / modulus**2, right / modulus**2


def theorem_by_terms(w):
    """Theorem 1 as it is stated, for zero-mean inputs: in the paper's scale, term by term."""
    z, modulus = spectrum(w), w.shape[-2]
    n = modulus // 2
    signed = [k for k in range(-n, n + 1) if k]
    scale = 2 * modulus

    def wrapped(k):
        return (k + n) % modulus - n

    def squares(side, m, k):
        pairs = [(k1, wrapped(m - k1)) for k1 in signed if wrapped(m - k1)]
        return scale * sum(square_potential(z, side, *pair, k) for pair in pairs)

    total = 0.0
    for k in signed:
        total += -2 * scale * product_potential(z, k, k, k).real
        total += sum(abs(scale * product_potential(z, k1, k2, k)) ** 2 for k1 in signed for k2 in signed)
        total += abs(squares("a", 0, k) + squares("b", 0, k)) ** 2 / 4
        total += sum(abs(squares(side, m, k)) ** 2 for side in "ab" for m in signed) / 4
    return total / modulus + (modulus - 1) / modulus


@given(MODULI, st.integers(1, 9), st.booleans(), SEEDS)
def test_the_theorem_is_the_loss(modulus, width, zero_mean, seed):
    w = drawn(seed, modulus, width, zero_mean=zero_mean)
    expected = brute_force_loss(w)
    assert theorem_loss(spectrum(w), modulus) == pytest.approx(expected, abs=1e-12, rel=1e-12)


@pytest.mark.parametrize("modulus", [5, 9])
def test_brute_force_is_the_loss_pair_by_pair(modulus):
    w = drawn(3, modulus, 6)
    assert (brute_force_loss(w), accuracy(w)) == pytest.approx(loss_by_loops(w), abs=1e-14)


@pytest.mark.parametrize("modulus", [5, 7, 9])
def test_with_zero_means_it_is_the_theorem_as_stated(modulus):
    w = drawn(4, modulus, 3, zero_mean=True)
    stated = theorem_by_terms(w)
    assert stated == pytest.approx(loss_by_loops(w)[0], abs=1e-12)
    assert theorem_loss(spectrum(w), modulus) == pytest.approx(stated, abs=1e-12)


def test_without_zero_means_the_theorem_as_stated_is_wrong_and_ours_is_not():
    w = drawn(4, 7, 3)
    assert abs(theorem_by_terms(w) - loss_by_loops(w)[0]) > 1e-3
    assert theorem_loss(spectrum(w), 7) == pytest.approx(loss_by_loops(w)[0], abs=1e-14)


def test_the_task_trains_on_this_loss():
    w = drawn(8, 11, 16)
    task = ModularAddition(modulus=11, width=16)
    params = dict(zip(("W_a", "W_b", "W_c"), torch.from_numpy(w), strict=True))
    pairs = task.batch(torch.arange(11**2), Streams(torch.tensor(0), torch.tensor(0)))
    loss = task.loss(params, {}, pairs, None, Taps()).loss
    assert theorem_loss(spectrum(w), 11) == pytest.approx(loss.item(), abs=1e-12)


@given(MODULI, st.integers(1, 9), st.booleans(), SEEDS)
def test_the_parts_by_gram_matrices_are_those_of_all_potentials(modulus, width, zero_mean, seed):
    z = spectrum(10 * drawn(seed, modulus, width, zero_mean=zero_mean))
    exact = loss_parts(z, modulus)
    assert min(exact) >= 0
    np.testing.assert_allclose(by_class(z, modulus), exact, rtol=0, atol=1e-13 * max(1.0, sum(exact)))


def test_many_networks_at_once():
    w = drawn(5, 7, 4, leading=(2, 3))
    z = spectrum(w)
    alone = np.array([[loss_by_loops(each)[0] for each in row] for row in w])
    for found in (brute_force_loss(w), theorem_loss(z, 7), sum(by_class(z, 7)), sum(loss_parts(z, 7))):
        np.testing.assert_allclose(found, alone, rtol=0, atol=1e-13)
    np.testing.assert_allclose(accuracy(w), [[loss_by_loops(each)[1] for each in row] for row in w])


def test_a_network_without_weights_misses_every_class():
    z = spectrum(np.zeros((3, 9, 4)))
    assert theorem_loss(z, 9) == pytest.approx(1 - 1 / 9, abs=1e-15)
    assert by_class(z, 9) == pytest.approx((1 - 1 / 9, 0, 0, 0, 0), abs=1e-15)
    assert brute_force_loss(np.zeros((3, 9, 0))) == pytest.approx(1 - 1 / 9, abs=1e-15)


def waves(a, b, c, modulus=9):
    """One node with a wave of coefficient 1 in each row, at these frequencies."""
    z = np.zeros((3, modulus // 2 + 1, 1), dtype=complex)
    z[[0, 1, 2], [a, b, c], 0] = 1.0
    return z


@pytest.mark.parametrize("measure", [loss_parts, by_class])
def test_each_part_answers_to_its_own_potentials(measure):
    """By hand at d = 9: waves at k1, k2, k give o_k = 2 at (+-k1, +-k2), 4 at (0, 0), 1 at (+-2 k1, 0)."""
    both, missed = 2 * 9, 8 / 9  # class frequencies k and -k, times d; the signal of no output
    assert measure(waves(1, 2, 3), 9) == pytest.approx((missed, 0, both * 16, both * 16, both * 4))
    signal = 6 / 9 + both * (2 - 1 / 9) ** 2
    assert measure(waves(1, 1, 1), 9) == pytest.approx((signal, both * 12, 0, both * 16, both * 4), abs=1e-12)
    # constant input on the first side: o_1(0, 0) = 1 + 2, o_1(0, +-1) = 2 r_{0 1 1} = 2, o_1(0, +-2) = 1
    constant = waves(0, 1, 1)
    assert measure(constant, 9) == pytest.approx((missed, 0, 0, both * 9, both * (8 + 2)), abs=1e-12)
    constant[1] = 0.0  # and none on the second: o_1(0, 0) = 1
    assert measure(constant, 9) == pytest.approx((missed, 0, 0, both, 0), abs=1e-12)


@pytest.mark.parametrize("modulus", [5, 7])
def test_tables_of_potentials_hold_the_potentials(modulus):
    z = spectrum(drawn(6, modulus, 4))
    n = modulus // 2
    signed = range(-n, n + 1)
    for found in potentials(z, modulus):
        k = found.frequency
        for k1, k2 in itertools.product(signed, repeat=2):
            expected = product_potential(z, k1, k2, k)
            assert found.products[k1, k2] == pytest.approx(expected, abs=1e-16)
        for row, side in enumerate("ab"):
            for m in signed:
                terms = [square_potential(z, side, k1, (m - k1 + n) % modulus - n, k) for k1 in signed]
                assert found.squares[row, m] == pytest.approx(sum(terms), abs=1e-15)


def test_frequencies_beyond_half_the_modulus_are_refused():
    z = spectrum(drawn(7, 7, 2))
    with pytest.raises(UsageError, match=r"frequency: got 4, allowed -3 .. 3"):
        product_potential(z, 1, 4, 1)
    with pytest.raises(UsageError, match=r"frequency: got -4"):
        square_potential(z, "a", 1, 1, -4)
    with pytest.raises(UsageError, match="side: got 'c', allowed 'a' or 'b'"):
        square_potential(z, "c", 1, 1, 1)
    with pytest.raises(ConfigurationError, match="modulus: got 8"):
        theorem_loss(z, 8)
    with pytest.raises(UsageError, match="spectrum: got shape"):
        by_class(z, 9)
