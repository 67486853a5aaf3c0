"""Blocks: what few nodes hold at one frequency. Rows a, b, c; a node to a column.

Each satisfies a part of the conditions on the sum potentials, and a product of blocks what any of its factors
does (Tian, arXiv 2410.01779):

    z_nu * z_syn, z_{nu=i} * z_syn_ab    order 6, every condition
    z_{nu=i} * z_xi                      order 4, all but r_{p,k,-k,k} = 0, whose modulus is r_kkk / sqrt(2)
"""

from __future__ import annotations

import cmath

import numpy as np

from gradlaw.errors import UsageError
from gradlaw_studies.modular_addition.algebra.semiring import Block

ROUNDING = 1e-9
THIRD_ROOT = cmath.exp(2j * cmath.pi / 3)


def z_syn() -> Block:
    """Three nodes, every row [1, w, w^2] with w = exp(2 pi i / 3)."""
    return np.tile(THIRD_ROOT ** np.arange(3), (3, 1))


def z_nu(nu: complex = 1.0) -> Block:
    """Two nodes: [1, nu]; [1, -nu]; [1, -conj(nu)^2].

    Raises:
        UsageError: If ``nu`` is not of modulus 1.
    """
    require_unit(nu=nu)
    return np.array([[1, nu], [1, -nu], [1, -(np.conj(nu) ** 2)]], dtype=np.complex128)


def z_xi(xi: complex = 1.0) -> Block:
    """Two nodes: [1, xi]; [1, -i conj(xi)]; [1, i].

    Raises:
        UsageError: If ``xi`` is not of modulus 1.
    """
    require_unit(xi=xi)
    return np.array([[1, xi], [1, -1j * np.conj(xi)], [1, 1j]], dtype=np.complex128)


def z_syn_ab(alpha: complex = 1.0, beta: complex = 1.0) -> Block:
    """Three nodes: [1, al w, be w^2]; [1, conj(al) w, conj(be) w^2]; [1, w, w^2].

    Raises:
        UsageError: If ``alpha`` or ``beta`` is not of modulus 1.
    """
    require_unit(alpha=alpha, beta=beta)
    phases = np.array([[1, alpha, beta], [1, np.conj(alpha), np.conj(beta)], [1, 1, 1]])
    return np.asarray(phases * z_syn(), dtype=np.complex128)


def require_unit(**phases: complex) -> None:
    """Raises unless all are complex numbers of modulus 1.

    Raises:
        UsageError: Naming those that are not.
    """
    wrong = [f"{name}: got {value}" for name, value in phases.items() if not abs(abs(value) - 1) < ROUNDING]
    if wrong:
        msg = f"{', '.join(wrong)}, allowed complex numbers of modulus 1"
        raise UsageError(msg)
