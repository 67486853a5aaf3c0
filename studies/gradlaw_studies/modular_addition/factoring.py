"""The hidden nodes of one frequency as a product of two smaller sets of nodes.

The nodes of frequency k are columns (z_akj, z_bkj, z_ckj). In a product of a set of two nodes and one of m/2,
one half of the nodes is the other half times one column, up to the order of nodes. So one looks for the split
into halves, node against node, whose ratios are constant in each of the three rows.

Reference: Tian, arXiv 2410.01779, section 6, and its public code, which chooses the split whose row c alone
is most constant (``by="c"``). A product with z_syn,ab has several such splits, equal in row c, most of which
fail in rows a and b: rounding decides whether it is found to be a product. Here all three rows choose
(``by="rows"``), on nodes whose moduli are balanced first.

M: sets of nodes. m: nodes of a set, even. h: m/2. S: splits.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, permutations, product
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Nodes: TypeAlias = NDArray[np.complex128]
Choice: TypeAlias = Literal["rows", "c"]

_SLICE = 512  # sets factored at once: 120 splits of six nodes take 17 kB each, so this stays near the cache


class Factors(NamedTuple):
    """The best split of each set.

    Attributes:
        residual: Root of the sum, over rows and pairs, of |ratio - mean of its row|^2; inf if a node has a
            row that is zero. Shape [M].
        half: Mean ratio of the second half to the first, by row; shape [M, 3].
        block: The first half relative to its first node, averaged with the second; shape [M, 3, h].
    """

    residual: NDArray[np.float64]
    half: Nodes
    block: Nodes


@cache
def splits(num_nodes: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Every way to pair one half of the nodes with the other, both ways round: first and second, [S, h].

    Both ways round, since the spread of ratios and that of their inverses differ where moduli do.

    >>> [len(splits(num)[0]) for num in (4, 6)]
    [12, 120]
    """
    everyone = range(num_nodes)
    pairs = [
        (first, second)
        for first in combinations(everyone, num_nodes // 2)
        for second in permutations(sorted(set(everyone) - set(first)))
    ]
    return np.array([first for first, _ in pairs]), np.array([second for _, second in pairs])


def balanced(nodes: Nodes) -> Nodes:
    """Nodes with the moduli of a, b and c replaced by their geometric mean |a b c|^(1/3).

    W_a and W_b of a node times s and its W_c over s^2 are the same function, and the potentials r_{k1 k2 k}
    hold the three moduli as a product only. Weight decay ends where the three are equal.

    Args:
        nodes: Shape [M, 3, m].
    """
    moduli = np.abs(nodes)
    shared: Nodes = nodes * (np.cbrt(moduli.prod(axis=1, keepdims=True)) / moduli)
    return shared


def factor(nodes: Nodes, *, by: Choice = "rows") -> Factors:
    """The split of each set whose halves have the most constant ratio, over all splits.

    Args:
        nodes: M sets of m nodes, m even, as columns (a, b, c); shape [M, 3, m].
        by: What chooses the split: all rows of balanced nodes, or row c alone of the nodes as they are.
    """
    num_sets, _, num_nodes = nodes.shape
    found = Factors(
        residual=np.empty(num_sets),
        half=np.empty((num_sets, 3), dtype=np.complex128),
        block=np.empty((num_sets, 3, num_nodes // 2), dtype=np.complex128),
    )
    for start in range(0, num_sets, _SLICE):
        part = slice(start, start + _SLICE)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a row of zeros: residual inf
            for whole, piece in zip(found, _factor(nodes[part], by), strict=True):
                whole[part] = piece
    return found


def _factor(nodes: Nodes, by: Choice) -> Factors:
    nodes = balanced(nodes) if by == "rows" else nodes
    first, second = splits(nodes.shape[-1])
    ratios = nodes[:, :, second] / nodes[:, :, first]
    spread = _spread(ratios[:, 2])
    if by == "rows":
        spread += _signed_spread(ratios[:, :2])
    best = np.where(np.isfinite(spread), spread, np.inf).argmin(axis=1)
    chosen = np.take_along_axis(ratios, best[:, None, None, None], axis=2)[:, :, 0]
    signs = _signs(chosen)
    chosen = chosen * signs
    half = chosen.mean(axis=2)
    residual = np.sqrt((np.abs(chosen - half[:, :, None]) ** 2).sum(axis=(1, 2)))
    front = np.take_along_axis(nodes, first[best][:, None], axis=2)
    back = np.take_along_axis(nodes, second[best][:, None], axis=2)
    block = front + back * signs / half[:, :, None]
    return Factors(np.where(np.isfinite(residual), residual, np.inf), half, block / block[:, :, :1])


def _spread(ratios: Nodes) -> NDArray[np.float64]:
    """Sum over pairs (the last axis) of |ratio - mean|^2."""
    spread: NDArray[np.float64] = (np.abs(ratios - ratios.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return spread


def _signed_spread(ratios: Nodes) -> NDArray[np.float64]:
    """Spread of rows a and b, [M, 2, S, h], with the signs that make it least; shape [M, S].

    A node times (-1, -1, 1) is the same node: h_j = (w_a + w_b)^2.
    """
    powers = (np.abs(ratios) ** 2).sum(axis=(1, 3))
    spread: NDArray[np.float64] = powers - _signed_sums(ratios).max(axis=-1) / ratios.shape[-1]
    return spread


def _signs(ratios: Nodes) -> NDArray[np.float64]:
    """By row and pair, [M, 3, h]: the signs of rows a and b that make their spread least; 1 in row c."""
    patterns = _patterns(ratios.shape[-1])
    signs = np.ones(ratios.shape)
    signs[:, :2] = patterns[_signed_sums(ratios[:, :2, None])[:, 0].argmax(axis=-1)][:, None]
    return signs


def _signed_sums(ratios: Nodes) -> NDArray[np.float64]:
    """|sum over pairs of sign * ratio|^2, summed over rows, for every pattern of signs; [M, S, 2^(h-1)]."""
    sums = ratios @ _patterns(ratios.shape[-1]).T
    powers: NDArray[np.float64] = (sums.real**2 + sums.imag**2).sum(axis=1)
    return powers


@cache
def _patterns(num_pairs: int) -> NDArray[np.float64]:
    return np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=num_pairs - 1)])
