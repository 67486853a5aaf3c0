"""Adam, AdamW and AMSGrad, with the semantics of ``torch.optim`` at their defaults.

    m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2,   n = t + 1
    P = (1 - beta1^n) (sqrt(v / (1 - beta2^n)) + eps),   theta <- theta - lr * m / P

so P divides the running mean of the gradient, bias corrections included. Two structural hyperparameters:

    bias_correction = False    1 - beta1^n and 1 - beta2^n are left out
    eps_inside = True          sqrt(v / (1 - beta2^n) + eps): eps then has the units of g^2, not of g

AMSGrad puts the largest v so far in the place of v. References: Kingma and Ba 1412.6980, algorithm 1;
Loshchilov and Hutter 1711.05101, algorithm 2; Reddi et al. 1904.09237, algorithm 2 (without bias correction);
Cattaneo et al. 2309.00079 (eps inside the root).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.rules.weight_decay import COUPLED, EITHER, decayed
from gradlaw.task import Params, Pytree

LR = Hyperparameter(name="lr", default=1e-3, low=0.0, doc="learning rate; default of 1412.6980")
BETA1 = Hyperparameter(
    name="beta1", default=0.9, low=0.0, high=1.0, high_open=True, doc="of the mean; default of 1412.6980"
)
BETA2 = Hyperparameter(
    name="beta2", default=0.999, low=0.0, high=1.0, high_open=True, doc="of the square; default of 1412.6980"
)
EPS = Hyperparameter(name="eps", default=1e-8, low=0.0, doc="outside the root; default of 1412.6980")
_COMMON = (
    LR,
    BETA1,
    BETA2,
    EPS,
    Hyperparameter(
        name="bias_correction",
        default=True,
        structural=True,
        doc="whether means are divided by 1 - beta^n",
    ),
    Hyperparameter(name="eps_inside", default=False, structural=True, doc="whether eps is under the root"),
)


class Moments(NamedTuple):
    """Running means of the gradient and of its square, each of the parameter's shape."""

    first: Tensor
    second: Tensor


class LargestMoments(NamedTuple):
    """As :class:`Moments`, with the largest second so far, of the parameter's shape."""

    first: Tensor
    second: Tensor
    largest: Tensor


class Adam(ElementwiseRule):
    """Adam; its weight decay is coupled L2, part of the gradient that both moments see.

    Args:
        bias_correction: Whether the running means are divided by ``1 - beta^n``.
        eps_inside: Whether eps stands under the root.
    """

    name = "adam"
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = (*_COMMON, COUPLED)
    decoupled = False

    def __init__(self, *, bias_correction: bool = True, eps_inside: bool = False) -> None:
        self.bias_correction, self.eps_inside = bias_correction, eps_inside

    def init_tensor(self, param: Tensor) -> Pytree:
        return Moments(torch.zeros_like(param), torch.zeros_like(param))

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=self.decoupled)
        first, second = hp["beta1"], hp["beta2"]
        moved = self._extended(
            state,
            Moments(
                first * state.first + (1.0 - first) * grad,
                second * state.second + (1.0 - second) * (grad * grad),
            ),
        )
        return param - hp["rate"] * moved.first / self._root(moved, hp), moved

    def prepared(self, hp: Hyper, t: Tensor) -> Hyper:
        """With ``rate``, lr over the first bias correction, and ``share2``, 1 over the second.

        Once a step, and as factors: a division an element would cost as much as the rest of the update.
        """
        if not self.bias_correction:
            return {**hp, "rate": hp["lr"]}
        n = t + 1
        rate = hp["lr"] / bias_correction(hp["beta1"], n)
        return {**hp, "rate": rate, "share2": 1.0 / bias_correction(hp["beta2"], n)}

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params | None:
        """P after ``t`` steps, as Cohen et al. 2207.14484 define it; before the first, v = 0 and n = 1."""
        now = self.prepared(hp, torch.clamp(t - 1, min=0))
        share = bias_correction(hp["beta1"], torch.clamp(t, min=1)) if self.bias_correction else 1.0
        return {name: share * self._root(state[name], now) for name in params}

    def _extended(self, state: Pytree, moments: Moments) -> Moments | LargestMoments:
        """The new state from the old one and the new moments."""
        del state
        return moments

    def _root(self, state: Moments | LargestMoments, hp: Hyper) -> Tensor:
        """P without its first factor."""
        second = state.largest if isinstance(state, LargestMoments) else state.second
        if self.bias_correction:
            second = second * hp["share2"]
        return torch.sqrt(second + hp["eps"]) if self.eps_inside else torch.sqrt(second) + hp["eps"]


class AdamW(Adam):
    """Adam with decoupled weight decay: theta shrinks by ``lr * weight_decay``, the moments do not see it."""

    name = "adamw"
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = (
        *_COMMON,
        Hyperparameter(name="weight_decay", default=0.01, low=0.0, doc="decoupled; torch.optim's default"),
    )
    decoupled = True


class AMSGrad(Adam):
    """Adam whose divisor never shrinks but by bias correction; weight decay coupled L2 unless ``decoupled``.

    As in torch, the largest is taken before bias correction.

    Args:
        bias_correction: Whether the running means are divided by ``1 - beta^n``; False is the paper's.
        eps_inside: Whether eps stands under the root.
        decoupled: Whether weight decay bypasses the gradient: ``torch.optim.AdamW(amsgrad=True)``.
    """

    name = "amsgrad"
    hyperparameters = (*_COMMON, *EITHER)

    def __init__(
        self, *, bias_correction: bool = True, eps_inside: bool = False, decoupled: bool = False
    ) -> None:
        super().__init__(bias_correction=bias_correction, eps_inside=eps_inside)
        self.decoupled = decoupled

    def init_tensor(self, param: Tensor) -> Pytree:
        return LargestMoments(torch.zeros_like(param), torch.zeros_like(param), torch.zeros_like(param))

    def _extended(self, state: Pytree, moments: Moments) -> Moments | LargestMoments:
        return LargestMoments(*moments, torch.maximum(state.largest, moments.second))


def bias_correction(beta: Tensor, n: Tensor) -> Tensor:
    """1 - beta^n, a scalar, without cancellation where beta is near 1.

    A power would say the same, but the compiler makes a power again for every stretch of a tensor, and
    keeps a logarithm that several tensors use.
    """
    return -torch.expm1(n * torch.log(beta))
