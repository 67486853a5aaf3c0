"""The semiring of solutions: sums put hidden nodes side by side, products pair every two of them.

Solutions of all widths, up to the order of their nodes, are a commutative semiring, and every sum potential
is a ring homomorphism to the complex numbers: r(z1 + z2) = r(z1) + r(z2) and r(z1 * z2) = r(z1) r(z2), so
that a product loses every potential that one of its factors lacks (Tian, arXiv 2410.01779).

The operations take arrays [..., q] that agree in all axes but the last: spectra and blocks [3, m] alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradlaw.errors import UsageError
from gradlaw_studies.modular_addition.algebra.fourier import Spectrum, num_frequencies

Block = NDArray[np.complex128]


def add(first: Spectrum, second: Spectrum) -> Spectrum:
    """z1 + z2: the nodes of both, shape [..., q1 + q2].

    Raises:
        UsageError: If they differ in another axis than the last.
    """
    _require_alike(first, second)
    return np.concatenate((first, second), axis=-1)


def multiply(first: Spectrum, second: Spectrum) -> Spectrum:
    """z1 * z2: node (i, j) is z1's node i times z2's node j at each row and frequency, shape [..., q1 q2].

    Raises:
        UsageError: If they differ in another axis than the last.

    >>> multiply(np.array([1, 2]), np.array([3, 4, 5]))
    array([ 3,  4,  5,  6,  8, 10])
    """
    _require_alike(first, second)
    paired = first[..., :, None] * second[..., None, :]
    return np.reshape(paired, (*first.shape[:-1], first.shape[-1] * second.shape[-1]))


def one_frequency(block: Block, frequency: int, modulus: int) -> Spectrum:
    """A block of m nodes at one frequency and nothing elsewhere, shape [3, n+1, m].

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If the frequency is not 1 .. n.
    """
    require_frequencies([frequency], modulus)
    z = np.zeros((3, num_frequencies(modulus) + 1, block.shape[-1]), dtype=np.complex128)
    z[:, frequency] = block
    return z


def every_frequency(block: Block, modulus: int) -> Spectrum:
    """The same m nodes at all frequencies 1 .. n, shape [3, n+1, m]; their constant part is 0.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
    """
    z = np.zeros((3, num_frequencies(modulus) + 1, block.shape[-1]), dtype=np.complex128)
    z[:, 1:] = block[:, None]
    return z


def require_frequencies(frequencies: Sequence[int], modulus: int) -> None:
    """Raises unless all frequencies are 1 .. n, each named once.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If a frequency is below 1, above n or named twice.
    """
    largest = num_frequencies(modulus)
    wrong = [k for k in frequencies if not 1 <= k <= largest]
    if wrong or len(set(frequencies)) < len(frequencies):
        msg = f"frequencies: got {list(frequencies)}, allowed 1 .. {largest} once each at modulus {modulus}"
        raise UsageError(msg)


def _require_alike(first: Spectrum, second: Spectrum) -> None:
    if first.shape[:-1] != second.shape[:-1]:
        msg = (
            f"solutions: got shapes {first.shape} and {second.shape}, allowed to differ in the last axis only"
        )
        raise UsageError(msg)
