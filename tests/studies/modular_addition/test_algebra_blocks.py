"""Blocks against the conditions they are built for, at one frequency."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw.errors import UsageError
from gradlaw_studies.modular_addition.algebra.blocks import z_nu, z_syn, z_syn_ab, z_xi
from gradlaw_studies.modular_addition.algebra.semiring import multiply

UNIT = st.floats(0, 1).map(lambda turn: np.exp(2j * np.pi * turn))
SIGNS = (1, -1)


def conditions(block):
    """All potentials of a block within its frequency, over r_kkk, by their signs."""
    a, b, c = block
    turned = {
        (row, sign): values if sign > 0 else values.conj()
        for row, values in ((0, a), (1, b))
        for sign in SIGNS
    }
    signal = np.sum(a * b * c)
    found = {}
    for s1, s2 in itertools.product(SIGNS, repeat=2):
        found["ab", s1, s2] = np.sum(turned[0, s1] * turned[1, s2] * c) / signal
        found["a", s1, s2] = np.sum(turned[0, s1] * turned[0, s2] * c) / signal
        found["b", s1, s2] = np.sum(turned[1, s1] * turned[1, s2] * c) / signal
    return found


def unmet(block):
    """Conditions that do not hold: r_kkk = 1 and all others 0."""
    found = conditions(block)
    assert found.pop(("ab", 1, 1)) == pytest.approx(1)
    return {name: value for name, value in found.items() if abs(value) > 1e-12}


CONSTANT = {("a", 1, -1), ("a", -1, 1), ("b", 1, -1), ("b", -1, 1)}


def test_what_each_block_leaves():
    generic = np.exp(0.7j)
    assert set(unmet(z_syn())) == {("a", 1, 1), ("b", 1, 1)}
    assert {("a", 1, 1), ("b", 1, 1)}.isdisjoint(unmet(z_nu(generic)))
    assert ("ab", -1, -1) not in unmet(z_xi(generic))
    assert set(unmet(z_nu(1j))) == {("ab", -1, -1), *CONSTANT}


@given(UNIT)
def test_order_six_meets_every_condition(nu):
    block = multiply(z_nu(nu), z_syn())
    assert block.shape == (3, 6)
    assert not unmet(block)


@given(UNIT, UNIT)
def test_order_six_with_two_phases_meets_every_condition(alpha, beta):
    block = multiply(z_nu(1j), z_syn_ab(alpha, beta))
    assert block.shape == (3, 6)
    assert not unmet(block)


@given(UNIT)
def test_order_four_misses_the_constant_alone_by_one_over_root_two(xi):
    block = multiply(z_nu(1j), z_xi(xi))
    assert block.shape == (3, 4)
    left = unmet(block)
    assert set(left) == CONSTANT
    np.testing.assert_allclose(list(left.values()), (1 + 1j) / 2, atol=1e-14)


def test_without_phases_the_two_syn_blocks_agree():
    np.testing.assert_array_equal(z_syn_ab(), z_syn())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: z_nu(2), "nu: got 2"),
        (lambda: z_xi(0), "xi: got 0"),
        (lambda: z_syn_ab(1, 1 + 1j), r"beta: got \(1\+1j\), allowed complex numbers of modulus 1"),
        (lambda: z_nu(float("nan")), "nu: got nan"),
    ],
)
def test_phases_have_modulus_one(build, message):
    with pytest.raises(UsageError, match=message):
        build()
