"""The oracle of one trial at one step: loss, gradients, Hessian-vector products and layer signals.

Everything is written for one trial and runs under ``torch.vmap``. Hessian-vector products are the
vector-Jacobian product of the gradient: the Hessian is symmetric, and forward-over-reverse does not
compile under vmap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.func import grad, vjp

from gradlaw.errors import UsageError
from gradlaw.rule import LayerSignal
from gradlaw.task import Batch, Buffers, Noise, Params, Taps, Task


class Draw(NamedTuple):
    """One batch with its noise."""

    batch: Batch
    noise: Noise


class _Seen(NamedTuple):
    """What one evaluation yields beside its value or gradient."""

    loss: Tensor
    buffers: Buffers
    inputs: dict[str, Tensor]


class TrialOracle:
    """Implements :class:`gradlaw.rule.Oracle` for one trial at one step.

    Args:
        task: The trial's task.
        params: Parameters before the step: the step's own loss is taken there.
        buffers: Buffers before the step.
        draws: Batch and noise of a draw; 0 is the step's own.

    Attributes:
        gradient: The first plain gradient taken of the step's batch at the parameters before the step.
    """

    def __init__(self, task: Task, params: Params, buffers: Buffers, draws: Callable[[int], Draw]) -> None:
        self._task = task
        self._params = params
        self._buffers = buffers
        self._draws = draws
        self._drawn: dict[int, Draw] = {}
        self._loss: Tensor | None = None
        self.gradient: Params | None = None
        self._moved_buffers: Buffers | None = None

    def outcome(self) -> tuple[Tensor, Buffers]:
        """The step's own loss at the parameters before the step, and the buffers after the step.

        Taken from the rule's own evaluations; if it made none there, one more is made.
        """
        if self._loss is None:
            self.value(self._params)
        assert self._loss is not None
        assert self._moved_buffers is not None
        return self._loss, self._moved_buffers

    def value(self, params: Params, *, draw: int = 0) -> Tensor:
        """See :meth:`gradlaw.rule.Oracle.value`."""
        seen = self._evaluate(params, self._draw(draw), Taps())
        self._note(params, draw, seen)
        return seen.loss

    def grad(self, params: Params, *, draw: int = 0, feedback: Mapping[str, Tensor] | None = None) -> Params:
        """See :meth:`gradlaw.rule.Oracle.grad`.

        Raises:
            UsageError: If ``feedback`` names a layer that the task does not send through its taps.
        """
        drawn = self._draw(draw)

        def loss(point: Params) -> tuple[Tensor, _Seen]:
            seen = self._evaluate(point, drawn, Taps(feedback=feedback))
            return seen.loss, seen

        gradient, seen = grad(loss, has_aux=True)(params)
        self._note(params, draw, seen)
        missing = sorted(set(feedback or {}) - set(seen.inputs))
        if missing:
            known = ", ".join(sorted(seen.inputs)) or "none"
            msg = f"feedback: got {missing}; allowed: layers that {self._task.name} taps: {known}"
            raise UsageError(msg)
        if draw == 0 and feedback is None and self.gradient is None and _same(params, self._params):
            self.gradient = _as_params(gradient)
        return _as_params(gradient)

    def hvp(self, params: Params, vector: Params, *, draw: int = 0) -> Params:
        """See :meth:`gradlaw.rule.Oracle.hvp`."""
        drawn = self._draw(draw)

        def loss(point: Params) -> tuple[Tensor, _Seen]:
            seen = self._evaluate(point, drawn, Taps())
            return seen.loss, seen

        pulled = vjp(grad(loss, has_aux=True), params, has_aux=True)
        pull, seen = cast("tuple[Params, Callable[[Params], tuple[Params]], _Seen]", pulled)[1:]
        self._note(params, draw, seen)
        return pull(vector)[0]

    def layer_signals(self, params: Params, *, draw: int = 0) -> Mapping[str, LayerSignal]:
        """See :meth:`gradlaw.rule.Oracle.layer_signals`.

        A perturbation of zeros is added to each layer's output; the loss's gradient by it is delta.
        """
        drawn, shapes = self._draw(draw), _ShapeTaps()
        self._evaluate(params, drawn, shapes)

        def loss(perturbations: dict[str, Tensor]) -> tuple[Tensor, _Seen]:
            seen = self._evaluate(params, drawn, Taps(perturbations=perturbations))
            return seen.loss, seen

        deltas, seen = grad(loss, has_aux=True)(shapes.zeros)
        self._note(params, draw, seen)
        return {name: LayerSignal(seen.inputs[name], delta) for name, delta in deltas.items()}

    def _draw(self, number: int) -> Draw:
        """A draw, made once; outside of any gradient, since what is made inside may not leave it."""
        if number not in self._drawn:
            self._drawn[number] = self._draws(number)
        return self._drawn[number]

    def _evaluate(self, params: Params, drawn: Draw, taps: Taps) -> _Seen:
        out = self._task.loss(params, self._buffers, drawn.batch, drawn.noise, taps)
        return _Seen(out.loss, out.buffers, taps.inputs)

    def _note(self, params: Params, draw: int, seen: _Seen) -> None:
        if draw != 0:
            return
        if self._moved_buffers is None:
            self._moved_buffers = seen.buffers
        if self._loss is None and _same(params, self._params):
            self._loss = seen.loss


class _ShapeTaps(Taps):
    """Keeps a zero of the shape of every layer's output."""

    def __init__(self) -> None:
        super().__init__()
        self.zeros: dict[str, Tensor] = {}

    def linear(self, name: str, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        out = super().linear(name, x, weight, bias)
        self.zeros[name] = torch.zeros_like(out)
        return out


def _same(left: Params, right: Params) -> bool:
    """Whether both hold the very same tensors: equality of values would need a look at them."""
    return left is right or (left.keys() == right.keys() and all(left[name] is right[name] for name in left))


def _as_params(tree: object) -> Params:
    assert isinstance(tree, dict)
    return tree
