"""Weight decay, coupled or decoupled: the two ways a rule may shrink its parameters.

    coupled      g <- g + weight_decay * theta, before anything else: momentum and scaling see the decay
    decoupled    theta <- (1 - lr * weight_decay) theta, before the step: momentum and scaling do not

They are one for plain gradient descent and differ for every other rule (Loshchilov and Hutter 1711.05101,
section 2). The lr is the schedule's at the step in both.
"""

from __future__ import annotations

from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.rule import Hyper

COUPLED = Hyperparameter(
    name="weight_decay", default=0.0, low=0.0, doc="coupled L2: added to the gradient; torch.optim's default"
)
DECOUPLED = Hyperparameter(
    name="weight_decay", default=0.0, low=0.0, doc="decoupled: theta shrinks by lr * weight_decay a step"
)
EITHER = (
    Hyperparameter(name="weight_decay", default=0.0, low=0.0, doc="coupled L2 unless decoupled"),
    Hyperparameter(
        name="decoupled", default=False, structural=True, doc="whether weight_decay bypasses the gradient"
    ),
)


def decayed(grad: Tensor, param: Tensor, hp: Hyper, *, decoupled: bool) -> tuple[Tensor, Tensor]:
    """The gradient and the parameter that a rule goes on with, each of the tensor's shape."""
    if decoupled:
        return grad, param * (1.0 - hp["lr"] * hp["weight_decay"])
    return grad + hp["weight_decay"] * param, param
