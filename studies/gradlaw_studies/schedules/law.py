"""Numbers of the theory that study, claims and figures share; the standard library alone.

For a batch k times as large, at as many examples:

    sgd     lr times k                                                        (1706.02677, section 2.1)
    adam    lr times sqrt(k), 1 - beta times k for both, eps over sqrt(k)     (2205.10287, definition 5)

References: Goyal et al. 1706.02677; Malladi et al. 2205.10287; Cohen et al. 2103.00065 and 2207.14484.
"""

from __future__ import annotations

import math
from typing import NamedTuple

CHANCE = math.log(10.0)
"""Cross-entropy, in nats, of ten classes that are taken to be equally likely."""


class Adam(NamedTuple):
    """What a scaling rule of Adam changes."""

    lr: float
    beta1: float
    beta2: float
    eps: float


def scaled(base: Adam, factor: float, *, power: float, memory: bool) -> Adam:
    """The hyperparameters at ``factor`` times the batch size.

    The rule of 2205.10287 is power 1/2 with memory: betas then forget at equal examples.

    Args:
        base: Those of the base batch size.
        factor: Of the batch size, > 0.
        power: The lr is multiplied by ``factor ** power``.
        memory: Whether betas and eps are scaled, too.

    Raises:
        ValueError: If a beta would fall below 0: at so large a factor there is no such Adam.

    >>> scaled(Adam(lr=0.001, beta1=0.75, beta2=0.9375, eps=1e-8), 4, power=0.5, memory=True)
    Adam(lr=0.002, beta1=0.0, beta2=0.75, eps=5e-09)
    """
    lr = base.lr * factor**power
    if not memory:
        return base._replace(lr=lr)
    beta1, beta2 = (1.0 - factor * (1.0 - beta) for beta in (base.beta1, base.beta2))
    if min(beta1, beta2) < 0.0:
        msg = (
            f"factor: got {factor:g}, allowed at most {1.0 / (1.0 - min(base.beta1, base.beta2)):g} "
            f"(1 - beta times the factor is at most 1, betas are {base.beta1:g} and {base.beta2:g})"
        )
        raise ValueError(msg)
    return Adam(lr, beta1, beta2, base.eps / math.sqrt(factor))


def stable_sharpness(rule: str, beta1: float = 0.9) -> float:
    """What lr times (preconditioned) sharpness must stay below: 2 of gradient descent, 38 of Adam at 0.9.

    On a quadratic, for gradient descent; for Adam with its preconditioner frozen (2207.14484, section 2).

    >>> stable_sharpness("sgd"), round(stable_sharpness("adam"), 9)
    (2.0, 38.0)
    """
    return 2.0 if rule == "sgd" else (2.0 + 2.0 * beta1) / (1.0 - beta1)


def matching_warmup(beta2: float) -> float:
    """Steps of the linear warm-up that leaves out as much lr as sqrt(1 - beta2^t) does in the long run.

    The factor leaves out the integral of 1 - sqrt(1 - exp(-(1 - beta2) t)), 2 (1 - ln 2) / (1 - beta2) steps
    in all; a linear warm-up leaves out half its length.

    >>> round(matching_warmup(0.98), 1)
    61.4
    """
    return 4.0 * (1.0 - math.log(2.0)) / (1.0 - beta2)
