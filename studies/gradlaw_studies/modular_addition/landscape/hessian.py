"""What is flat at a solution: of the loss, and of the weight norm among solutions.

At a solution the residuals R (of all pairs and classes) are 0, so the Hessian of the loss is (2/N) J^T J, J
their Jacobian and N the number of pairs: its null space holds every direction along which the solution
stays one to first order. Weight decay, however weak, chooses among solutions by their norm. The gradient of
||W||^2 / 2 in the null space is the projection of W on it; where that is 0 there are multipliers with J^T m
= W, and the Hessian of the norm among solutions is 1 - sum_i m_i R_i'' on the null space (Nocedal, Wright,
"Numerical Optimization", 2nd ed. 2006, theorem 12.5). Directions flat for both are what weight decay leaves
free; a negative one is a way down.

P: parameters, 3 d q. N: pairs, d^2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradlaw_studies.modular_addition.algebra.fourier import Weights
from gradlaw_studies.modular_addition.landscape.network import (
    Floats,
    bending,
    jacobian,
    residuals,
)

NULL = 1e-11  # of the largest eigenvalue; rounding leaves 1e-15, and the smallest others seen are near 1e-6
FLAT = 1e-8  # of the norm's own curvature, which is 1


class Flatness(NamedTuple):
    """The Hessian of the loss at one point, and that of the norm on its null space.

    Attributes:
        num_parameters: P.
        nullity: Eigenvalues of at most ``NULL`` times the largest, in absolute value.
        largest: The largest eigenvalue.
        largest_null: The largest absolute value of those counted as null; 0 if there are none.
        smallest_other: The smallest absolute value of the others.
        norm_slope: Length of the projection of the weights on the null space, divided by their own length: 0
            where the norm is stationary among solutions.
        norm_flat: Directions of the null space in which the norm does not change to second order.
        norm_down: Those in which it falls.
    """

    num_parameters: int
    nullity: int
    largest: float
    largest_null: float
    smallest_other: float
    norm_slope: float
    norm_flat: int
    norm_down: int

    @property
    def gap(self) -> float:
        """How many times the smallest other eigenvalue exceeds what rounding may have made of a null one."""
        return self.smallest_other / max(self.largest_null, float(np.finfo(np.float64).eps) * self.largest)


def flatness(weights: Weights) -> Flatness:
    """Measures a solution, dense and in float64: meant for P up to about 2,000.

    The last two fields are those of one choice of multipliers, the shortest. Where the Jacobian has not its
    full rank nearby, there are others; no direction down under one choice proves that there is none.

    Args:
        weights: Of loss 0, shape [3, d, q].
    """
    start = weights.reshape(-1)
    slopes = jacobian(weights)
    scale = 2.0 / weights.shape[1] ** 2
    values, vectors = np.linalg.eigh(_hessian(weights, slopes))
    sizes = np.abs(values)
    null = sizes <= NULL * sizes.max()
    basis, stiff = vectors[:, null], vectors[:, ~null]
    # the shortest m with J^T m equal to the part of W outside the null space
    multipliers = scale * slopes @ (stiff @ ((stiff.T @ start) / values[~null]))
    bent = basis.T @ bending(weights, multipliers.reshape(weights.shape[1:2] * 3)) @ basis
    curvature = np.linalg.eigvalsh(np.eye(len(bent)) - bent)
    return Flatness(
        num_parameters=weights.size,
        nullity=int(null.sum()),
        largest=float(sizes.max()),
        largest_null=float(sizes[null].max(initial=0.0)),
        smallest_other=float(sizes[~null].min()),
        norm_slope=float(np.linalg.norm(basis.T @ start) / np.linalg.norm(start)),
        norm_flat=int((np.abs(curvature) <= FLAT).sum()),
        norm_down=int((curvature < -FLAT).sum()),
    )


def hessian(weights: Weights) -> Floats:
    """The Hessian [P, P] of the loss on all pairs, at any weights [3, d, q]."""
    return _hessian(weights, jacobian(weights))


def _hessian(weights: Weights, slopes: Floats) -> Floats:
    scale = 2.0 / weights.shape[1] ** 2
    found: Floats = scale * (slopes.T @ slopes + bending(weights, residuals(weights)))
    return found
