"""The coefficient of the expansion at finite n, and what fixes the regime: for claims and study alike.

With n gradients seen, the bias-corrected weight of the gradient k steps back is

    w_k = (1 - b) b^k / (1 - b^n),   k = 0 .. n-1,

and the mean age of what a moment holds

    c_n(b) = sum_k k w_k = b / (1 - b) - n b^n / (1 - b^n).

It tends to b / (1 - b), and to (n - 1) / 2 where b tends to 1 (a plain mean of all gradients so far). AdamW
with eps inside the root then descends, to first order in the learning rate h and where g^2 >> eps, on

    L + h (c_n(beta1) - c_n(beta2)) ||grad L||_{1,eps}                           (2502.02132, 2309.00079)

since each moment stands for a gradient of some age: that of the first moment adds its multiple of H F to the
step, that of the second, in the denominator, takes it away in proportion to g^2 / (g^2 + eps). Hence at
equal loss ln ||g||_1 falls as h (c_n(beta1) - c_n(beta2)) grows: a slope below zero, on either side of
beta1 = beta2.
"""

from __future__ import annotations

import math

LARGEST = 0.3
"""h |c_n(beta1) - c_n(beta2)| above this is outside the expansion."""

MEMORIES = 3.0
"""Shortest run up to the crossing, in memories 1 / (1 - beta1) of the first moment."""

RISING = 0.2
"""Largest share of logged steps before the crossing at which the full training loss rises: it oscillates."""


def mean_age(beta: float, num_gradients: int) -> float:
    """c_n(beta), in steps: the mean age of the gradients in a bias-corrected moment.

    Args:
        beta: In (0, 1).
        num_gradients: n, >= 1.

    >>> round(mean_age(0.999, 301), 1), round(mean_age(0.9, 10_000), 6), mean_age(0.9, 1)
    (142.5, 9.0, 0.0)
    """
    power = num_gradients * math.log(beta)
    return beta / (1.0 - beta) - num_gradients * math.exp(power) / -math.expm1(power)
