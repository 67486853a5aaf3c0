"""Gradient descent, plain and with momentum, with the semantics of ``torch.optim.SGD``.

    d = g + weight_decay * theta                       (coupled L2: the decay passes through momentum)
    sgd          theta <- theta - lr * d
    heavy_ball   buf = d at step 0, else momentum * buf + (1 - dampening) * d;  theta <- theta - lr * buf
    nesterov     buf <- momentum * buf + d;  theta <- theta - lr * (d + momentum * buf)

With momentum 0 all three are plain gradient descent, whatever the dampening. The lr stands outside the
buffer, so that a schedule scales the whole step. References: Polyak, "Some methods of speeding up the
convergence of iteration methods", 1964 (heavy ball); Sutskever et al., "On the importance of initialization
and momentum in deep learning", ICML 2013, section 2 (Nesterov's form).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.rules.weight_decay import COUPLED, decayed
from gradlaw.task import Pytree

_LR = Hyperparameter(name="lr", default=1e-3, low=0.0, doc="learning rate; default of torch.optim.SGD")
_MOMENTUM = Hyperparameter(
    name="momentum",
    default=0.9,
    low=0.0,
    high=1.0,
    high_open=True,
    doc="share of the buffer kept a step; that of Goyal et al. 1706.02677",
)


class SGD(ElementwiseRule):
    """Plain gradient descent, without state; coupled and decoupled weight decay are one here."""

    name = "sgd"
    hyperparameters = (_LR, COUPLED)

    def init_tensor(self, param: Tensor) -> Pytree:
        del param
        return ()

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=False)
        return param - hp["lr"] * grad, state


class HeavyBall(ElementwiseRule):
    """Polyak's momentum; coupled weight decay. The state is one buffer a tensor."""

    name = "heavy_ball"
    hyperparameters = (
        _LR,
        _MOMENTUM,
        Hyperparameter(name="dampening", default=0.0, low=0.0, high=1.0, doc="share of d kept out of buf"),
        COUPLED,
    )

    def init_tensor(self, param: Tensor) -> Pytree:
        return torch.zeros_like(param)

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        momentum = hp["momentum"]
        grad, param = decayed(grad, param, hp, decoupled=False)
        # torch takes the first gradient whole, and bypasses the buffer where momentum is zero
        whole = (t == 0) | (momentum == 0.0)
        buf = momentum * state + torch.where(whole, 1.0, 1.0 - hp["dampening"]) * grad
        return param - hp["lr"] * buf, buf


class Nesterov(ElementwiseRule):
    """Nesterov's momentum in torch's form; coupled weight decay. The state is one buffer a tensor."""

    name = "nesterov"
    hyperparameters = (_LR, _MOMENTUM, COUPLED)

    def init_tensor(self, param: Tensor) -> Pytree:
        return torch.zeros_like(param)

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=False)
        buf = hp["momentum"] * state + grad
        return param - hp["lr"] * (grad + hp["momentum"] * buf), buf
