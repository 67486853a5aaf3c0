"""Memoryless heavy ball and Nesterov: kernels b^k whose weight grows from step to step.

    heavy ball   F^(n) = sum_{k=0..n} b^k G_{n-k}          = W_n G,        W_n = sum_{k=0..n} b^k
    Nesterov     F^(n) = G_n + sum_{k=0..n} b^(k+1) G_{n-k} = W_{n+1} G
    M            = sum_{k=1..n} w_k sum_{s=n-k..n-1} W_s (H + lambda) G,   w_k = b^k;  b^(k+1) and W_{s+1}

G = g + lambda theta, coupled weight decay. For large n F = G/(1-b), and M = b/(1-b)^3 (H + lambda) G, b times
that for Nesterov.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from gradlaw.rule import Hyper, Oracle, Rule
from gradlaw.rules.memoryless.form import Memoryless, any_of, with_decay
from gradlaw.rules.memoryless.sums import Sums, advanced, no_past
from gradlaw.rules.sgd import HeavyBall, Nesterov
from gradlaw.task import Params, Pytree


class HeavyBallForm(Memoryless):
    """Heavy ball without dampening."""

    name = "heavy_ball"
    hyperparameters = tuple(item for item in HeavyBall.hyperparameters if item.name != "dampening")
    rule: ClassVar[Rule] = HeavyBall()

    def init(self, params: Params) -> Pytree:
        return no_past(any_of(params))

    def advanced(self, sums: Pytree, hp: Hyper, n: Tensor) -> Pytree:
        del n
        decay = hp["momentum"].double()
        return advanced(sums, decay, self._level(sums, decay))

    def velocity(self, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        level = self._level(sums, hp["momentum"].double())
        return {name: level.to(grad.dtype) * grad for name, grad in with_decay(grads, params, hp).items()}

    def correction(self, oracle: Oracle, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        direction, past = with_decay(grads, params, hp), self._past(sums, hp["momentum"].double())
        bent = with_decay(oracle.hvp(params, direction), direction, hp)
        return {name: past.to(value.dtype) * value for name, value in bent.items()}

    def _level(self, sums: Sums, decay: Tensor) -> Tensor:
        """F over G at the step of ``sums``."""
        del decay
        return sums.total

    def _past(self, sums: Sums, decay: Tensor) -> Tensor:
        """M over (H + lambda) G."""
        return decay * sums.lagged


class NesterovForm(HeavyBallForm):
    """Nesterov's momentum in torch's form."""

    name = "nesterov"
    hyperparameters = Nesterov.hyperparameters
    rule: ClassVar[Rule] = Nesterov()

    def _level(self, sums: Sums, decay: Tensor) -> Tensor:
        return 1.0 + decay * sums.total

    def _past(self, sums: Sums, decay: Tensor) -> Tensor:
        return decay * decay * sums.lagged
