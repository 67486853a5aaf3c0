"""Paths of zero loss between solutions, and the weight norm along them.

Four paths, each of which :data:`PATH_KINDS` names and :func:`connecting_path` measures:

- "factor": the connectivity theorem of Tian, arXiv 2410.01779. If each potential of z meets its condition
  and y has r_kkk = 1 at all k, then y * z meets them too, whatever else y holds, since r(y * z) = r(y)
  r(z). So y may be led to the neutral element while r_kkk(y) stays 1, which leads y * z, of order m times
  that of z, to z. Here y's m nodes have the product z_a z_b z_c = 1/m at each frequency, and node 1 takes
  over: its product becomes (1-t)/m + t and the others' (1-t)/m, each row by the cube root. If y's nodes
  have equal moduli, a frequency's norm is in proportion to the sum of the 2/3rd powers of these products,
  concave on the simplex and largest at its centre, where the path starts: it falls all the way, from
  m^(1/3) |z|^2 to |z|^2 where all rows have the modulus m^(-1/3).
- "balance": every node scaled from what it is to its least norm, at a constant rate in log scale. The
  function is the same; the norm is convex along the path and least at its end, so it falls all the way.
- "blend": any two solutions side by side, (1-t)^(1/3) z + t^(1/3) z'. Potentials are additive and the
  conditions affine, so the loss is zero. The norm, (1-t)^(2/3) |z|^2 + t^(2/3) |z'|^2, is concave: it
  rises first, also towards a solution of lower norm. Zero loss connects all solutions; a falling norm
  does not.
- "straight": the same two, interpolated weight by weight. The control: its loss is not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradlaw.errors import UnknownNameError, UsageError
from gradlaw_studies.modular_addition.algebra.blocks import z_syn
from gradlaw_studies.modular_addition.algebra.constructions import (
    Phases,
    balanced,
    order_four_six,
    order_six,
    padded,
)
from gradlaw_studies.modular_addition.algebra.fourier import (
    Spectrum,
    Weights,
    require_spectrum,
    spectrum,
    weights,
)
from gradlaw_studies.modular_addition.algebra.potentials import brute_force_loss
from gradlaw_studies.modular_addition.algebra.semiring import every_frequency, multiply

ROUNDING = 1e-9
PATH_KINDS = ("factor", "balance", "blend", "straight")

Floats = NDArray[np.float64]
Path = Callable[[float], Weights]


class PathPoints(NamedTuple):
    """A path, measured.

    Attributes:
        position: 0 to 1, shape [P].
        loss: Loss of the full data, by brute force.
        norm2: Squared norm of all weights.
    """

    position: Floats
    loss: Floats
    norm2: Floats


def measure_path(path: Path, positions: Sequence[float] | Floats) -> PathPoints:
    """Loss and squared norm at each position of a path."""
    points = [path(float(position)) for position in positions]
    loss = [float(brute_force_loss(each)) for each in points]
    return PathPoints(np.array(positions), np.array(loss), np.array([np.sum(each**2) for each in points]))


def factor_path(factor: Spectrum, solution: Spectrum, modulus: int) -> Path:
    """From ``factor`` * ``solution`` to ``solution``, up to phases of the factor's first node.

    Args:
        factor: y, whose m nodes have z_a z_b z_c = 1/m at every frequency 1 .. n; shape [3, n+1, m]. The norm
            falls if they also have equal moduli.
        solution: z, zero in W_a and W_b at frequency 0; shape [3, n+1, q]. For the loss to stay zero each
            of its potentials must meet its condition by itself, as z_F6's and z_M's do; z_F4/6 meets one by a
            sum.
        modulus: d.

    Returns:
        Position to weights [3, d, m q].

    Raises:
        ConfigurationError: If the modulus is even or below 5.
        UsageError: If a shape is not that of the modulus, or the factor's products are not 1/m.
    """
    require_spectrum(factor, modulus)
    require_spectrum(solution, modulus)
    num_nodes = factor.shape[-1]
    off = np.abs(np.prod(factor[:, 1:], axis=0) - 1 / num_nodes).max()
    if off > ROUNDING:
        msg = f"factor: got z_a z_b z_c up to {off:.3g} away from 1/{num_nodes}, allowed 1/{num_nodes} alone"
        raise UsageError(msg)

    def point(position: float) -> Weights:
        share = np.full(num_nodes, 1 - position)
        share[0] += position * num_nodes
        return weights(multiply(factor * np.cbrt(share), solution), modulus)

    return point


def balance_path(given: Weights) -> Path:
    """From given weights [3, d, q] to those of least norm that compute the same by scaled nodes."""
    return lambda position: balanced(given, position)


def blend_path(first: Weights, second: Weights) -> Path:
    """From one solution to another through their weighted sum, in width q1 + q2 (zero nodes at the ends)."""

    def point(position: float) -> Weights:
        return np.concatenate((np.cbrt(1 - position) * first, np.cbrt(position) * second), axis=-1)

    return point


def straight_path(first: Weights, second: Weights) -> Path:
    """From one solution to another weight by weight, in the larger width (zero nodes behind the other)."""
    width = max(first.shape[-1], second.shape[-1])
    start, end = padded(first, width), padded(second, width)
    return lambda position: (1 - position) * start + position * end


def connecting_path(
    kind: str, modulus: int, *, num_positions: int = 21, free: Phases | None = None
) -> PathPoints:
    """A path of one kind between constructions, measured at equally spaced positions.

    "factor" leads from z_syn * z_F6, of order 18 at each frequency, to z_F6; "balance" from z_F4/6 to the
    same function at least norm; "blend" and "straight" from z_F6 to that z_F4/6.

    Args:
        kind: One of :data:`PATH_KINDS`.
        modulus: d, odd and at least 5.
        num_positions: At least 2.
        free: Phases of the constructions; 1 if not given.

    Raises:
        UnknownNameError: If there is no such kind.
        ConfigurationError: If the modulus is even or below 5, or a phase is wrong.
        UsageError: If there are fewer than two positions.
    """
    if kind not in PATH_KINDS:
        raise UnknownNameError(kind, kind="path", known=PATH_KINDS)
    if num_positions < 2:
        msg = f"num_positions: got {num_positions}, allowed >= 2 (both ends)"
        raise UsageError(msg)
    six, four_six = order_six(modulus, free=free), order_four_six(modulus, free=free)
    positions = np.linspace(0, 1, num_positions)
    if kind == "factor":
        factor = every_frequency(z_syn() / np.cbrt(3), modulus)
        return measure_path(factor_path(factor, spectrum(six), modulus), positions)
    if kind == "balance":
        return measure_path(balance_path(four_six), positions)
    join = blend_path if kind == "blend" else straight_path
    return measure_path(join(six, balanced(four_six)), positions)
