"""Which construction a product of two blocks is.

Blocks as columns (a, b, c), the first of them (1, 1, 1), with w = exp(2 pi i / 3):

    z_nu      (nu, -nu, -conj(nu)^2)         z_{nu=i}  (i, -i, 1), or its conjugate
    z_xi      (xi, -i conj(xi), i), or its conjugate
    z_syn     (w, w, w), (w^2, w^2, w^2)
    z_syn,ab  (al w, conj(al) w, w), (be w^2, conj(be) w^2, w^2)

Four nodes: ``nu_i*xi``. Six: ``nu_i*syn_ab`` or ``nu*syn``. All else is ``other``.

z_{nu=i} * z_syn is in both families of six, and is ``nu_i*syn_ab`` (al = be = 1), as the authors' table
counts it. Nodes have no order, so that z_syn times (w, w, w) is z_syn again: nu, w nu and w^2 nu name one
solution, and any of the three may be i or -i. Of nu spread over the circle 10% are that near.

The published code leaves to rounding which of the three it sees, and names a z_nu whose c is within the
tolerance of i or -i a z_xi first, so that its product with z_syn counts as ``other``: 6% of all nu.
``published=True`` names as that code does.

Reference: Tian, arXiv 2410.01779, section 6 and table 2, and its public code.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradlaw_studies.modular_addition.measurement.factoring import Factors, Nodes

NU_I_XI, NU_I_SYN_AB, NU_SYN, OTHER = KINDS = ("nu_i*xi", "nu_i*syn_ab", "nu*syn", "other")
"""Values of ``kind``."""

_W3 = np.exp(2j * np.pi / 3)
_Found: TypeAlias = NDArray[np.bool_]


def kinds(factors: Factors, tolerance: float, *, published: bool = False) -> NDArray[np.str_]:
    """The kind of each of M sets of nodes: the first of :data:`KINDS` that one of its splits is.

    Args:
        factors: Splits of sets of four or six nodes.
        tolerance: How far an entry of a column may be from the construction's; of the residual, see
            :func:`limit`.
        published: Name as the published code does.

    Returns:
        One of :data:`KINDS` each, shape [M].
    """
    half, block = factors.half, factors.block[:, :, 1:]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # no factors: NaN, so ``other``
        columns = np.concatenate((half[:, :, None], block), axis=2)
        products = columns.prod(axis=1)
        columns = columns / (np.cbrt(np.abs(products)) * np.exp(1j * np.angle(products) / 3))[:, None]
    # A construction's nodes all have a b c > 0. What is not near has no cube root to choose: the root would
    # turn (i, -i, -1), which takes away from r_kkk, into z_{nu=i}. Three entries, so three tolerances.
    sound = (np.abs(np.angle(products)) <= 3 * tolerance).all(axis=1) | published
    sound &= factors.residual <= limit(2 * factors.block.shape[2], tolerance)
    names = _four(columns, tolerance) if block.shape[2] == 1 else _six(columns, tolerance, published)
    codes = np.where(sound, names, KINDS.index(OTHER))
    return np.array(KINDS)[np.minimum.reduceat(codes, factors.starts)]


def limit(num_nodes: int, tolerance: float) -> float:
    """The largest residual of a product of m nodes, tolerance * sqrt(3 m): the authors' bound."""
    return tolerance * float(np.sqrt(3 * num_nodes))


def _four(columns: Nodes, tolerance: float) -> NDArray[np.intp]:
    """Position in :data:`KINDS`; a column is z_{nu=i} or z_xi, never both, and the product commutes."""
    one, two = columns[:, :, 0], columns[:, :, 1]
    found = _is_nu_i(one, tolerance) & _is_xi(two, tolerance)
    found |= _is_xi(one, tolerance) & _is_nu_i(two, tolerance)
    return np.where(found, KINDS.index(NU_I_XI), KINDS.index(OTHER))


def _six(columns: Nodes, tolerance: float, published: bool) -> NDArray[np.intp]:
    """Position in :data:`KINDS`."""
    half, block = columns[:, :, 0], columns[:, :, 1:]
    syn, syn_ab = _is_syn(block, tolerance)
    nu = syn & (np.abs(half[:, 0] + half[:, 1]) < tolerance)
    if published:
        nu &= ~_is_xi(half, tolerance)
    nu_i = (syn | syn_ab) & _is_nu_i(half, tolerance)
    other = np.where(nu, KINDS.index(NU_SYN), KINDS.index(OTHER))
    return np.where(nu_i, KINDS.index(NU_I_SYN_AB), other)


def _near(values: Nodes, target: complex, tolerance: float) -> _Found:
    return np.abs(values - target) < tolerance


def _is_nu_i(column: Nodes, tolerance: float) -> _Found:
    """Whether a column [M, 3] is that of z_{nu=i}; its b follows from a b c = 1."""
    a, c = column[:, 0], column[:, 2]
    return _near(c, 1, tolerance) & (_near(a, 1j, tolerance) | _near(a, -1j, tolerance))


def _is_xi(column: Nodes, tolerance: float) -> _Found:
    """Whether a column [M, 3] is that of z_xi: any a, and b follows from a b c = 1."""
    c = column[:, 2]
    return _near(c, 1j, tolerance) | _near(c, -1j, tolerance)


def _is_syn(block: Nodes, tolerance: float) -> tuple[_Found, _Found]:
    """Whether two columns [M, 3, 2] are those of z_syn, and whether their row c is that of z_syn,ab."""
    ordered = np.where(block[:, 2:, :1].imag > 0, block, block[:, :, ::-1])
    target = np.array([_W3, _W3**2])
    off = np.abs(ordered[:, 2] - target)
    near = [
        np.sqrt((np.abs(sign * ordered[:, :2] - target) ** 2).sum(axis=1) + off**2) < tolerance * np.sqrt(3)
        for sign in (1, -1)  # a node times (-1, -1, 1) is the same node
    ]
    return (near[0] | near[1]).all(axis=1), (off < tolerance).all(axis=1)
