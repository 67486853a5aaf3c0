"""The constructed solutions by name: their widths, how many phases are free, and each from its phases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradlaw.hyperparameter import Hyperparameter
from gradlaw_studies.modular_addition.algebra.constructions import (
    ORDER_SIX,
    memorising,
    order_four_constant,
    order_four_six,
    order_six,
    phases,
)
from gradlaw_studies.modular_addition.algebra.fourier import Weights, num_frequencies

CONSTRUCTIONS = ("order_6", "order_4_6", "order_4_constant", "memorising")

BLOCK = Hyperparameter(
    name="block",
    default=ORDER_SIX[0],
    choices=ORDER_SIX,
    doc="of the frequencies of order 6, where the construction has any",
)


def num_nodes(construction: str, modulus: int) -> int:
    """Hidden nodes of a construction.

    >>> [num_nodes(name, 23) for name in CONSTRUCTIONS]
    [66, 46, 45, 529]
    """
    return {
        "order_6": 3 * (modulus - 1),
        "order_4_6": 2 * modulus,
        "order_4_constant": 2 * modulus - 1,
        "memorising": modulus**2,
    }[construction]


def order_six_frequencies(construction: str, modulus: int) -> int:
    """Frequencies of order 6 in a construction: those that have a block."""
    return {"order_6": num_frequencies(modulus), "order_4_6": 1}.get(construction, 0)


def num_free_phases(construction: str, block: str, modulus: int) -> int:
    """Real parameters along which a construction stays a solution of the same moduli.

    Two at each frequency (the phases of a and b; c has minus their sum), and of each block its own: one of
    nu*syn and of nu_i*xi, two of nu_i*syn_ab. Memorising has no blocks.

    >>> [num_free_phases(name, "nu_i*syn_ab", 5) for name in CONSTRUCTIONS]
    [8, 7, 6, 4]
    """
    n, sixes = num_frequencies(modulus), order_six_frequencies(construction, modulus)
    fours = 0 if construction == "memorising" else n - sixes
    return 2 * n + fours + sixes * (2 if block == "nu_i*syn_ab" else 1)


def order_six_nullity(block: str, modulus: int) -> int:
    """Dimension of the null space of the Hessian at z_F6, by counting conditions to first order.

    Let the nodes of the block at frequency k change by any numbers at every frequency. A potential changes
    to first order only where two of its three rows stand at +-k, so that for y != +-k

    - W_c at y must be orthogonal to z_a z_b, z_a conj(z_b) and their conjugates, which span a space of
      dimension r: 2 (6 - r) real freedoms for each of the n (n - 1) ordered pairs (k, y);
    - W_a and W_b at y are then determined: what they leave free is taken up by the squares z_a^2 and z_b^2,
      whose outputs they share with the changes of W_c.

    At k itself and at frequency 0 a block has 36 + 6 + 12 freedoms (W_a + W_b at 0; its difference and W_c at
    0, which change nothing) under 8 conditions on products, 4 on squares at 2k, 4 at k and 2 on the constant:
    36 are left. With nu*syn r is 3, with nu_i*syn_ab 4, for phases in general position.

    >>> [order_six_nullity("nu*syn", d) for d in (5, 7, 9, 11)]
    [84, 144, 216, 300]
    """
    n = num_frequencies(modulus)
    rank = 4 if block == "nu_i*syn_ab" else 3
    return 2 * (6 - rank) * n * (n - 1) + 36 * n


def constructed(construction: str, block: str, modulus: int, turns: NDArray[np.float64]) -> Weights:
    """A construction with the phases of its blocks, shape [3, d, num_nodes].

    Args:
        construction: One of ``CONSTRUCTIONS``.
        block: Of its order-6 frequencies.
        modulus: d, odd and at least 5.
        turns: Phases in turns, nu, xi, alpha, beta by frequency, shape [4, n]; memorising has none.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
    """
    free = phases(turns)
    if construction == "order_6":
        return order_six(modulus, kind=block, free=free)
    if construction == "order_4_6":
        return order_four_six(modulus, kind=block, free=free)
    if construction == "order_4_constant":
        return order_four_constant(modulus, free=free)
    return memorising(modulus)
