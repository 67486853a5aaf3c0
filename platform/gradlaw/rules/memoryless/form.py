"""What an optimizer with memory does, said without memory: the velocity F and the correction M.

theta_{n+1} = theta_n - h F^(n)(theta_n, ..., theta_0) is followed by one that knows only where it is,

    theta <- theta - h [F + c h M],    F = F^(n)(theta, ..., theta)
    M_r = sum_{k=1..n} sum_j dF_r/dtheta_{n-k,j} sum_{s=n-k..n-1} F_j^(s)(theta, ..., theta)

over a fixed horizon n <= T/h up to O(h^2) with c = 1, O(h) with c = 0. The sums are those of step n, not
their limits. The lr is taken to be constant: under a schedule M takes the lr of its step for all of the past.

Reference: Cattaneo and Shigida 2502.02132.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams
from gradlaw.rule import Hyper, Oracle, Rule
from gradlaw.task import Params, Pytree


class Memoryless(ABC):
    """The memoryless form of one rule, for one trial.

    What depends on the step alone is carried as ``sums``: ``init`` before step 0, then ``advanced`` at the
    beginning of each step, then ``velocity`` and ``correction`` as often as wanted, at any parameters.

    Attributes:
        name: That of the rule with memory.
        hyperparameters: Those of the rule that the form knows; the rule's others stand at their defaults.
        rule: The rule with memory that the form stands for, its structural hyperparameters chosen.
    """

    name: ClassVar[str]
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]]
    rule: ClassVar[Rule]

    @abstractmethod
    def init(self, params: Params) -> Pytree:
        """The sums before step 0: scalars or short vectors, whatever the size of ``params``."""

    @abstractmethod
    def advanced(self, sums: Pytree, hp: Hyper, n: Tensor) -> Pytree:
        """The sums of step ``n`` (scalar int64, from 0) from those of the step before."""

    @abstractmethod
    def velocity(self, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        """F at ``params``, whose gradient is ``grads``."""

    @abstractmethod
    def correction(self, oracle: Oracle, grads: Params, params: Params, hp: Hyper, sums: Pytree) -> Params:
        """M at ``params``, whose gradient is ``grads``: one Hessian-vector product."""


class MemorylessRule(Rule):
    """A memoryless form as a rule; ``correction`` is c, the multiple of M.

    Attributes:
        form: What is iterated.
    """

    form: ClassVar[Memoryless]

    def init(self, params: Params, streams: Streams) -> Pytree:
        del streams
        return self.form.init(params)

    def step(
        self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor
    ) -> tuple[Params, Pytree]:
        sums, grads = self.form.advanced(state, hp, t), oracle.grad(params)
        velocity = self.form.velocity(grads, params, hp, sums)
        correction = self.form.correction(oracle, grads, params, hp, sums)
        share = hp["lr"] * hp["correction"]
        moved = {
            name: param - hp["lr"] * (velocity[name] + share * correction[name])
            for name, param in params.items()
        }
        return moved, sums


CORRECTION = Hyperparameter(
    name="correction", default=0.0, doc="multiple of M in the step: 1 is the theory's, 0 leaves it out"
)


def any_of(params: Params) -> Tensor:
    """One of the tensors, for its device and dtype."""
    return next(iter(params.values()))


def with_decay(grads: Params, params: Params, hp: Hyper) -> Params:
    """``grads`` with coupled weight decay; H v with it, given H v and v."""
    return {name: grad + hp["weight_decay"] * params[name] for name, grad in grads.items()}
