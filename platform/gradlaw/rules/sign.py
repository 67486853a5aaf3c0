"""Rules that step by a sign: signSGD, Signum and Lion. Their weight decay is decoupled.

    sign_sgd    u = sign(g)
    signum      m <- momentum * m + (1 - momentum) g;  u = sign(m)
    lion        u = sign(beta1 m + (1 - beta1) g);  m <- beta2 m + (1 - beta2) g
    then        theta <- (1 - lr * weight_decay) theta - lr * u

m starts at 0 without bias correction, which a sign would not see; sign(0) = 0. Signum is Lion with
beta1 = beta2. References: Bernstein et al. 1802.04434, algorithms 1 and 2; Chen et al. 2302.06675,
algorithm 2.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import ElementwiseRule, Hyper
from gradlaw.rules.weight_decay import DECOUPLED, decayed
from gradlaw.task import Pytree

_LR = Hyperparameter(
    name="lr",
    default=1e-4,
    low=0.0,
    doc="learning rate: the length of a coordinate's step; of 2302.06675",
)


class SignSGD(ElementwiseRule):
    """The sign of the gradient, without state; decoupled weight decay."""

    name = "sign_sgd"
    hyperparameters = (_LR, DECOUPLED)

    def init_tensor(self, param: Tensor) -> Pytree:
        del param
        return ()

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=True)
        return param - hp["lr"] * torch.sign(grad), state


class Signum(ElementwiseRule):
    """The sign of the gradient's running mean; decoupled weight decay. The state is the mean."""

    name = "signum"
    hyperparameters = (
        _LR,
        Hyperparameter(
            name="momentum",
            default=0.9,
            low=0.0,
            high=1.0,
            high_open=True,
            doc="of the mean; that of the experiments of 1802.04434",
        ),
        DECOUPLED,
    )

    def init_tensor(self, param: Tensor) -> Pytree:
        return torch.zeros_like(param)

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=True)
        mean = hp["momentum"] * state + (1.0 - hp["momentum"]) * grad
        return param - hp["lr"] * torch.sign(mean), mean


class Lion(ElementwiseRule):
    """Lion; decoupled weight decay. The state is the running mean of the gradient.

    With ``eps`` > 0 the sign is smooth, x / sqrt(x^2 + eps), as theories of its memory need it (Cattaneo and
    Shigida 2502.02132).
    """

    name = "lion"
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = (
        _LR,
        Hyperparameter(
            name="beta1",
            default=0.9,
            low=0.0,
            high=1.0,
            high_open=True,
            doc="share of the mean in the step; default of 2302.06675",
        ),
        Hyperparameter(
            name="beta2",
            default=0.99,
            low=0.0,
            high=1.0,
            high_open=True,
            doc="of the mean itself; default of 2302.06675",
        ),
        Hyperparameter(name="eps", default=0.0, low=0.0, doc="of a smooth sign, units of g^2; 0: the sign"),
        DECOUPLED,
    )

    def init_tensor(self, param: Tensor) -> Pytree:
        return torch.zeros_like(param)

    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        del t
        grad, param = decayed(grad, param, hp, decoupled=True)
        beta1, beta2, eps = hp["beta1"], hp["beta2"], hp["eps"]
        ahead = beta1 * state + (1.0 - beta1) * grad
        smooth = ahead / torch.sqrt(ahead * ahead + eps)
        step = torch.where(eps == 0.0, torch.sign(ahead), smooth)
        return param - hp["lr"] * step, beta2 * state + (1.0 - beta2) * grad
