"""Two trained networks on a straight line, before and after their symmetries are matched.

A network for addition modulo d on all d^2 pairs keeps its loss

- when hidden nodes are permuted, and when a node's rows of W_a and W_b change sign together;
- when residues are relabelled by x -> u x + s, y -> u y + t, and classes by z -> u z + s + t, u a unit of Z_d
  (u acts on frequencies, s and t on their phases), and when W_a and W_b are exchanged.

A loss barrier between two networks (Entezari et al., "The role of permutation invariance in linear mode
connectivity of neural networks", arXiv 2110.06296) that is there only before such a match is one of labels,
not of the landscape.

d: modulus. q: width. Weights: [3, d, q], as in :mod:`gradlaw_studies.modular_addition.algebra.fourier`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gradlaw_studies.modular_addition.algebra.fourier import Weights


class Relabelling(NamedTuple):
    """Residues x -> unit x + first and y -> unit y + second, classes along with them.

    Attributes:
        unit: u, prime to the modulus.
        first, second: s and t, 0 .. d-1.
        exchanged: Whether W_a and W_b are exchanged before.
    """

    unit: int = 1
    first: int = 0
    second: int = 0
    exchanged: bool = False


class Match(NamedTuple):
    """The second network as like the first as its symmetries allow.

    Attributes:
        weights: Of the second network, transformed, [3, d, q].
        similarity: Inner product of the two networks' weights.
    """

    weights: Weights
    similarity: float


def relabelled(weights: Weights, change: Relabelling) -> Weights:
    """The network on relabelled residues: W_a[u x + s], W_b[u y + t], W_c[u z + s + t]."""
    modulus = weights.shape[1]
    first, second, classes = weights[[1, 0, 2]] if change.exchanged else weights
    rows = change.unit * np.arange(modulus)
    return np.stack(
        [
            first[(rows + change.first) % modulus],
            second[(rows + change.second) % modulus],
            classes[(rows + change.first + change.second) % modulus],
        ]
    )


def units(modulus: int) -> list[int]:
    """Residues prime to the modulus.

    >>> units(9)
    [1, 2, 4, 5, 7, 8]
    """
    return [unit for unit in range(1, modulus) if math.gcd(unit, modulus) == 1]


def match_nodes(first: Weights, second: Weights) -> Match:
    """The permutation of nodes and signs that bring the second network nearest to the first.

    Nearest in the Euclidean distance, exactly: a linear assignment (Ainsworth et al., "Git Re-Basin",
    arXiv 2209.04836, section 3.2, which for one hidden layer needs no alternation).
    """
    return _assigned(first, second, Relabelling())


def match_all(first: Weights, second: Weights) -> Match:
    """The relabelling, permutation and signs that bring the second network nearest to the first.

    All 2 phi(d) d^2 relabellings are bounded; assignments are solved from the best bound down until no bound
    is better than what was found, so the result is the nearest there is.
    """
    bounds = sorted(_bounds(first, second), reverse=True)
    best = _assigned(first, second, Relabelling())
    for bound, change in bounds:
        if bound <= best.similarity:
            break
        best = max(best, _assigned(first, second, change), key=lambda found: found.similarity)
    return best


def _assigned(first: Weights, second: Weights, change: Relabelling) -> Match:
    from scipy.optimize import linear_sum_assignment

    moved = relabelled(second, change)
    signed = first[0].T @ moved[0] + first[1].T @ moved[1]
    score = np.abs(signed) + first[2].T @ moved[2]
    nodes, partners = linear_sum_assignment(score, maximize=True)
    matched = moved[:, :, partners]
    matched[:2] *= np.where(signed[nodes, partners] < 0, -1.0, 1.0)
    return Match(matched, float(score[nodes, partners].sum()))


def _bounds(first: Weights, second: Weights) -> Iterator[tuple[float, Relabelling]]:
    """For each relabelling no less than the similarity of its best assignment: each node's best partner."""
    modulus = first.shape[1]
    shifts = range(modulus)
    for unit in units(modulus):
        for exchanged in (False, True):
            shifted = [relabelled(second, Relabelling(unit, shift, shift, exchanged))[:2] for shift in shifts]
            classes = [relabelled(second, Relabelling(unit, shift, 0, exchanged))[2] for shift in shifts]
            products = [first[p].T @ np.stack([pair[p] for pair in shifted]) for p in (0, 1)]
            scores = first[2].T @ np.stack(classes)
            for s in shifts:
                for t in shifts:
                    score = np.abs(products[0][s] + products[1][t]) + scores[(s + t) % modulus]
                    yield float(score.max(axis=1).sum()), Relabelling(unit, s, t, exchanged)
