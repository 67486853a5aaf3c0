"""Task: one trial's problem, written for ONE trial in plain torch. The engine vmaps it over a pack.

    init(streams)                                 -> params, buffers
    split(streams)                                -> rows of the data to train on, rows held out
    batch(indices or step, streams)               -> batch
    noise(batch, streams)                         -> masks and noise of one step
    loss(params, buffers, batch, noise, taps)     -> loss, outputs, new buffers

``loss`` draws nothing itself: what is random comes in through ``batch`` and ``noise``, which are pure
functions of (seed, stream, step), so a trial is the same alone and in a pack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams

if TYPE_CHECKING:
    from gradlaw.tasks.module import ModuleTask

Params = dict[str, Tensor]
Buffers = dict[str, Tensor]
Pytree = Any  # nested tuples, lists and dicts of tensors; torch has no type for it
Batch = Pytree
Noise = Pytree


class Split(NamedTuple):
    """Rows of the data: ``train`` of shape [num_train], ``test`` of shape [num_test] (may be empty)."""

    train: Tensor
    test: Tensor


class LossOutput(NamedTuple):
    """What one evaluation yields: a scalar loss (mean over the batch), outputs and the new buffers."""

    loss: Tensor
    outputs: Tensor
    buffers: Buffers


class Taps:
    """What one pass through a task is asked for, beyond its loss.

    A task that sends its linear layers through :meth:`linear` gives access to layer inputs and to the
    loss's gradient by each layer's output, and lets a rule choose the backward weights (feedback
    alignment: Lillicrap et al. 1411.0247). A task that does not is trained all the same.

    Attributes:
        train: False in evaluation: batch norm uses its running statistics and noise is None.
        inputs: Filled by the pass: input of each layer by name, shape [batch, in].
    """

    def __init__(
        self,
        *,
        train: bool = True,
        perturbations: Mapping[str, Tensor] | None = None,
        feedback: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.train = train
        self.inputs: dict[str, Tensor] = {}
        self._perturbations = perturbations or {}
        self._feedback = feedback or {}

    def linear(self, name: str, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``x @ weight.T + bias`` with x [batch, in], weight [out, in]; backward by the feedback if given.

        With feedback B the value is unchanged, the gradient by x goes through B instead of the weight,
        and the gradient by the weight is as before.
        """
        self.inputs[name] = x
        feedback = self._feedback.get(name)
        if feedback is None:
            out = linear(x, weight, bias)
        else:
            out = linear(x, feedback, bias) + linear(x.detach(), weight - feedback)
        perturbation = self._perturbations.get(name)
        return out if perturbation is None else out + perturbation


class Task(ABC):
    """A problem to train on. Subclasses are constructed with their structural hyperparameters.

    Attributes:
        name, version: Identity; raise the version whenever the numbers change.
        hyperparameters: Declared; those not structural reach ``loss`` only through a rule or schedule.
        vmappable: Whether ``loss`` runs under ``torch.vmap``; if not, the task runs at width 1.
        num_rows: Number of rows of the data, or None for a stream.
    """

    name: str
    version: ClassVar[int] = 1
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = ()
    vmappable: bool = True
    num_rows: int | None = None

    @abstractmethod
    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        """Parameters and buffers at the start, in float64; the engine casts floating ones to the dtype."""

    @abstractmethod
    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        """The batch of the data's rows ``indices``, shape [batch]; each leaf leads with that dimension.

        For a stream (``num_rows`` None) the indices are positions in this step, drawn from ``streams``.
        """

    @abstractmethod
    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        """Mean loss over the batch, outputs of shape [batch, ...], and new buffers."""

    def split(self, streams: Streams) -> Split:
        """Rows to train on and rows held out; by default all rows and none."""
        if self.num_rows is None:
            msg = f"task {self.name} is a stream: it has no rows to split"
            raise TypeError(msg)
        rows = torch.arange(self.num_rows, device=streams.seed.device)
        return Split(rows, rows[:0])

    def noise(self, batch: Batch, streams: Streams) -> Noise:
        """Masks and noise of one training step, drawn from stream "noise"; None where there are none."""
        del batch, streams
        return None

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Named scalars beside the loss, for example ``accuracy``; none by default."""
        del outputs, batch
        return {}

    def data_digest(self) -> str:
        """Digest of the data, part of every trial's identity; "" where there is none."""
        return ""

    def to(self, device: torch.device, dtype: torch.dtype) -> Task:
        """This task with its data on a device, floating data in a dtype; by default itself."""
        del device, dtype
        return self

    @staticmethod
    def from_module(
        name: str,
        build: Callable[[], nn.Module],
        loss: Callable[[Tensor, Tensor], Tensor],
        data: tuple[Tensor, Tensor],
        *,
        test_share: float = 0.0,
    ) -> ModuleTask:
        """A task from an ordinary module: see :class:`gradlaw.tasks.module.ModuleTask`."""
        from gradlaw.tasks.module import ModuleTask

        return ModuleTask(name, build, loss, data, test_share=test_share)
