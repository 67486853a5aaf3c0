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

TIE_FACTOR, TIE = 2.0, 0.05
"""A split is near the best if its residual is at most this many times the best's, and this much more.

Residuals of equally right splits are noise of a few pairs. Of z_nu * z_syn at nu^6 = 1 with 1% of noise the
best split alone misses 45%, and these none. What is far from right stays out: halves that fit at nu = i only
have a residual of four times the angle by which nu is off.
"""
_SLICE = 512  # sets factored at once: 120 splits of six nodes take 17 kB each, so this stays near the cache


class Factors(NamedTuple):
    """The best splits of each set, one or more; C in all.

    Attributes:
        owner: Set the split belongs to, in increasing order and each at least once; shape [C].
        residual: Root of the sum, over rows and pairs, of |ratio - mean of its row|^2; inf if a node has a
            row that is zero. Shape [C].
        half: Mean ratio of the second half to the first, by row; shape [C, 3].
        block: The first half relative to its first node, averaged with the second; shape [C, 3, h].
    """

    owner: NDArray[np.intp]
    residual: NDArray[np.float64]
    half: Nodes
    block: Nodes

    @property
    def starts(self) -> NDArray[np.intp]:
        """Where each set's splits begin, shape [M]."""
        return np.flatnonzero(np.diff(self.owner, prepend=-1))


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
    """The splits of each set whose halves have the most constant ratio.

    Several splits of one set may be right: z_syn is its own third root of unity times itself, and for some
    phases a node and its partner may be exchanged. Their residuals differ by noise alone, so all splits near
    the best are given, and what is read off them does not depend on which is the best by a rounding error.

    Args:
        nodes: M sets of m nodes, m even, as columns (a, b, c); shape [M, 3, m].
        by: What chooses: all rows of balanced nodes; or, as published, row c alone of the nodes as they are,
            and the first split that is best.
    """
    num = len(nodes)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a row of zeros: residual inf
        parts = [_factor(nodes[start : start + _SLICE], by) for start in range(0, max(num, 1), _SLICE)]
    owners = [part.owner + _SLICE * number for number, part in enumerate(parts)]
    columns = (np.concatenate(column) for column in zip(*(part[1:] for part in parts), strict=True))
    return Factors(np.concatenate(owners), *columns)


def _factor(nodes: Nodes, by: Choice) -> Factors:
    nodes = balanced(nodes) if by == "rows" else nodes
    first, second = splits(nodes.shape[-1])
    ratios = nodes[:, :, second] / nodes[:, :, first]
    spread = _spread(ratios[:, 2])
    if by == "rows":
        spread += _signed_spread(ratios[:, :2])
    spread = np.where(np.isfinite(spread), np.maximum(spread, 0.0), np.inf)
    near = np.arange(len(first)) == spread.argmin(axis=1)[:, None]
    if by == "rows":
        least = np.sqrt(spread.min(axis=1, keepdims=True))
        near |= np.sqrt(spread) <= TIE_FACTOR * np.minimum(least, 1.0) + TIE
    owner, split = np.nonzero(near)
    chosen = ratios[owner, :, split]
    signs = _signs(chosen)
    chosen = chosen * signs
    half = chosen.mean(axis=2)
    residual = np.sqrt((np.abs(chosen - half[:, :, None]) ** 2).sum(axis=(1, 2)))
    rows = np.arange(3)[:, None]
    front, back = (nodes[owner[:, None, None], rows, side[split][:, None]] for side in (first, second))
    block = front + back * signs / half[:, :, None]
    return Factors(owner, np.where(np.isfinite(residual), residual, np.inf), half, block / block[:, :, :1])


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
