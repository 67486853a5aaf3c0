"""Memoryless Lion with the smooth sign phi(x) = x / sqrt(x^2 + eps).

    F^(n) = phi(scale_n g) + lambda theta,     scale_n = 1 - rho1 rho2^n            (decoupled weight decay)
    M_r   = phi'(scale_n g_r) [H p]_r,         phi'(x) = eps / (x^2 + eps)^(3/2)
    p     = rho1 (1 - rho2) sum_{k=1..n} rho2^(k-1) sum_{s=n-k..n-1} (phi(scale_s g) + lambda theta)

rho1 and rho2 are Lion's betas. Its mean is not bias corrected, so the velocity differs from step to step, and
not by a factor: p needs phi at the scales of all steps so far. But it is one function of the scale: in
y = log(scale), phi(e^y x) is analytic in the strip |Im y| < pi/2, whatever x and eps. So p is taken through
the polynomial of degree 63 that agrees with it at 64 Chebyshev points of [log(1 - rho1), 0]. This is exact to
rounding up to rho1 = 0.995, to 2e-13 (of phi's largest value, 1) at 0.999 and 2e-10 at 0.9999. What the
steps change are moments, carried as sums whose levels are the Chebyshev polynomials of the scales.
For large n the scales are 1 and M_r = rho1 / (1 - rho2) (eps / D_r^3) [H F]_r.

References: Cattaneo and Shigida 2502.02132; Trefethen, "Approximation Theory and Approximation Practice",
theorem 8.2 (the error falls as rho^-degree).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from gradlaw.rule import Hyper, Oracle, Rule
from gradlaw.rules.memoryless.form import Memoryless, any_of
from gradlaw.rules.memoryless.sums import Sums, advanced, no_past
from gradlaw.rules.sign import Lion
from gradlaw.task import Params, Pytree

NUM_NODES = 64


class LionSums(NamedTuple):
    """Of the running mean, ``lagged`` of shape [NUM_NODES]; and scale_n, a float64 scalar."""

    past: Sums
    scale: Tensor


class LionForm(Memoryless):
    """Lion with the smooth sign and decoupled weight decay."""

    name = "lion"
    hyperparameters = tuple(
        replace(item, default=1e-6, low_open=True, doc="of the smooth sign, units of g^2")
        if item.name == "eps"
        else item
        for item in Lion.hyperparameters
    )
    rule: ClassVar[Rule] = Lion()

    def init(self, params: Params) -> Pytree:
        past = no_past(any_of(params), NUM_NODES)
        return LionSums(past, torch.ones_like(past.total))

    def advanced(self, sums: Pytree, hp: Hyper, n: Tensor) -> Pytree:
        del n
        beta1, beta2 = hp["beta1"].double(), hp["beta2"].double()
        # 1 - beta1 beta2^n from the total before, beta2^n = 1 - (1 - beta2) total, without a difference
        scale = (1.0 - beta1) + beta1 * (1.0 - beta2) * sums.past.total
        return LionSums(advanced(sums.past, beta2, _polynomials(sums.scale, beta1)), scale)

    def velocity(self, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        return {
            name: _smooth_sign(sums.scale.to(grad.dtype) * grad, hp) + hp["weight_decay"] * params[name]
            for name, grad in grads.items()
        }

    def correction(self, oracle: Oracle, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        bent = oracle.hvp(params, _path(grads, params, hp, sums.past))
        return {
            name: _slope(sums.scale.to(value.dtype) * grads[name], hp) * value for name, value in bent.items()
        }


def _smooth_sign(x: Tensor, hp: Hyper) -> Tensor:
    return x / torch.sqrt(x * x + hp["eps"])


def _slope(x: Tensor, hp: Hyper) -> Tensor:
    """Its derivative."""
    square = x * x + hp["eps"]
    return hp["eps"] / (square * torch.sqrt(square))


def _path(grads: Params, params: Params, hp: Hyper, past: Sums) -> Params:
    """The vector p of the module's text, of the shapes of ``params``."""
    beta1, beta2 = hp["beta1"].double(), hp["beta2"].double()
    angles = _angles(past.lagged)
    share = beta1 * (1.0 - beta2)
    scales = torch.exp(0.5 * torch.log1p(-beta1) * (1.0 - torch.cos(angles)))
    weights = share * (_of_nodes(angles) * past.lagged).sum(dim=1)
    of_decay = share * past.lagged[0]  # the polynomial of degree 0 is 1

    def walked(grad: Tensor, param: Tensor) -> Tensor:
        shape = (NUM_NODES,) + (1,) * grad.ndim
        at_nodes = _smooth_sign(scales.to(grad.dtype).reshape(shape) * grad, hp)
        moved = (weights.to(grad.dtype).reshape(shape) * at_nodes).sum(dim=0)
        return moved + of_decay.to(grad.dtype) * hp["weight_decay"] * param

    return {name: walked(grad, params[name]) for name, grad in grads.items()}


def _angles(like: Tensor) -> Tensor:
    """Of the Chebyshev points cos(angle), shape [NUM_NODES]."""
    numbers = torch.arange(NUM_NODES, dtype=torch.float64, device=like.device)
    return (2.0 * numbers + 1.0) * (math.pi / (2 * NUM_NODES))


def _of_nodes(angles: Tensor) -> Tensor:
    """From moments of Chebyshev polynomials to weights of the points, shape [point, degree]."""
    degrees = torch.arange(NUM_NODES, dtype=torch.float64, device=angles.device)
    halved = torch.where(degrees == 0, 0.5, 1.0)
    return torch.cos(angles[:, None] * degrees) * halved * (2.0 / NUM_NODES)


def _polynomials(scale: Tensor, beta1: Tensor) -> Tensor:
    """Chebyshev polynomials of degrees 0 .. 63 at log(scale), [log(1 - beta1), 0] mapped to [-1, 1]."""
    length = -torch.log1p(-beta1)
    length = torch.where(length > 0.0, length, 1.0)  # with beta1 = 0 all scales are 1
    position = 1.0 + 2.0 * torch.log(scale) / length
    degrees = torch.arange(NUM_NODES, dtype=torch.float64, device=scale.device)
    # rounding may leave the ends by an ulp
    return torch.cos(degrees * torch.arccos(position.clamp(-1.0, 1.0)))
