"""RMSprop, with the semantics of ``torch.optim.RMSprop``; ``beta2`` is torch's ``alpha``.

    d = g + weight_decay * theta                       (coupled L2)
    v <- beta2 v + (1 - beta2) d^2
    buf <- momentum * buf + d / (sqrt(v) + eps),   theta <- theta - lr * buf

Centered, c = v - m^2 stands in the place of v, with m <- beta2 m + (1 - beta2) d. That is the running
variance, which has a recursion of its own, free of cancellation: c <- beta2 (c + (1 - beta2) (d - m)^2), with
the m before the step. There is no bias correction. References: Tieleman and Hinton, Coursera "Neural
networks for machine learning", lecture 6.5, 2012; Graves 1308.0850, equations 38 to 41 (centered, with
momentum; eps there stands inside the root).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.rules.weight_decay import COUPLED, decayed
from gradlaw.task import Params, Pytree


class Squares(NamedTuple):
    """Running mean of squares and momentum, each of the parameter's shape."""

    spread: Tensor
    buf: Tensor


class Centered(NamedTuple):
    """Running variance, momentum and running mean, each of the parameter's shape."""

    spread: Tensor
    buf: Tensor
    mean: Tensor


class RMSprop(ElementwiseRule):
    """RMSprop; coupled weight decay.

    Args:
        centered: Whether the running variance divides, in the place of the running mean of squares.
    """

    name = "rmsprop"
    hyperparameters = (
        Hyperparameter(name="lr", default=0.01, low=0.0, doc="learning rate; default of torch.optim.RMSprop"),
        Hyperparameter(
            name="beta2",
            default=0.99,
            low=0.0,
            high=1.0,
            high_open=True,
            doc="of the square; torch.optim.RMSprop's alpha and its default",
        ),
        Hyperparameter(
            name="eps", default=1e-8, low=0.0, doc="outside the root; default of torch.optim.RMSprop"
        ),
        Hyperparameter(
            name="momentum",
            default=0.0,
            low=0.0,
            high=1.0,
            high_open=True,
            doc="of the divided gradient; default of torch.optim.RMSprop",
        ),
        Hyperparameter(
            name="centered", default=False, structural=True, doc="whether the mean's square is taken off"
        ),
        COUPLED,
    )

    def __init__(self, *, centered: bool = False) -> None:
        self.centered = centered

    def init_tensor(self, param: Tensor) -> Pytree:
        if self.centered:
            return Centered(torch.zeros_like(param), torch.zeros_like(param), torch.zeros_like(param))
        return Squares(torch.zeros_like(param), torch.zeros_like(param))

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=False)
        moved = self._moments(grad, state, hp["beta2"])
        buf = hp["momentum"] * state.buf + grad / _divisor(moved.spread, hp)
        return param - hp["lr"] * buf, moved._replace(buf=buf)

    @staticmethod
    def _moments(grad: Tensor, state: Squares | Centered, beta2: Tensor) -> Squares | Centered:
        """The new running moments, with the momentum as it was."""
        if isinstance(state, Squares):
            return state._replace(spread=beta2 * state.spread + (1.0 - beta2) * (grad * grad))
        away = grad - state.mean
        spread = beta2 * (state.spread + (1.0 - beta2) * (away * away))
        return Centered(spread, state.buf, state.mean + (1.0 - beta2) * away)

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params | None:
        """The divisor after ``t`` steps; eps before the first."""
        del t
        return {name: _divisor(state[name].spread, hp) for name in params}


def _divisor(spread: Tensor, hp: Hyper) -> Tensor:
    return torch.sqrt(spread) + hp["eps"]
