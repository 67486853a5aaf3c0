"""The squared weight norm of solutions with n6 frequencies of order 6 and n4 = n - n6 of order 4.

An order-m frequency with all moduli equal, r_kkk = 1/(2d) and a norm counted over all residues holds
6d (2d)^(-2/3) m^(1/3): order 4 is cheaper than order 6. The constants on the carriers (see
:mod:`~gradlaw_studies.modular_addition.algebra.constructions`) add to it,

    |W|^2 = (2d)^(-2/3) { 6d [4^(1/3) n4 + 6^(1/3) n6] + 6^(1/3) d n4 / n6 } ,

least near n6 = 1.15 sqrt(n). But with constants a carrier's output weights are too large for its input
weights. With every node scaled to its least norm, 6 n6 carriers hold (1 + n4 / (2 n6^2))^(1/3) times what
they would without constants:

    |W|^2 = 6d (2d)^(-2/3) { 4^(1/3) n4 + 6^(1/3) n6 (1 + n4 / (2 n6^2))^(1/3) } .

This has a minimum near 0.89 sqrt(n), shallow, and the least value up to d = 481 only; beyond, n6 = 1 is less,
as one frequency's carriers grow with n^(1/3). Nor is it the least of all: without order 6 the constant costs

    |W|^2 = 6d (2d)^(-2/3) { 4^(1/3) n + n^(1/3) / 2 }

with one node of constant inputs, below every split from d = 11 on, and 1.5 (4/9)^(1/3) n^(1/3) in place of
n^(1/3) / 2 with three nodes of zero mean, below every split from d = 393 on.
"""

from __future__ import annotations

from math import cbrt

from gradlaw.errors import UsageError
from gradlaw_studies.modular_addition.algebra.fourier import num_frequencies


def norm2_formula(n4: float, n6: float, modulus: int, *, balanced: bool = False) -> float:
    """|W|^2 of a solution with n6 carriers, by the formulas above.

    Args:
        n4: Frequencies of order 4, >= 0; not rounded, so that minima can be sought.
        n6: Frequencies of order 6, > 0.
        modulus: d.
        balanced: Whether every node is scaled to its least norm; otherwise |z_a| = |z_b| = |z_c| at each
            node's own frequency.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If n4 < 0 or n6 <= 0.

    >>> round(norm2_formula(10, 1, 23), 2), round(norm2_formula(10, 1, 23, balanced=True), 2)
    (222.72, 206.12)
    """
    if n4 < 0 or not n6 > 0:
        msg = f"n4, n6: got {n4}, {n6}, allowed n4 >= 0 and n6 > 0 (order 4 alone is no solution)"
        raise UsageError(msg)
    load = n4 / (2 * n6**2)
    carriers = n6 * (cbrt(1 + load) if balanced else 1 + load / 3)
    return _unit(modulus) * (cbrt(4) * n4 + cbrt(6) * carriers)


def norm2_constant_node(modulus: int, *, zero_mean: bool = False) -> float:
    """|W|^2 of order 4 everywhere with nodes of constant output, one, or three of zero mean; at least norm.

    Raises:
        ConfigurationError: If the modulus is even or below 5.

    >>> [round(norm2_constant_node(23, zero_mean=zero_mean), 2) for zero_mean in (False, True)]
    [199.65, 215.06]
    """
    n = num_frequencies(modulus)
    constant = 1.5 * cbrt(4 / 9) if zero_mean else 0.5
    return _unit(modulus) * (cbrt(4) * n + constant * cbrt(n))


def cheapest_split(modulus: int, *, balanced: bool = False) -> int:
    """The number of order-6 frequencies, 1 .. n, at which :func:`norm2_formula` is least.

    Raises:
        ConfigurationError: If the modulus is even or below 5.

    >>> [cheapest_split(d) for d in (23, 71, 127)], [cheapest_split(d, balanced=True) for d in (23, 71, 127)]
    ([4, 7, 9], [3, 6, 7])
    """
    n = num_frequencies(modulus)
    return min(range(1, n + 1), key=lambda n6: norm2_formula(n - n6, n6, modulus, balanced=balanced))


def _unit(modulus: int) -> float:
    """What a frequency of order m holds, over m^(1/3)."""
    num_frequencies(modulus)  # refuses what is no modulus
    return 6 * modulus / cbrt(2 * modulus) ** 2
