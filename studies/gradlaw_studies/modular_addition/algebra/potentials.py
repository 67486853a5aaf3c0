"""Sum potentials, and the loss of Theorem 1 as a sum of squares of them.

    r_{k1 k2 k} = sum_j z_{a k1 j} z_{b k2 j} z_{c k j}
    r_{p k1 k2 k} = sum_j z_{p k1 j} z_{p k2 j} z_{c k j},  p = a, b

in the network's own scale; the paper's potentials are 2d times these, for it divides the outputs by 2d.
With R_{p m k} = sum_k' r_{p,k',m-k',k}, the outputs' Fourier coefficient at class frequency k and inputs
(k1, k2) is

    o_k(k1, k2) = 2 r_{k1 k2 k} + [k2 = 0] R_{a k1 k} + [k1 = 0] R_{b k2 k}

and the target's is 1/d at k1 = k2 = k and 0 elsewhere, so by Parseval

    L = d sum_{k != 0} sum_{k1 k2} |o_k(k1, k2) - [k1 = k2 = k] / d|^2 .

With zero-mean W_a and W_b this is Theorem 1 of Tian, arXiv 2410.01779, for then r_{k1 0 k} = r_{0 k2 k} =
0. In this form it is exact for all weights, and a sum of squares, so that it resolves losses far below
1e-16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradlaw.errors import UsageError
from gradlaw_studies.modular_addition.algebra.fourier import (
    Spectrum,
    Weights,
    coefficients,
    num_frequencies,
    require_spectrum,
    weights,
)

SIDES = ("a", "b")

Floats = NDArray[np.float64]


class Potentials(NamedTuple):
    """All potentials at one class frequency k.

    Attributes:
        frequency: k, from 1 to n.
        products: r_{k1 k2 k} at residues k1 and k2 modulo d, shape [..., d, d].
        squares: R_{p m k} at side p and residue m, shape [..., 2, d].
    """

    frequency: int
    products: NDArray[np.complex128]
    squares: NDArray[np.complex128]


class LossParts(NamedTuple):
    """The loss by the class of potential it comes from; the parts are >= 0 and their sum is the loss.

    Attributes:
        signal: r_kkk away from its optimum 1/(2d).
        conjugate: r_{k,-k,k}, r_{-k,k,k}, r_{-k,-k,k}: a frequency's own nodes not cancelling.
        mixed: All other products of frequencies other than 0.
        constant: What the outputs hold at k1 = k2 = 0, the sum of r_{p,k',-k',k}.
        squares: What they hold where just one of k1 and k2 is 0.
    """

    signal: Floats
    conjugate: Floats
    mixed: Floats
    constant: Floats
    squares: Floats


def product_potential(z: Spectrum, k1: int, k2: int, k: int) -> NDArray[np.complex128]:
    """r_{k1 k2 k} for frequencies from -n to n, shape [...].

    Raises:
        UsageError: If a frequency is beyond (d - 1) / 2.
    """
    return np.asarray(np.sum(_row(z, 0, k1) * _row(z, 1, k2) * _row(z, 2, k), axis=-1))


def square_potential(z: Spectrum, side: str, k1: int, k2: int, k: int) -> NDArray[np.complex128]:
    """r_{p k1 k2 k} with p = ``side``, "a" or "b", for frequencies from -n to n, shape [...].

    Raises:
        UsageError: If the side is another, or a frequency is beyond (d - 1) / 2.
    """
    if side not in SIDES:
        msg = f"side: got {side!r}, allowed 'a' or 'b'"
        raise UsageError(msg)
    row = SIDES.index(side)
    return np.asarray(np.sum(_row(z, row, k1) * _row(z, row, k2) * _row(z, 2, k), axis=-1))


def potentials(z: Spectrum, modulus: int) -> Iterator[Potentials]:
    """All potentials, one class frequency 1 .. n at a time; those of -k are their conjugates at (-k1, -k2).

    Args:
        z: Shape [..., 3, n+1, q].
        modulus: d, odd and at least 5.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If z does not have the shape of the modulus.
    """
    require_spectrum(z, modulus)
    whole = _both_signs(z)
    first, second = whole[..., 0, :, :], np.swapaxes(whole[..., 1, :, :], -1, -2)
    squared = _both_signs(coefficients(weights(z, modulus)[..., :2, :, :] ** 2))
    for k in range(1, num_frequencies(modulus) + 1):
        nodes = z[..., 2, k, :]
        products = (first * nodes[..., None, :]) @ second
        yield Potentials(k, products, (squared @ nodes[..., None, :, None])[..., 0])


def loss_parts(z: Spectrum, modulus: int) -> LossParts:
    """The loss of the full data by class of potential, from all potentials: exact to its own rounding.

    Takes 8 n d^2 q operations and memory for d^2 numbers; :func:`by_class` is faster and less exact.

    Args:
        z: Shape [..., 3, n+1, q].
        modulus: d, odd and at least 5.

    Returns:
        Parts of shape [...].
    """
    total = np.zeros((5, *z.shape[:-3]))
    for found in potentials(z, modulus):
        outputs = 2 * found.products
        outputs[..., :, 0] += found.squares[..., 0, :]
        outputs[..., 0, :] += found.squares[..., 1, :]
        k = found.frequency
        outputs[..., k, k] -= 1 / modulus
        energy = np.abs(outputs) ** 2
        own = energy[..., [k, k, -k, -k], [k, -k, k, -k]]
        edges = energy[..., 0, 1:].sum(axis=-1) + energy[..., 1:, 0].sum(axis=-1)
        inner = energy[..., 1:, 1:]
        inner[..., [k - 1, k - 1, -k, -k], [k - 1, -k, k - 1, -k]] = 0.0
        total += (
            own[..., 0],
            own[..., 1:].sum(axis=-1),
            inner.sum(axis=(-1, -2)),
            energy[..., 0, 0],
            edges,
        )
    return LossParts(*(2 * modulus * total))  # twice, for the class frequencies -k


def theorem_loss(z: Spectrum, modulus: int) -> Floats:
    """The loss of the full data from the sum potentials (Theorem 1, here for weights of any mean).

    Args:
        z: Shape [..., 3, n+1, q].
        modulus: d, odd and at least 5.

    Returns:
        The mean over all pairs of ||P (o - e_y)||^2, shape [...].

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If z does not have the shape of the modulus.
    """
    return np.asarray(np.sum(loss_parts(z, modulus), axis=0))


def by_class(z: Spectrum, modulus: int) -> LossParts:
    """The loss by class of potential, in O(q^2 d): to about 1e-15, where :func:`loss_parts` is exact.

    The energy of all products is sum_{jj'} G^a G^b G^c with the nodes' Gram matrices; the other classes hold
    few numbers each and are subtracted from it.

    Args:
        z: Shape [..., 3, n+1, q].
        modulus: d, odd and at least 5.

    Returns:
        Parts of shape [...].
    """
    require_spectrum(z, modulus)
    flat = z.reshape(-1, *z.shape[-3:])  # one at a time: three q x q matrices of a thousand would not fit
    parts = np.array([_parts_by_gram(each, modulus) for each in flat]).reshape(*z.shape[:-3], 5)
    return LossParts(*np.moveaxis(parts, -1, 0))


def _parts_by_gram(z: Spectrum, modulus: int) -> tuple[float, float, float, float, float]:
    waves = z[:, 1:]
    stacked = np.concatenate((waves.real, waves.imag), axis=1)
    grams = 2 * np.swapaxes(stacked, -1, -2) @ stacked  # sum over k != 0, both signs
    everything = 4 * modulus * float(np.sum(grams[0] * grams[1] * grams[2]))
    a, b, c = waves
    signs = ((a, b), (a, b.conj()), (a.conj(), b), (a.conj(), b.conj()))
    own = np.array([2 * np.sum(first * second * c, axis=-1) for first, second in signs])
    energies = 2 * modulus * np.sum(np.abs(own) ** 2, axis=-1)
    signal = 2 * modulus * float(np.sum(np.abs(own[0] - 1 / modulus) ** 2))
    constant, edges = _constant_and_edges(weights(z, modulus))
    return signal, float(energies[1:].sum()), everything - float(energies.sum()), constant, edges


def _constant_and_edges(given: Weights) -> tuple[float, float]:
    """Energy of the outputs (class mean removed) that depends on neither residue, and on one alone."""
    a, b, c = given
    classes = c - c.mean(axis=0)
    modulus = len(c)
    alone = (a**2 + 2 * a * b.mean(axis=0), b**2 + 2 * b * a.mean(axis=0))
    means = [side.mean(axis=0) for side in alone]
    level = means[0] + means[1] - 2 * a.mean(axis=0) * b.mean(axis=0)
    constant = float(np.sum((classes @ level) ** 2))
    edges = [np.sum(((side - mean) @ classes.T) ** 2) for side, mean in zip(alone, means, strict=True)]
    return constant, float(sum(edges)) / modulus


def brute_force_loss(given: Weights) -> Floats:
    """The same loss from the network's outputs on all d^2 pairs, without Fourier transforms.

    Args:
        given: Shape [..., 3, d, q].

    Returns:
        Shape [...].
    """
    total = np.zeros(given.shape[:-3])
    for first, outputs in _outputs(given):
        error = outputs - _targets(first, given.shape[-2])
        error -= error.mean(axis=-1, keepdims=True)
        total += np.sum(error**2, axis=(-1, -2))
    return np.asarray(total / given.shape[-2] ** 2)


def accuracy(given: Weights) -> Floats:
    """Share of the d^2 pairs whose largest output is their sum's, shape [...] of weights [..., 3, d, q]."""
    modulus = given.shape[-2]
    right = np.zeros(given.shape[:-3])
    for first, outputs in _outputs(given):
        right += np.sum(np.argmax(outputs, axis=-1) == (first + np.arange(modulus)) % modulus, axis=-1)
    return np.asarray(right / modulus**2)


def _both_signs(z: Spectrum) -> Spectrum:
    """All residues from frequencies 0 .. n: residue d - k stands for -k, and z_{p,-k} = conj(z_pk)."""
    return np.concatenate((z, np.conjugate(z[..., :0:-1, :])), axis=-2)


def _outputs(given: Weights) -> Iterator[tuple[int, Floats]]:
    """Each first residue, with the outputs [..., second residue, class]."""
    classes = np.swapaxes(given[..., 2, :, :], -1, -2)
    for first in range(given.shape[-2]):
        yield first, (given[..., 0, first, None, :] + given[..., 1, :, :]) ** 2 @ classes


def _targets(first: int, modulus: int) -> Floats:
    return np.roll(np.eye(modulus), first, axis=1)


def _row(z: Spectrum, row: int, frequency: int) -> Spectrum:
    largest = z.shape[-2] - 1
    if abs(frequency) > largest:
        msg = f"frequency: got {frequency}, allowed {-largest} .. {largest}, up to (modulus - 1) / 2"
        raise UsageError(msg)
    found = z[..., row, abs(frequency), :]
    return np.conjugate(found) if frequency < 0 else found
