"""Whole solutions, judged by the network's outputs on all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.errors import ConfigurationError, UnknownNameError, UsageError
from gradlaw_studies.modular_addition.algebra.constructions import (
    ORDER_SIX,
    balanced,
    block,
    compose,
    drawn_phases,
    memorising,
    mixed,
    order_four_constant,
    order_four_six,
    order_six,
    padded,
    phases,
)
from gradlaw_studies.modular_addition.algebra.fourier import spectrum, weights
from gradlaw_studies.modular_addition.algebra.potentials import (
    accuracy,
    brute_force_loss,
    loss_parts,
    product_potential,
    square_potential,
    theorem_loss,
)

SEEDS = st.integers(0, 2**32 - 1)
ODD = [5, 7, 9, 11, 15, 23, 25, 49]  # primes, prime powers and composites


def assert_solves(found):
    assert brute_force_loss(found) < 1e-20
    assert theorem_loss(spectrum(found), found.shape[-2]) < 1e-20
    assert accuracy(found) == 1.0


def orders(found):
    """Nodes by the frequency at which their inputs are largest."""
    size = np.abs(spectrum(found)[:2]).sum(axis=0)
    return np.bincount(size.argmax(axis=0), minlength=size.shape[0])[1:]


@pytest.mark.parametrize("kind", ORDER_SIX)
@pytest.mark.parametrize("modulus", [*ODD, 127])
def test_order_six_everywhere(modulus, kind):
    found = order_six(modulus, kind=kind, free=drawn_phases(modulus, np.random.default_rng(modulus)))
    assert found.shape == (3, modulus, 3 * (modulus - 1))
    assert_solves(found)
    np.testing.assert_array_equal(orders(found), 6)


@pytest.mark.parametrize("kind", ORDER_SIX)
@pytest.mark.parametrize("modulus", [*ODD, 127])
def test_order_four_but_for_one_frequency(modulus, kind):
    free = drawn_phases(modulus, np.random.default_rng(modulus))
    found = order_four_six(modulus, 2, kind=kind, free=free)
    assert found.shape == (3, modulus, 2 * modulus)
    assert_solves(found)
    np.testing.assert_array_equal(orders(found), [4, 6, *[4] * (modulus // 2 - 2)])


@pytest.mark.parametrize("modulus", [5, 7, 9, 11, 15, 23, 31])
def test_memorising(modulus):
    found = memorising(modulus)
    assert found.shape == (3, modulus, modulus**2)
    assert_solves(found)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-15)
    # node (i, j) is largest at residue i on one side, j on the other, and class i + j
    pairs = np.divmod(np.arange(modulus**2), modulus)
    np.testing.assert_array_equal(found.argmax(axis=1), [*pairs, sum(pairs) % modulus])


@pytest.mark.parametrize("modulus", [5, 9, 23, 127])
def test_a_node_of_constant_inputs_saves_order_six(modulus):
    free = drawn_phases(modulus, np.random.default_rng(modulus))
    found = order_four_constant(modulus, free=free)
    assert found.shape == (3, modulus, 2 * modulus - 1)
    assert_solves(found)
    np.testing.assert_array_equal(orders(found), 4)
    assert np.abs(found[:2].mean(axis=1)).max() > 0.1


@pytest.mark.parametrize("modulus", [5, 9, 23])
def test_three_nodes_without_signal_save_order_six_at_zero_mean(modulus):
    free = drawn_phases(modulus, np.random.default_rng(modulus))
    found = order_four_constant(modulus, free=free, zero_mean=True)
    assert found.shape == (3, modulus, 2 * modulus + 1)
    assert_solves(found)
    np.testing.assert_allclose(found[:2].mean(axis=1), 0, atol=1e-15)
    np.testing.assert_array_equal(found[1, :, -3:], 0)


@given(st.sampled_from([5, 7, 9, 13]), st.data(), SEEDS)
def test_any_split_is_a_solution(modulus, data, seed):
    n = modulus // 2
    six = data.draw(st.lists(st.integers(1, n), min_size=1, max_size=n, unique=True))
    kind = data.draw(st.sampled_from(ORDER_SIX))
    found = mixed(modulus, six, kind=kind, free=drawn_phases(modulus, np.random.default_rng(seed)))
    assert found.shape == (3, modulus, 4 * n + 2 * len(six))
    assert_solves(found)
    np.testing.assert_array_equal(orders(found), [6 if k in six else 4 for k in range(1, n + 1)])
    z = spectrum(found)
    signals = [product_potential(z, k, k, k) for k in range(1, n + 1)]
    np.testing.assert_allclose(signals, 1 / (2 * modulus), rtol=1e-12)
    np.testing.assert_allclose(z[:2, 0], 0, atol=1e-15)


@pytest.mark.parametrize("modulus", [5, 9, 23])
def test_order_four_alone_leaves_a_constant_and_nothing_else(modulus):
    free = drawn_phases(modulus, np.random.default_rng(1))
    z = compose({k: block("nu_i*xi", free, k) for k in range(1, modulus // 2 + 1)}, modulus)
    parts = loss_parts(z, modulus)
    # d sum_{k != 0} |T_k|^2 with T_k = (1 + i) / d
    assert parts == pytest.approx((0, 0, 0, 2 * (modulus - 1) / modulus, 0), abs=1e-15)
    for side in "ab":
        assert square_potential(z, side, 1, -1, 1) == pytest.approx((1 + 1j) / (4 * modulus))


def test_the_constants_sit_equally_on_all_carriers():
    z = spectrum(mixed(11, [2, 5], free=drawn_phases(11, np.random.default_rng(2))))
    carrying = np.abs(z[0]).argmax(axis=0) % 3 == 2  # frequencies 2 and 5
    for k in (1, 3, 4):
        np.testing.assert_allclose(z[2, k, carrying], z[2, k, carrying][0], atol=1e-15)
        size = (12 * 11) ** (2 / 3) / (24 * 11 * 2)
        np.testing.assert_allclose(z[2, k, carrying], -(1 + 1j) * size, rtol=1e-12)
    assert np.abs(z[2, 2][carrying][:6]).min() > 0
    np.testing.assert_allclose(z[2, 5][carrying][:6], 0, atol=1e-15)


def test_blocks_are_scaled_whatever_their_signal():
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(3, 5)) + 1j * rng.normal(size=(3, 5))
    z = compose({2: 7 * drawn, 1: drawn}, 7)
    for k in (1, 2):
        assert product_potential(z, k, k, k) == pytest.approx(1 / 14)
    np.testing.assert_allclose(z[:, 2, :5], z[:, 1, 5:])
    with pytest.raises(UsageError, match="block at frequency 3: got r_kkk = 0"):
        compose({3: np.array([[1, 1], [1, 1], [1, -1]])}, 7)
    with pytest.raises(UsageError, match=r"carriers: got \[3\], allowed frequencies of blocks, \[1\]"):
        compose({1: drawn}, 7, carriers=[3])


@given(st.sampled_from([5, 9]), st.integers(1, 6), SEEDS)
def test_balancing_keeps_the_function_and_lowers_the_norm(modulus, width, seed):
    rng = np.random.default_rng(seed)
    given_weights = rng.normal(size=(3, modulus, width)) * np.exp(rng.normal(size=(3, 1, width)))
    found = balanced(given_weights)
    assert brute_force_loss(found) == pytest.approx(brute_force_loss(given_weights), rel=1e-10)
    inner, outer = np.sum(found[:2] ** 2, axis=(0, 1)), np.sum(found[2] ** 2, axis=0)
    np.testing.assert_allclose(outer, inner / 2, rtol=1e-10)
    scale = np.exp(rng.normal(size=width) / 10)
    moved = found * np.stack((scale, scale, scale**-2))[:, None, :]
    assert np.sum(moved**2) >= np.sum(found**2) * (1 - 1e-12)


def test_balancing_batches_and_silent_nodes():
    stack = np.stack([order_four_six(7), order_four_six(7, 3)])
    np.testing.assert_array_equal(balanced(padded(stack, 20))[1, ..., :14], balanced(stack[1]))
    np.testing.assert_array_equal(balanced(padded(stack, 20))[..., 14:], 0)
    np.testing.assert_allclose(balanced(stack, 0.5) ** 2, stack * balanced(stack), atol=1e-14)
    silent = stack.copy()
    silent[0, 2, :, 3] = 0
    with pytest.raises(UsageError, match="nodes with input and no output"):
        balanced(silent)


def test_padding():
    found = order_six(7)
    wide = padded(found, 30)
    assert wide.shape == (3, 7, 30)
    np.testing.assert_array_equal(wide[..., :18], found)
    assert_solves(wide)
    with pytest.raises(ConfigurationError, match="width: got 17, allowed >= 18"):
        padded(found, 17)


def test_phases():
    free = phases(np.arange(12).reshape(4, 3) / 8)
    assert free.nu[2] == pytest.approx(1j)
    assert free.beta[0] == pytest.approx(np.exp(2j * np.pi * 9 / 8))
    again = [drawn_phases(9, np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    np.testing.assert_array_equal(order_six(9), order_six(9, free=phases(np.zeros((4, 4)))))


def test_all_faults_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        order_six(4, kind="syn*syn", free=phases(np.zeros((4, 3))))
    faults = caught.value.faults
    assert faults[0].startswith("modulus: got 4, allowed odd numbers >= 5")
    assert faults[1] == "kind: got 'syn*syn', allowed 'nu*syn' or 'nu_i*syn_ab' (of order 6)"
    assert faults[2] == "nu: got shape (3,), allowed (2,), a phase to a frequency"
    long = drawn_phases(7, np.random.default_rng(0))
    with pytest.raises(ConfigurationError, match="xi: got moduli up to 2, allowed modulus 1"):
        order_four_six(7, free=long._replace(xi=2 * long.xi))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: order_six(3), ConfigurationError, "modulus: got 3"),
        (lambda: memorising(6), ConfigurationError, "modulus: got 6"),
        (lambda: order_four_constant(2), ConfigurationError, "modulus: got 2"),
        (lambda: drawn_phases(8, np.random.default_rng(0)), ConfigurationError, "modulus: got 8"),
        (lambda: order_four_six(7, 4), UsageError, r"frequencies: got \[4\], allowed 1 .. 3 once each"),
        (lambda: mixed(7, [1, 1]), UsageError, r"frequencies: got \[1, 1\]"),
        (lambda: mixed(7, []), UsageError, "order_six: got no frequency, allowed at least one"),
        (lambda: block("xi", phases(np.zeros((4, 3))), 1), UnknownNameError, "unknown block 'xi'"),
        (lambda: block("nu*syn", phases(np.zeros((4, 3))), 4), UsageError, r"frequencies: got \[4\]"),
        (lambda: block("nu*syn", phases(np.zeros((4, 3))), 0), UsageError, r"allowed 1 .. 3 once each"),
        (lambda: compose({}, 7), UsageError, "blocks: got none, allowed at least one"),
    ],
)
def test_what_cannot_be_built_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_a_solution_moved_a_little_is_none():
    found = order_six(7)
    found[2, 3, 4] += 1e-6
    assert brute_force_loss(found) > 1e-14
    assert theorem_loss(spectrum(weights(spectrum(found), 7)), 7) > 1e-14
