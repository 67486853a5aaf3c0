"""Stochastic gradient descent with momentum, with the semantics of ``torch.optim.SGD``.

    d = g + weight_decay * theta                      (coupled L2: the decay passes through momentum)
    buf = d at step 0, else momentum * buf + (1 - dampening) * d
    theta <- theta - lr * (d + momentum * buf if nesterov, else buf)

Without momentum theta <- theta - lr * d. References: Polyak 1964 (heavy ball); Sutskever et al., "On the
importance of initialization and momentum in deep learning", ICML 2013, section 2 (Nesterov's form).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.task import Pytree


class SGD(ElementwiseRule):
    """Heavy ball, Nesterov and plain gradient descent; the state is one buffer a tensor.

    Args:
        nesterov: Whether the step looks ahead by one momentum; needs momentum > 0 and no dampening.
    """

    name = "sgd"
    hyperparameters = (
        Hyperparameter(name="lr", default=1e-3, low=0.0, doc="learning rate; default of torch.optim.SGD"),
        Hyperparameter(name="momentum", default=0.0, low=0.0, high=1.0, high_open=True),
        Hyperparameter(name="dampening", default=0.0, low=0.0, high=1.0, doc="share of d kept out of buf"),
        Hyperparameter(name="weight_decay", default=0.0, low=0.0, doc="coupled L2: added to the gradient"),
        Hyperparameter(name="nesterov", default=False, structural=True),
    )

    def __init__(self, *, nesterov: bool = False) -> None:
        self.nesterov = nesterov

    def faults(self, hp: Mapping[str, Scalar]) -> list[str]:
        if self.nesterov and (hp["momentum"] == 0.0 or hp["dampening"] != 0.0):
            got = f"momentum {hp['momentum']}, dampening {hp['dampening']}"
            return [f"nesterov: got {got}; allowed momentum > 0 and dampening 0"]
        return []

    def init_tensor(self, param: Tensor) -> Pytree:
        return torch.zeros_like(param)

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        momentum = hp["momentum"]
        d = grad + hp["weight_decay"] * param
        buf = torch.where(t == 0, d, momentum * state + (1.0 - hp["dampening"]) * d)
        ahead = d + momentum * buf if self.nesterov else buf
        # torch bypasses the buffer, and with it the dampening, where momentum is zero
        return param - hp["lr"] * torch.where(momentum == 0.0, d, ahead), buf
