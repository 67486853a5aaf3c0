"""The stored per-sample values of one trial at one step: loss and gradient of every training row.

Shapes: N training rows, P parameters, K directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from gradlaw.probe import Snapshot
from gradlaw.random import streams_of
from gradlaw.task import Params, Taps

CHUNK = 512  # rows differentiated at once; bounds memory at CHUNK * P


@dataclass(frozen=True, kw_only=True)
class PerSample:
    """Values of every training row, float64; the mini-batch's values are means of these.

    Attributes:
        losses: Shape [N].
        gradients: Shape [N, P]; tensors are flattened in the order of their names.
        classes: Labels, shape [N].
    """

    losses: Tensor
    gradients: Tensor
    classes: Tensor


def per_sample(snapshot: Snapshot) -> PerSample:
    """Loss and gradient of each training row alone, in evaluation mode, by vmap of grad in chunks.

    Raises:
        TypeError: If the task is a stream, which has no rows to store.
    """
    if snapshot.split is None:
        msg = f"task {snapshot.task.name} is a stream; per-sample values need stored rows"
        raise TypeError(msg)
    rows = snapshot.split.train
    task = snapshot.task.to(rows.device, torch.float64)
    params, buffers = as_double(snapshot.params), as_double(snapshot.buffers)
    streams = streams_of(snapshot.seed, device=rows.device)

    def loss(at: Params, row: Tensor) -> Tensor:
        batch = task.batch(row[None], streams)
        return task.loss(at, buffers, batch, None, Taps(train=False)).loss

    values = vmap(grad_and_value(loss), in_dims=(None, 0), chunk_size=CHUNK)
    gradients, losses = values(params, rows)
    flat = torch.cat([gradients[name].reshape(len(rows), -1) for name in sorted(gradients)], dim=1)
    return PerSample(losses=losses.detach(), gradients=flat.detach(), classes=task.batch(rows, streams)[-1])


def as_double(tensors: Params) -> Params:
    """Floating tensors in float64, others as they are."""
    return {
        name: value.to(torch.float64) if value.is_floating_point() else value
        for name, value in tensors.items()
    }
