"""Orders, factors and kinds of a network at each frequency, read off its weights.

How the authors measure (Tian, arXiv 2410.01779, figure 4 and table 2, and its public code):

- the order of frequency k is the number of nodes with |z_akj| > 0.05;
- a node belongs to the frequency, 0 .. n, where |z_akj| is largest, if that is above 0.05; frequencies with
  exactly four or six nodes are split into factors and named.

The two counts agree where every node has one frequency, as in converged networks.

The threshold is absolute, while amplitudes at a solution are (2 d m)^(-1/3) for order m: 0.18 at d = 23 and
0.10 at d = 127 for order four. So there is a relative order too: a node counts at k if its balanced amplitude
|z_akj z_bkj z_ckj|^(1/3) is above a share of the network's largest. Neither a rescaling of all weights nor
one of W_a and W_b against W_c, node by node, changes it. A share of the largest at the same frequency would
count noise where a frequency is lost.

N: networks. d: modulus. n: frequencies. q: width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw_studies.modular_addition.algebra.fourier import Spectrum, num_frequencies, spectrum
from gradlaw_studies.modular_addition.measurement.factoring import factor
from gradlaw_studies.modular_addition.measurement.kinds import KINDS, OTHER, kinds, limit

THRESHOLD = 0.05
"""The authors' threshold on |z_akj|."""
RELATIVE_THRESHOLD = 0.25
"""A node that adds less than 1/64 (0.25^3) of what the strongest adds to r_kkk is left out.

Amplitudes go as m^(-1/3), so that beside an order of four one of 4 * 64 would still be counted.
"""
TOLERANCE = 0.1
"""The authors' tolerance: of a kind's columns; times sqrt(3 m), of the residual of a product of m nodes."""
FACTORED_ORDERS = (4, 6)

_CHUNK_BYTES = 2**25  # of spectra held at once

Rule: TypeAlias = Literal["theory", "published"]
Counts: TypeAlias = NDArray[np.int64]


class FrequencyRows(NamedTuple):
    """One entry a network and frequency 1 .. n, shape [N, n].

    Attributes:
        order_absolute: Nodes with |z_akj| above the threshold.
        order_relative: Nodes with a balanced amplitude above the relative threshold.
        factorable: Whether k has four or six nodes of its own and they are a product of two blocks.
        residual: Of the best product; NaN where k has another number of nodes.
        kind: One of ``KINDS`` of :mod:`~gradlaw_studies.modular_addition.measurement.kinds`; ``other`` where
            not factorable.
        dominant_amplitude: Largest |z_akj| at k; NaN for a network that is not finite.
    """

    order_absolute: Counts
    order_relative: Counts
    factorable: NDArray[np.bool_]
    residual: NDArray[np.float64]
    kind: NDArray[np.str_]
    dominant_amplitude: NDArray[np.float64]


def measure_networks(
    weights: ArrayLike,
    *,
    threshold: float = THRESHOLD,
    relative_threshold: float = RELATIVE_THRESHOLD,
    tolerance: float = TOLERANCE,
    rule: Rule = "theory",
) -> FrequencyRows:
    """Orders, factors and kinds at every frequency of every network.

    A network with a weight that is not finite has order 0 everywhere and no kind.

    Args:
        weights: W_a, W_b, W_c of N networks, shape [N, 3, d, q].
        threshold: On |z_akj|, above 0.
        relative_threshold: As a share of the network's largest balanced amplitude, in (0, 1).
        tolerance: See :data:`TOLERANCE`; above 0.
        rule: ``theory``: of all splits the best in all rows, kinds by the theory; ``published``: as the
            authors' code splits and names (see :mod:`.factoring` and :mod:`.kinds`).

    Raises:
        ConfigurationError: If d is even or below 5; all that is wrong with thresholds, tolerance and rule.
        UsageError: If the shape is another.
    """
    given = checked_networks(weights)
    _check(threshold, relative_threshold, tolerance, rule)
    size = chunk_size(given.shape)
    parts = []
    for start in range(0, max(len(given), 1), size):
        z, finite = finite_spectrum(given[start : start + size])
        found = _measure(z, threshold, tolerance, rule)
        amplitude = np.abs(z[:, 0, 1:])
        parts.append(
            FrequencyRows(
                (amplitude > threshold).sum(axis=2),
                _relative_orders(z, relative_threshold),
                *found,
                np.where(finite[:, None], amplitude.max(axis=2, initial=0.0), np.nan),
            )
        )
    return FrequencyRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def checked_networks(weights: ArrayLike) -> NDArray[np.floating]:
    """The weights as they are, if their shape is [N, 3, d, q].

    Raises:
        ConfigurationError: If d is even or below 5.
        UsageError: If the shape is another.
    """
    given = np.asarray(weights)
    if given.ndim != 4 or given.shape[1] != 3:
        msg = f"weights: got shape {given.shape}, allowed [networks, 3, modulus, width]"
        raise UsageError(msg)
    num_frequencies(given.shape[2])
    return given


def chunk_size(shape: tuple[int, ...]) -> int:
    """How many networks of weights [N, 3, d, q] are looked at at once."""
    return max(1, _CHUNK_BYTES // (8 * max(1, int(np.prod(shape[1:])))))


def finite_spectrum(weights: NDArray[np.floating]) -> tuple[Spectrum, NDArray[np.bool_]]:
    """Spectrum, zero for a network that has a weight that is not finite, and which are finite, [N]."""
    finite = np.isfinite(weights).all(axis=(1, 2, 3))
    return spectrum(np.where(finite[:, None, None, None], weights, 0)), finite


def _check(threshold: float, relative_threshold: float, tolerance: float, rule: Rule) -> None:
    faults = [
        f"{name}: got {value}, allowed > 0"
        for name, value in (("threshold", threshold), ("tolerance", tolerance))
        if not value > 0
    ]
    if not 0 < relative_threshold < 1:
        faults.append(f"relative_threshold: got {relative_threshold}, allowed above 0 and below 1")
    if rule not in get_args(Rule):
        faults.append(f"rule: got {rule!r}, allowed {' or '.join(map(repr, get_args(Rule)))}")
    if faults:
        raise ConfigurationError(faults)


def _relative_orders(z: Spectrum, share: float) -> Counts:
    cubes = np.abs(z[:, :, 1:]).prod(axis=1)
    largest = cubes.max(axis=(1, 2), initial=0.0, keepdims=True)
    counts: Counts = (cubes > share**3 * largest).sum(axis=2)
    return counts


def _measure(
    z: Spectrum, threshold: float, tolerance: float, rule: Rule
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_]]:
    """Factorable, residual and kind; shapes [N, n]."""
    shape = (len(z), z.shape[2] - 1)
    factorable, residual = np.zeros(shape, dtype=bool), np.full(shape, np.nan)
    kind = np.full(shape, OTHER, dtype=f"<U{max(map(len, KINDS))}")
    own = _own_nodes(z, threshold)
    for order in FACTORED_ORDERS:
        network, frequency, node = own.of_size(order)
        nodes = z[network[:, None], :, frequency[:, None], node].swapaxes(1, 2)
        if len(nodes) == 0:
            continue
        found = factor(nodes, by="c" if rule == "published" else "rows")
        best = np.minimum.reduceat(found.residual, found.starts)
        place = network, frequency - 1
        residual[place], factorable[place] = best, best <= limit(order, tolerance)
        kind[place] = kinds(found, tolerance, published=rule == "published")
    return factorable, residual, kind


class _OwnNodes(NamedTuple):
    """The nodes of each frequency: those that are largest there.

    Attributes:
        counts: Nodes by network and frequency 0 .. n, shape [N, n+1].
        nodes: Nodes in the order of their network and frequency, [sum of counts].
    """

    counts: Counts
    nodes: NDArray[np.intp]

    def of_size(self, num: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Networks and frequencies with ``num`` nodes, [M] each, and their nodes, [M, num]."""
        network, frequency = np.nonzero(self.counts[:, 1:] == num)
        ends = self.counts.cumsum().reshape(self.counts.shape)
        first = ends[network, frequency + 1] - num
        return network, frequency + 1, self.nodes[first[:, None] + np.arange(num)]


def _own_nodes(z: Spectrum, threshold: float) -> _OwnNodes:
    amplitude = np.abs(z[:, 0])
    num_networks, num_rows, _ = amplitude.shape
    network, node = np.nonzero(amplitude.max(axis=1) > threshold)
    cell = network * num_rows + amplitude.argmax(axis=1)[network, node]
    counts = np.bincount(cell, minlength=num_networks * num_rows).reshape(num_networks, num_rows)
    return _OwnNodes(counts, node[np.argsort(cell, kind="stable")])
