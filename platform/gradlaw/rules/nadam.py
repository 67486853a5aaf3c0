"""NAdam: Adam with Nesterov's momentum, with the semantics of ``torch.optim.NAdam``.

    mu_n = beta1 (1 - 0.96^(n * momentum_decay) / 2),   n = t + 1
    m <- beta1 m + (1 - beta1) g,   v <- beta2 v + (1 - beta2) g^2
    theta <- theta - lr * (mu_{n+1} m / (1 - mu_1 ... mu_{n+1}) + (1 - mu_n) g / (1 - mu_1 ... mu_n))
                     / (sqrt(v / (1 - beta2^n)) + eps)

With the structural ``eps_inside`` the divisor is sqrt(v / (1 - beta2^n) + eps), as theories of NAdam's memory
need it (Cattaneo and Shigida 2502.02132): eps then has the units of g^2, not of g.

Reference: Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016, with the schedule of mu of
its experiments.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.rules.adam import BETA1, BETA2, EPS, bias_correction
from gradlaw.rules.weight_decay import EITHER, decayed
from gradlaw.task import Params, Pytree


class NAdamState(NamedTuple):
    """Running means of the gradient and its square (the parameter's shape), mu_1 ... mu_n (a scalar)."""

    first: Tensor
    second: Tensor
    product: Tensor


class NAdam(ElementwiseRule):
    """NAdam; weight decay is coupled L2 unless ``decoupled``.

    Args:
        decoupled: Whether weight decay bypasses the gradient.
        eps_inside: Whether eps stands under the root.
    """

    name = "nadam"
    hyperparameters = (
        Hyperparameter(name="lr", default=2e-3, low=0.0, doc="learning rate; default of torch.optim.NAdam"),
        BETA1,
        BETA2,
        EPS,
        Hyperparameter(
            name="momentum_decay", default=4e-3, low=0.0, doc="warming of mu; default of torch.optim.NAdam"
        ),
        *EITHER,
        Hyperparameter(
            name="eps_inside", default=False, structural=True, doc="whether eps is under the root"
        ),
    )

    def __init__(self, *, decoupled: bool = False, eps_inside: bool = False) -> None:
        self.decoupled, self.eps_inside = decoupled, eps_inside

    def init_tensor(self, param: Tensor) -> Pytree:
        return NAdamState(torch.zeros_like(param), torch.zeros_like(param), param.new_ones(()))

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=self.decoupled)
        beta1, beta2 = hp["beta1"], hp["beta2"]
        first = beta1 * state.first + (1.0 - beta1) * grad
        second = beta2 * state.second + (1.0 - beta2) * (grad * grad)
        now, ahead = hp["mu"], hp["mu_next"]
        product = state.product * now
        of_mean = hp["lr"] * ahead / (1.0 - product * ahead)
        of_grad = hp["lr"] * (1.0 - now) / (1.0 - product)
        step = (of_mean * first + of_grad * grad) / self._divisor(second, hp)
        return param - step, NAdamState(first, second, product)

    def prepared(self, hp: Hyper, t: Tensor) -> Hyper:
        """With ``mu`` of this step and the next, and ``correction2``, the bias correction of v."""
        n = t + 1
        correction2 = bias_correction(hp["beta2"], n)
        return {**hp, "mu": momentum_at(n, hp), "mu_next": momentum_at(n + 1, hp), "correction2": correction2}

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params | None:
        """The divisor after ``t`` steps; eps before the first."""
        now = self.prepared(hp, torch.clamp(t - 1, min=0))
        return {name: self._divisor(state[name].second, now) for name in params}

    def _divisor(self, second: Tensor, hp: Hyper) -> Tensor:
        mean = second / hp["correction2"]
        return torch.sqrt(mean + hp["eps"]) if self.eps_inside else torch.sqrt(mean) + hp["eps"]


def momentum_at(n: Tensor, hp: Hyper) -> Tensor:
    """mu_n of step ``n`` (from 1), a scalar, by ``beta1`` and ``momentum_decay``."""
    return hp["beta1"] * (1.0 - 0.5 * torch.exp(n * hp["momentum_decay"] * math.log(0.96)))
