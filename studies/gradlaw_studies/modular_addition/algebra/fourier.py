"""Weights of a network for addition modulo d, and their Fourier form.

The network is o = W_c h with h_j = (W_a[g1, j] + W_b[g2, j])^2. With phi_k(x) = exp(2 pi i k x / d),

    W_a[x, j] = sum_k z_akj phi_k(x)
    W_b[x, j] = sum_k z_bkj phi_k(x)
    W_c[x, j] = sum_k z_ckj conj(phi_k(x))

where k runs over all residues. Weights are real, so z_{p,-k,j} = conj(z_pkj) and k = 0 .. (d-1)/2 suffice;
the modulus is odd, since an even one has the self-conjugate frequency d/2. The scale is the network's own:
Tian ("Composing global optimizers to reasoning tasks via algebraic objects in neural nets", arXiv 2410.01779)
divides o by 2d.

d: modulus. n: positive frequencies, (d-1)/2. q: width. Weights: [..., 3, d, q]. Spectrum: [..., 3, n+1, q].
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlaw.errors import ConfigurationError, UsageError

SMALLEST_MODULUS = 5
ROUNDING = 1e-9  # of the largest amplitude: a constant part that is less imaginary is real

Weights: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.complex128]


def modulus_faults(modulus: int) -> list[str]:
    """What is wrong with a modulus: it must be odd and at least 5.

    >>> modulus_faults(23), modulus_faults(4)
    ([], ['modulus: got 4, allowed odd numbers >= 5 (an even one has a frequency that is its own conjugate)'])
    """
    if modulus % 2 and modulus >= SMALLEST_MODULUS:
        return []
    reason = "the constructions need two positive frequencies" if modulus % 2 else _EVEN
    return [f"modulus: got {modulus}, allowed odd numbers >= {SMALLEST_MODULUS} ({reason})"]


_EVEN = "an even one has a frequency that is its own conjugate"


def num_frequencies(modulus: int) -> int:
    """Positive frequencies n = (d - 1) / 2.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
    """
    faults = modulus_faults(modulus)
    if faults:
        raise ConfigurationError(faults)
    return (modulus - 1) // 2


def spectrum(weights: ArrayLike) -> Spectrum:
    """The Fourier form of weights, the exact inverse of :func:`weights`.

    Args:
        weights: W_a, W_b, W_c, a residue or class to a row, shape [..., 3, d, q].

    Returns:
        z of shape [..., 3, n+1, q], frequencies 0 .. n; those below 0 are the conjugates.

    Raises:
        ConfigurationError: If d is even or below 5.
        UsageError: If the shape is another.
    """
    given = np.asarray(weights, dtype=np.float64)
    if given.ndim < 3 or given.shape[-3] != 3:
        msg = f"weights: got shape {given.shape}, allowed [..., 3, modulus, width]"
        raise UsageError(msg)
    z = coefficients(given)
    np.conjugate(z[..., 2, :, :], out=z[..., 2, :, :])
    return z


def coefficients(tables: NDArray[np.float64]) -> Spectrum:
    """(1/d) sum_x w[x] conj(phi_k(x)) for k = 0 .. n, shape [..., n+1, q] of real tables [..., d, q].

    A matrix product: up to a modulus of about 400 it is faster than the FFT (at d = 127 five times), whose
    prime lengths are its worst.

    Raises:
        ConfigurationError: If d is even or below 5.
    """
    modulus = tables.shape[-2]
    rows = num_frequencies(modulus) + 1
    parts = _characters(modulus) @ tables / modulus
    z = np.empty((*parts.shape[:-2], rows, parts.shape[-1]), dtype=np.complex128)
    z.real, z.imag = parts[..., :rows, :], -parts[..., rows:, :]
    return z


def weights(z: Spectrum, modulus: int) -> Weights:
    """The weights of a Fourier form, the exact inverse of :func:`spectrum`.

    Args:
        z: Frequencies 0 .. n, shape [..., 3, n+1, q].
        modulus: d, odd and at least 5.

    Returns:
        W_a, W_b, W_c of shape [..., 3, d, q].

    Raises:
        ConfigurationError: If d is even or below 5.
        UsageError: If the shape is not that of the modulus, or the constant part is not real.
    """
    require_spectrum(z, modulus)
    constant = np.abs(z[..., 0, :].imag)
    if np.any(constant) and np.any(constant > ROUNDING * np.abs(z).max()):
        msg = f"spectrum: got a constant part of {constant.max():.3g} i, allowed real ones (weights are real)"
        raise UsageError(msg)
    parts = 2 * np.concatenate((z.real, -z.imag), axis=-2)  # w = z_0 + 2 sum_{k > 0} (Re z cos - Im z sin)
    parts[..., 0, :] /= 2
    parts[..., 2, z.shape[-2] :, :] *= -1  # W_c is a sum over conj(phi_k)
    return np.asarray(_characters(modulus).T @ parts)


@lru_cache(maxsize=64)
def _characters(modulus: int) -> NDArray[np.float64]:
    """Rows cos(2 pi k x / d) for k = 0 .. n, then rows of the sine; shape [2(n+1), d]."""
    turns = np.outer(np.arange(modulus // 2 + 1), np.arange(modulus)) % modulus / modulus
    found = np.concatenate((np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)))
    found.setflags(write=False)
    return found


def require_spectrum(z: Spectrum, modulus: int) -> None:
    """Raises unless z has shape [..., 3, n+1, q].

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If the shape is another.
    """
    rows = num_frequencies(modulus) + 1
    if z.ndim < 3 or z.shape[-3:-1] != (3, rows):
        msg = f"spectrum: got shape {z.shape}, allowed [..., 3, {rows}, width] at modulus {modulus}"
        raise UsageError(msg)
