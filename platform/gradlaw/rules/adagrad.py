"""Adagrad, with the semantics of ``torch.optim.Adagrad`` (whose ``lr_decay`` is a schedule here).

    d = g + weight_decay * theta                       (coupled L2)
    s <- s + d^2,   theta <- theta - lr * d / (sqrt(initial_accumulator + s) + eps)

Reference: Duchi et al., "Adaptive subgradient methods for online learning and stochastic optimization",
JMLR 12, 2011, figure 1 with a diagonal matrix.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.rules.weight_decay import COUPLED, decayed
from gradlaw.task import Params, Pytree


class Adagrad(ElementwiseRule):
    """Adagrad; coupled weight decay. The state is the sum of squared gradients, one tensor a tensor."""

    name = "adagrad"
    hyperparameters = (
        Hyperparameter(name="lr", default=0.01, low=0.0, doc="learning rate; default of torch.optim.Adagrad"),
        Hyperparameter(
            name="eps", default=1e-10, low=0.0, doc="outside the root; default of torch.optim.Adagrad"
        ),
        Hyperparameter(
            name="initial_accumulator",
            default=0.0,
            low=0.0,
            doc="where the sum of squares starts; default of torch.optim.Adagrad",
        ),
        COUPLED,
    )

    def init_tensor(self, param: Tensor) -> Pytree:
        return torch.zeros_like(param)

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=False)
        squares = state + grad * grad
        return param - hp["lr"] * grad / _divisor(squares, hp), squares

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params | None:
        """The divisor after ``t`` steps."""
        del t
        return {name: _divisor(state[name], hp) for name in params}


def _divisor(squares: Tensor, hp: Hyper) -> Tensor:
    return torch.sqrt(hp["initial_accumulator"] + squares) + hp["eps"]
