"""The oracle of one trial at one step: loss, gradients, Hessian-vector products and layer signals.

Everything is written for one trial and runs under ``torch.vmap``. Hessian-vector products are the
vector-Jacobian product of the gradient: the Hessian is symmetric, and forward-over-reverse does not
compile under vmap. A batch may be taken in parts, one after the other, whose means are then averaged: the
same numbers to rounding, in the memory of one part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.func import grad, vjp
from torch.utils._pytree import tree_leaves, tree_map

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


class Part(NamedTuple):
    """A part of a batch and its share of the rows; all shares together are 1."""

    share: float
    drawn: Draw


def parts_of(drawn: Draw, count: int) -> list[Part]:
    """A draw cut into so many parts of equal size, or nearly so.

    Raises:
        UsageError: There are fewer rows than parts.
    """
    if count == 1:
        return [Part(1.0, drawn)]
    num_rows = next(leaf.shape[0] for leaf in tree_leaves(drawn.batch) if isinstance(leaf, Tensor))
    if count > num_rows:
        msg = f"accumulate: got {count} parts of a batch of {num_rows}; allowed: 1 .. {num_rows}"
        raise UsageError(msg)
    found = []
    for low, high in pairwise(num_rows * number // count for number in range(count + 1)):
        rows = slice(low, high)
        part = tree_map(lambda leaf, rows=rows: leaf[rows] if isinstance(leaf, Tensor) else leaf, drawn)
        found.append(Part((high - low) / num_rows, part))
    return found


class TrialOracle:
    """Implements :class:`gradlaw.rule.Oracle` for one trial at one step.

    Args:
        task: The trial's task.
        params: Parameters before the step: the step's own loss is taken there.
        buffers: Buffers before the step.
        draws: Batch and noise of a draw; 0 is the step's own.
        accumulate: Number of parts in which a batch is taken.

    Attributes:
        gradient: The first plain gradient taken of the step's batch at the parameters before the step.

    Raises:
        UsageError: A batch in parts of a task that has buffers: batch norm couples the samples of a batch.
    """

    def __init__(
        self,
        task: Task,
        params: Params,
        buffers: Buffers,
        draws: Callable[[int], Draw],
        *,
        accumulate: int = 1,
    ) -> None:
        if accumulate > 1 and buffers:
            msg = (
                f"accumulate: got {accumulate} for {task.name}, whose buffers ({', '.join(buffers)}) move "
                "with each batch; allowed: 1, since a batch in parts would be another loss"
            )
            raise UsageError(msg)
        self._accumulate = accumulate
        self._task = task
        self._params = params
        self._buffers = buffers
        self._draws = draws
        self._drawn: dict[int, list[Part]] = {}
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

        def evaluated(drawn: Draw) -> tuple[tuple[()], _Seen]:
            return (), self._evaluate(params, drawn, Taps())

        seen = self._averaged(draw, evaluated)[1]
        self._note(params, draw, seen)
        return seen.loss

    def grad(self, params: Params, *, draw: int = 0, feedback: Mapping[str, Tensor] | None = None) -> Params:
        """See :meth:`gradlaw.rule.Oracle.grad`.

        Raises:
            UsageError: If ``feedback`` names a layer that the task does not send through its taps.
        """

        def evaluated(drawn: Draw) -> tuple[Params, _Seen]:
            found: tuple[Params, _Seen] = grad(self._loss_of(drawn, feedback), has_aux=True)(params)
            return found

        gradient, seen = self._averaged(draw, evaluated)
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

        def evaluated(drawn: Draw) -> tuple[Params, _Seen]:
            pulled = vjp(grad(self._loss_of(drawn), has_aux=True), params, has_aux=True)
            pull, seen = cast("tuple[Params, Callable[[Params], tuple[Params]], _Seen]", pulled)[1:]
            return pull(vector)[0], seen

        bent, seen = self._averaged(draw, evaluated)
        self._note(params, draw, seen)
        return _as_params(bent)

    def layer_signals(self, params: Params, *, draw: int = 0) -> Mapping[str, LayerSignal]:
        """See :meth:`gradlaw.rule.Oracle.layer_signals`.

        A perturbation of zeros is added to each layer's output; the loss's gradient by it is delta.
        """
        parts = self._parts(draw)
        found = [(share, *self._layer_deltas(params, drawn)) for share, drawn in parts]
        loss = _sum([_times(share, seen.loss) for share, _, seen in found])
        self._note(params, draw, found[-1][2]._replace(loss=loss))
        return {
            name: LayerSignal(
                _joined([seen.inputs[name] for _, _, seen in found]),
                _joined([_times(share, deltas[name]) for share, deltas, _ in found]),
            )
            for name in found[0][1]
        }

    def _layer_deltas(self, params: Params, drawn: Draw) -> tuple[dict[str, Tensor], _Seen]:
        """The gradient by each layer's output, and what was seen on the way."""
        shapes = _ShapeTaps()
        self._evaluate(params, drawn, shapes)

        def loss(perturbations: dict[str, Tensor]) -> tuple[Tensor, _Seen]:
            seen = self._evaluate(params, drawn, Taps(perturbations=perturbations))
            return seen.loss, seen

        found: tuple[dict[str, Tensor], _Seen] = grad(loss, has_aux=True)(shapes.zeros)
        return found

    def _loss_of(
        self, drawn: Draw, feedback: Mapping[str, Tensor] | None = None
    ) -> Callable[[Params], tuple[Tensor, _Seen]]:
        def loss(point: Params) -> tuple[Tensor, _Seen]:
            seen = self._evaluate(point, drawn, Taps(feedback=feedback))
            return seen.loss, seen

        return loss

    def _averaged(self, draw: int, evaluated: Callable[[Draw], tuple[Any, _Seen]]) -> tuple[Any, _Seen]:
        """The mean over the parts of a draw, added up as they come: of the others no trace is left."""
        total, losses = None, []
        for share, drawn in self._parts(draw):
            found, seen = evaluated(drawn)
            found = tree_map(lambda leaf, share=share: _times(share, leaf), found)
            total = found if total is None else tree_map(torch.add, total, found)
            losses.append(_times(share, seen.loss))
        return total, seen._replace(loss=_sum(losses))

    def _parts(self, number: int) -> list[Part]:
        """A draw, made once; outside of any gradient, since what is made inside may not leave it."""
        if number not in self._drawn:
            self._drawn[number] = parts_of(self._draws(number), self._accumulate)
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


def _sum(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(list(parts)).sum()


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _times(share: float, value: Tensor) -> Tensor:
    return value if share == 1.0 else share * value


def _same(left: Params, right: Params) -> bool:
    """Whether both hold the very same tensors: equality of values would need a look at them."""
    return left is right or (left.keys() == right.keys() and all(left[name] is right[name] for name in left))


def _as_params(tree: object) -> Params:
    assert isinstance(tree, dict)
    return tree
