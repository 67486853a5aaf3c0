"""What probes of the full training loss share: the loss as a function, and parameters as one vector.

    L(theta) = (1 / N) sum_{i in train} l_i(theta)

in evaluation mode: batch norm takes its running statistics, nothing is dropped, no buffer moves. What a
rule adds of its own (weight decay) is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradlaw.errors import UsageError
from gradlaw.probe import TrialView
from gradlaw.task import Batch, Params, Taps, Task


def require_rows(probe: str, task: Task) -> None:
    """Raises UsageError if the task is a stream: it has no full training loss."""
    if task.num_rows is None:
        msg = f"probe {probe}: got the stream {task.name}; allowed: tasks with rows"
        raise UsageError(msg)


def evaluation_loss(view: TrialView, batch: Batch) -> Callable[[Params], Tensor]:
    """The mean loss over a batch as a function of the parameters, in evaluation mode."""

    def loss(params: Params) -> Tensor:
        return view.task.loss(params, view.buffers, batch, None, Taps(train=False)).loss

    return loss


def flatten(params: Params) -> Tensor:
    """All parameters as one vector, in the order of the mapping."""
    return torch.cat([part.reshape(-1) for part in params.values()])


def unflatten(vector: Tensor, like: Params) -> Params:
    """The inverse of :func:`flatten`, in the shapes of ``like``."""
    parts = torch.split(vector, [part.numel() for part in like.values()])
    return {name: part.reshape(like[name].shape) for name, part in zip(like, parts, strict=True)}
