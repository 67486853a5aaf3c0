"""Adam, and AdamW with decoupled weight decay, with the semantics of ``torch.optim``.

    m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2
    theta <- theta - lr * (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + eps),   n = t + 1

Adam adds ``weight_decay * theta`` to g first (coupled L2); AdamW instead shrinks theta by
``1 - lr * weight_decay`` before the step. ``eps`` stands outside the root. References: Kingma and Ba
1412.6980, algorithm 1; Loshchilov and Hutter 1711.05101, algorithm 2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.task import Pytree

_MOMENTS = (
    Hyperparameter(name="lr", default=1e-3, low=0.0, doc="learning rate; default of 1412.6980"),
    Hyperparameter(name="beta1", default=0.9, low=0.0, high=1.0, high_open=True),
    Hyperparameter(name="beta2", default=0.999, low=0.0, high=1.0, high_open=True),
    Hyperparameter(name="eps", default=1e-8, low=0.0, doc="outside the root; default of 1412.6980"),
)


class Moments(NamedTuple):
    """Running means of the gradient and of its square, each of the parameter's shape."""

    first: Tensor
    second: Tensor


class Adam(ElementwiseRule):
    """Adam; its weight decay is coupled L2, part of the gradient that both moments see."""

    name = "adam"
    hyperparameters = (
        *_MOMENTS,
        Hyperparameter(name="weight_decay", default=0.0, low=0.0, doc="coupled L2: added to the gradient"),
    )

    def init_tensor(self, param: Tensor) -> Pytree:
        return Moments(torch.zeros_like(param), torch.zeros_like(param))

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        return _adam(grad + hp["weight_decay"] * param, state, param, hp, t)


class AdamW(Adam):
    """Adam with decoupled weight decay: theta shrinks by ``lr * weight_decay``, the moments do not see it."""

    name = "adamw"
    hyperparameters = (
        *_MOMENTS,
        Hyperparameter(name="weight_decay", default=0.01, low=0.0, doc="decoupled; torch.optim's default"),
    )

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        return _adam(grad, state, param * (1.0 - hp["lr"] * hp["weight_decay"]), hp, t)


def _adam(grad: Tensor, state: Moments, param: Tensor, hp: Hyper, t: Tensor) -> tuple[Tensor, Moments]:
    beta1, beta2 = hp["beta1"], hp["beta2"]
    first = beta1 * state.first + (1.0 - beta1) * grad
    second = beta2 * state.second + (1.0 - beta2) * grad * grad
    corrected1 = first / (1.0 - beta1 ** (t + 1))
    corrected2 = second / (1.0 - beta2 ** (t + 1))
    return param - hp["lr"] * corrected1 / (torch.sqrt(corrected2) + hp["eps"]), Moments(first, second)
