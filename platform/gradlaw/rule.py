"""Rule: how parameters move, written for ONE trial; the engine vmaps it over a pack.

The default is an optimizer on gradients (:class:`ElementwiseRule`). A study may bring another: feedback
alignment, the delta rule, a memoryless twin with a second trajectory in its state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.random import Streams
from gradlaw.task import Params, Pytree

Hyper = Mapping[str, Tensor]
"""One trial's hyperparameters as scalars; ``lr`` is the schedule's at this step, ``steps`` the trial's."""
Moved = tuple[Params, Pytree]
"""Parameters and state after a step."""


class LayerSignal(NamedTuple):
    """One layer's input [batch, in] and the loss's gradient by its output [batch, out]."""

    input: Tensor
    delta: Tensor


class Oracle(Protocol):
    """Answers about the loss at any parameters, on this step's batch or on a fresh one.

    ``draw`` 0 is this step's batch; 1, 2, ... are independent fresh batches of the same size, drawn with
    replacement. Batch-norm buffers move by the first evaluation at draw 0 alone.
    """

    def value(self, params: Params, *, draw: int = 0) -> Tensor:
        """The loss, a scalar."""
        ...

    def grad(self, params: Params, *, draw: int = 0, feedback: Mapping[str, Tensor] | None = None) -> Params:
        """The gradient; with ``feedback`` (layer -> backward weights) the one it would give."""
        ...

    def hvp(self, params: Params, vector: Params, *, draw: int = 0) -> Params:
        """The Hessian times ``vector``."""
        ...

    def layer_signals(self, params: Params, *, draw: int = 0) -> Mapping[str, LayerSignal]:
        """Input and output gradient of every layer the task sends through its taps."""
        ...


class Rule(ABC):
    """How parameters move. Constructed with its structural hyperparameters.

    Attributes:
        name, version: Identity; raise the version whenever the numbers change.
        hyperparameters: Declared; ``lr`` among them where there is one.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = ()

    @abstractmethod
    def init(self, params: Params, streams: Streams) -> Pytree:
        """The state before step 0: a pytree of tensors; may hold a second trajectory."""

    @abstractmethod
    def step(
        self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor
    ) -> tuple[Params, Pytree]:
        """Parameters and state after step ``t`` (scalar int64, from 0)."""

    def preconditioner(self, state: Pytree, params: Params, hp: Hyper, t: Tensor) -> Params | None:
        """The positive diagonal that divides the gradient (or momentum) in the step before ``t``.

        Of each tensor's shape; None: the rule has none. Sharpness is measured relative to it (Cohen et al.
        2207.14484).
        """
        del state, params, hp, t
        return None

    def faults(self, hp: Mapping[str, Scalar]) -> list[str]:
        """What is impossible in one trial's hyperparameters taken together, a line a fault."""
        del hp
        return []


class ElementwiseRule(Rule):
    """An optimizer that treats each coordinate alike: one gradient a step, one update a tensor."""

    @abstractmethod
    def update(
        self, grad: Tensor, state: Pytree, param: Tensor, hp: Hyper, t: Tensor
    ) -> tuple[Tensor, Pytree]:
        """The new tensor and its new state; ``hp`` is as :meth:`prepared` gave it."""

    def prepared(self, hp: Hyper, t: Tensor) -> Hyper:
        """``hp`` with the scalars of step ``t`` that all tensors share, so that they are made once."""
        del t
        return hp

    @abstractmethod
    def init_tensor(self, param: Tensor) -> Pytree:
        """The state of one tensor before step 0."""

    def init(self, params: Params, streams: Streams) -> Pytree:
        del streams
        return {name: self.init_tensor(param) for name, param in params.items()}

    def step(
        self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor
    ) -> tuple[Params, Pytree]:
        grads, hp = oracle.grad(params), self.prepared(hp, t)
        moved = {name: self.update(grads[name], state[name], params[name], hp, t) for name in params}
        return {name: pair[0] for name, pair in moved.items()}, {
            name: pair[1] for name, pair in moved.items()
        }
