"""What a network's weights are as a whole: their norm and means, and whether its nodes are waves.

N: networks. d: modulus. n: frequencies. q: width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlaw_studies.modular_addition.algebra.fourier import Spectrum
from gradlaw_studies.modular_addition.measurement.orders import (
    THRESHOLD,
    checked_networks,
    chunk_size,
    finite_spectrum,
)

Values = NDArray[np.float64]


class NetworkRows(NamedTuple):
    """One entry a network, shape [N]; NaN for a network that is not finite.

    Attributes:
        norm2: Sum of all squared weights.
        mean_residual: Largest |mean over residues| of a column of W_a or W_b, over the largest root mean
            square of one: Theorem 1 is about 0. NaN if both are zero.
        top_share: Of a node's squared weights in W_a, W_b and W_c the share at its largest frequency 1 .. n,
            mean over nodes weighted by their squared weights: 1 of pure waves, 1/n of a lookup, whose
            spectrum is flat. NaN if all weights are zero.
        num_live_nodes: Nodes with |z_akj| above the threshold at a frequency 1 .. n.
    """

    norm2: Values
    mean_residual: Values
    top_share: Values
    num_live_nodes: NDArray[np.int64]


def describe_networks(weights: ArrayLike, *, threshold: float = THRESHOLD) -> NetworkRows:
    """Norm, means, share of power at the top frequency and number of live nodes of every network.

    Args:
        weights: W_a, W_b, W_c of N networks, shape [N, 3, d, q].
        threshold: On |z_akj|, for live nodes alone.

    Raises:
        ConfigurationError: If d is even or below 5.
        UsageError: If the shape is another.
    """
    given = checked_networks(weights)
    size = chunk_size(given.shape)
    parts = [
        _describe(*finite_spectrum(given[start : start + size]), given.shape[2], threshold)
        for start in range(0, max(len(given), 1), size)
    ]
    return NetworkRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _describe(z: Spectrum, finite: NDArray[np.bool_], modulus: int, threshold: float) -> NetworkRows:
    both_signs = np.where(np.arange(z.shape[2]) > 0, 2, 1)[:, None]
    squares = (z.real**2 + z.imag**2) * both_signs  # mean squares over residues, by row, frequency and node
    nodes = squares.sum(axis=1)
    total = nodes.sum(axis=(1, 2))
    means = np.abs(z[:, :2, 0]).max(axis=(1, 2), initial=0.0)
    largest = np.sqrt(squares[:, :2].sum(axis=2).max(axis=(1, 2), initial=0.0))
    return NetworkRows(
        norm2=np.where(finite, modulus * total, np.nan),
        mean_residual=_ratio(means, largest),
        top_share=_ratio(nodes[:, 1:].max(axis=1).sum(axis=1), total),
        num_live_nodes=(np.abs(z[:, 0, 1:]) > threshold).any(axis=1).sum(axis=1),
    )


def _ratio(value: Values, whole: Values) -> Values:
    """Value over whole, NaN where the whole is 0."""
    ratio = np.full(value.shape, np.nan)
    np.divide(value, whole, out=ratio, where=whole > 0)
    return ratio
