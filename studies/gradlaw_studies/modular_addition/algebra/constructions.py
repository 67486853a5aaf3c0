"""Whole solutions of zero loss, put together from blocks: z_F6, z_F4/6 and z_M of Tian, arXiv 2410.01779.

A block is embedded at its frequency and scaled until r_kkk = 1/(2d) there. Blocks at different frequencies
share no node, so their potentials add and do not mix. One condition is left: the outputs must hold no
constant at any class frequency k != 0,

    T_k = sum_{p, k'} r_{p,k',-k',k} = 0.

Order 6 meets it; order 4 alone leaves T_k = (1+i)/d. The remedy: every node of the order-6 frequencies (the
carriers) also holds the number beta_k in its c row at each such k. By the product structure of order 6 the
sums of z_a z_b, z_a conj(z_b), z_a^2 and z_b^2 over a carrier's nodes vanish, so that an equal number on
all of them adds to nothing but the constant, and beta_k = -T_k / D with D = 2 sum_{carrier nodes} (|z_a|^2
+ |z_b|^2).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradlaw.errors import ConfigurationError, UnknownNameError, UsageError
from gradlaw_studies.modular_addition.algebra.blocks import ROUNDING, z_nu, z_syn, z_syn_ab, z_xi
from gradlaw_studies.modular_addition.algebra.fourier import (
    Spectrum,
    Weights,
    modulus_faults,
    num_frequencies,
    weights,
)
from gradlaw_studies.modular_addition.algebra.semiring import (
    Block,
    add,
    multiply,
    one_frequency,
    require_frequencies,
)

ORDER_FOUR = "nu_i*xi"
ORDER_SIX = ("nu*syn", "nu_i*syn_ab")


class Phases(NamedTuple):
    """The free phases, complex numbers of modulus 1 at frequencies 1 .. n, shape [n] each.

    Attributes:
        nu: Of z_nu, in order 6.
        xi: Of z_xi, in order 4.
        alpha: Of z_syn_ab, in order 6.
        beta: Of z_syn_ab, in order 6.
    """

    nu: NDArray[np.complex128]
    xi: NDArray[np.complex128]
    alpha: NDArray[np.complex128]
    beta: NDArray[np.complex128]


def phases(turns: NDArray[np.float64]) -> Phases:
    """Phases from turns (1 is once around), shape [4, n]: nu, xi, alpha, beta."""
    return Phases(*np.exp(2j * np.pi * turns))


def drawn_phases(modulus: int, rng: np.random.Generator) -> Phases:
    """Phases drawn uniformly.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
    """
    return phases(rng.random((4, num_frequencies(modulus))))


def block(kind: str, free: Phases, frequency: int) -> Block:
    """The product of blocks of a kind: "nu_i*xi" (4 nodes), "nu*syn" or "nu_i*syn_ab" (6 nodes); unscaled.

    Raises:
        UnknownNameError: If the kind is another.
        UsageError: If a phase is not of modulus 1, or the frequency none of 1 .. n.
    """
    require_frequencies([frequency], 2 * len(free.nu) + 1)
    nu, xi, alpha, beta = (complex(each[frequency - 1]) for each in free)
    if kind == ORDER_FOUR:
        return multiply(z_nu(1j), z_xi(xi))
    if kind == "nu*syn":
        return multiply(z_nu(nu), z_syn())
    if kind == "nu_i*syn_ab":
        return multiply(z_nu(1j), z_syn_ab(alpha, beta))
    raise UnknownNameError(kind, kind="block", known=(ORDER_FOUR, *ORDER_SIX))


def compose(blocks: Mapping[int, Block], modulus: int, *, carriers: Collection[int] = ()) -> Spectrum:
    """Blocks at their frequencies, each scaled until r_kkk = 1/(2d); nodes in the order of ``blocks``.

    Args:
        blocks: By frequency 1 .. n.
        modulus: d, odd and at least 5.
        carriers: Frequencies whose nodes hold the constants that cancel what the others leave, equally. They
            must be of order 6 for the whole to be a solution. With none, nothing is cancelled.

    Returns:
        Shape [3, n+1, q], q the number of all blocks' nodes.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If there is no block, a frequency is not 1 .. n, a carrier has no block, or a block no
            signal.
    """
    require_frequencies(list(blocks), modulus)
    if not blocks:
        msg = "blocks: got none, allowed at least one"
        raise UsageError(msg)
    strange = sorted(set(carriers) - set(blocks))
    if strange:
        msg = f"carriers: got {strange}, allowed frequencies of blocks, {sorted(blocks)}"
        raise UsageError(msg)
    scaled = {k: _scaled(each, k, modulus) for k, each in blocks.items()}
    z = reduce(add, [one_frequency(each, k, modulus) for k, each in scaled.items()])
    if carriers:
        _cancel_constants(z, scaled, carriers)
    return z


def order_six(modulus: int, *, kind: str = "nu*syn", free: Phases | None = None) -> Weights:
    """z_F6: order 6 at every frequency; [3, d, 3(d-1)].

    Args:
        modulus: d, odd and at least 5.
        kind: "nu*syn" or "nu_i*syn_ab".
        free: Phases; 1 if not given.

    Raises:
        ConfigurationError: All that is wrong with modulus, kind and phases.
    """
    return mixed(modulus, range(1, modulus // 2 + 1), kind=kind, free=free)


def order_four_six(
    modulus: int, frequency: int = 1, *, kind: str = "nu*syn", free: Phases | None = None
) -> Weights:
    """z_F4/6: order 6 at one frequency, which carries the constants, and order 4 elsewhere; [3, d, 2d].

    Args:
        modulus: d, odd and at least 5.
        frequency: The one of order 6, 1 .. n.
        kind: Of the order-6 block, "nu*syn" or "nu_i*syn_ab".
        free: Phases; 1 if not given.

    Raises:
        ConfigurationError: All that is wrong with modulus, kind and phases.
        UsageError: If the frequency is not 1 .. n.
    """
    return mixed(modulus, (frequency,), kind=kind, free=free)


def mixed(
    modulus: int, order_six: Sequence[int], *, kind: str = "nu*syn", free: Phases | None = None
) -> Weights:
    """Order 6 at the named frequencies, whose nodes carry the constants in equal parts; else order 4.

    Args:
        modulus: d, odd and at least 5.
        order_six: At least one of 1 .. n, each once.
        kind: Of the order-6 blocks, "nu*syn" or "nu_i*syn_ab".
        free: Phases; 1 if not given.

    Returns:
        Shape [3, d, 6 n6 + 4 n4], nodes by frequency.

    Raises:
        ConfigurationError: All that is wrong with modulus, kind and phases.
        UsageError: If a frequency is not 1 .. n, or none is given: order 4 everywhere is no solution.
    """
    given = _checked(modulus, kind, free)
    require_frequencies(order_six, modulus)
    if not order_six:
        msg = "order_six: got no frequency, allowed at least one (order 4 alone leaves a constant)"
        raise UsageError(msg)
    kinds = {k: kind if k in order_six else ORDER_FOUR for k in range(1, num_frequencies(modulus) + 1)}
    blocks = {k: block(each, given, k) for k, each in kinds.items()}
    carriers = order_six if len(order_six) < len(blocks) else ()
    return weights(compose(blocks, modulus, carriers=carriers), modulus)


def order_four_constant(modulus: int, *, free: Phases | None = None, zero_mean: bool = False) -> Weights:
    """Order 4 at every frequency, and what cancels T_k without a signal of its own; loss 0.

    Either one node whose W_a and W_b are the constant s: it adds 4 s^2 beta_k at every input, so beta_k =
    -T_k / (4 s^2), and the norm is least at s^6 = n / (4 d^2). Width 2d - 1, one less than z_F4/6; but
    its inputs are not of zero mean. Or, of zero mean, three nodes with the row a of s z_syn and no W_b,
    so that D = 6 s^2 and s^6 = n / (9 d^2). Width 2d + 1.

    Args:
        modulus: d, odd and at least 5.
        free: Phases; 1 if not given.
        zero_mean: Whether three nodes do it, of zero mean, and not one.

    Returns:
        Shape [3, d, 2d - 1] or [3, d, 2d + 1], these nodes last.

    Raises:
        ConfigurationError: All that is wrong with modulus and phases.
    """
    given = _checked(modulus, ORDER_SIX[0], free)
    n = num_frequencies(modulus)
    z = compose({k: block(ORDER_FOUR, given, k) for k in range(1, n + 1)}, modulus)
    nodes = np.zeros((3, n + 1, 3 if zero_mean else 1), dtype=np.complex128)
    level = (n / ((9 if zero_mean else 4) * modulus**2)) ** (1 / 6)
    if zero_mean:
        nodes[0, 1] = level * z_syn()[0]
    else:
        nodes[:2, 0] = level
    nodes[2, 1:] = -_constants(z)[:, None] / ((6 if zero_mean else 4) * level**2)
    return weights(add(z, nodes), modulus)


def memorising(modulus: int) -> Weights:
    """z_M: a node for every pair of residues, the product of two solutions of order d; [3, d, d^2].

    Node (i, j) holds the indicators of g1 = i, g2 = j and class i + j, each less its mean.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
    """
    turns = np.arange(num_frequencies(modulus) + 1)[:, None] * np.arange(modulus) / modulus
    shift = np.exp(2j * np.pi * turns)
    first = np.stack((shift.conj(), np.ones_like(shift), shift))
    z = multiply(first, first[[1, 0, 2]])
    z[:, 0] = 0.0
    return weights(z * (2 * modulus**3) ** (-1 / 3), modulus)


def padded(given: Weights, width: int) -> Weights:
    """The same function with nodes of zero weight behind, shape [..., 3, d, width].

    Raises:
        ConfigurationError: If the width is below the number of nodes.
    """
    needed = given.shape[-1]
    if width < needed:
        raise ConfigurationError([f"width: got {width}, allowed >= {needed} (the solution's own nodes)"])
    return np.pad(given, [(0, 0)] * (given.ndim - 1) + [(0, width - needed)])


def balanced(given: Weights, share: float = 1.0) -> Weights:
    """The same function at the least norm that scaling its nodes can reach, shape [..., 3, d, q].

    (s a, s b, c / s^2) computes the same as a node's weights (a, b, c), and its norm is least at
    s^6 = 2 |c|^2 / (|a|^2 + |b|^2), where the output weights hold half of what the input weights do.

    Args:
        given: Shape [..., 3, d, q]; nodes without any weight stay so.
        share: How far to go, from 0 (nowhere) to 1, in the logarithm of the scale.

    Raises:
        UsageError: If a node has input and no output, or the reverse: its norm has no minimum above 0.
    """
    a, b, c = np.moveaxis(np.sum(given**2, axis=-2, keepdims=True), -3, 0)
    alive = a + b > 0
    if np.any(alive != (c > 0)):
        msg = "weights: got nodes with input and no output, or the reverse, allowed both or neither"
        raise UsageError(msg)
    scale = (np.where(alive, 2 * c, 1.0) / np.where(alive, a + b, 1.0)) ** (share / 6)
    return np.asarray(given * np.stack((scale, scale, scale**-2.0), axis=-3))


def _scaled(each: Block, frequency: int, modulus: int) -> Block:
    """The block with r_kkk = 1/(2d), its rows multiplied by equal numbers."""
    signal = complex(np.sum(np.prod(each, axis=0)))
    if abs(signal) < ROUNDING * float(np.sum(np.abs(np.prod(each, axis=0)))) or signal == 0:
        msg = f"block at frequency {frequency}: got r_kkk = 0, allowed any other (no scale makes it 1/(2d))"
        raise UsageError(msg)
    return each * (1 / (2 * modulus * signal)) ** (1 / 3)


def _constants(z: Spectrum) -> NDArray[np.complex128]:
    """T_k = sum_{p, k'} r_{p,k',-k',k} for k = 1 .. n of zero-mean inputs; shape [n]."""
    energy = 2 * np.sum(np.abs(z[:2, 1:]) ** 2, axis=(0, 1))
    return np.asarray(z[2, 1:] @ energy)


def _cancel_constants(z: Spectrum, blocks: Mapping[int, Block], carriers: Collection[int]) -> None:
    """Writes beta_k into the c rows of the carriers' nodes, in place, for all k that are no carriers."""
    owner = np.repeat(list(blocks), [each.shape[-1] for each in blocks.values()])
    carrying = np.isin(owner, list(carriers))
    energy = 2 * float(np.sum(np.abs(z[:2, 1:, carrying]) ** 2))
    beta = -_constants(z) / energy
    others = np.setdiff1d(np.arange(1, len(beta) + 1), list(carriers))
    z[2][np.ix_(others, np.flatnonzero(carrying))] += beta[others - 1, None]


def _checked(modulus: int, kind: str, free: Phases | None) -> Phases:
    """The phases, 1 if not given; all faults at once."""
    faults = modulus_faults(modulus)
    if kind not in ORDER_SIX:
        faults.append(f"kind: got {kind!r}, allowed {' or '.join(map(repr, ORDER_SIX))} (of order 6)")
    size = max(modulus // 2, 0)
    given = free or Phases(*np.ones((4, size), dtype=np.complex128))
    for name, values in zip(Phases._fields, given, strict=True):
        if np.shape(values) != (size,):
            faults.append(f"{name}: got shape {np.shape(values)}, allowed ({size},), a phase to a frequency")
        elif np.any(np.abs(np.abs(values) - 1) > ROUNDING):
            faults.append(f"{name}: got moduli up to {np.abs(values).max():.3g}, allowed modulus 1")
    if faults:
        raise ConfigurationError(faults)
    return given
