"""Five ways to break the square-root law; each is measured beside what the law would have said.

Shapes: N training rows, P parameters, K directions, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from gradlaw.probe import Snapshot
from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw_studies.sqrt_b.noise import sample_variance, total_variance

Transform = Callable[[Tensor], Tensor]
"""From mini-batch gradients [D, P] to what an optimizer makes of them, [D, P]."""

CHUNK_ROWS = 1 << 16  # rows of data in one batched evaluation; bounds memory


def window_variances(values: Tensor, sizes: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Population variances of the means of all N cyclic windows of B neighbouring rows.

    These are all the contiguous batches there are, so nothing is drawn and the result is exact.

    Args:
        values: Centred (so that the means of the windows average to zero), shape [N, C], in the order in
            which batches are cut.
        sizes: The batch sizes B, at most N.

    Yields:
        B and the variances, shape [C].
    """
    count = len(values)
    sums = torch.cumsum(torch.cat((torch.zeros_like(values[:1]), values, values[: max(sizes)])), dim=0)
    for size in sizes:
        windows = sums[size : size + count] - sums[:count]
        yield size, (windows * windows).sum(dim=0) / (count * size**2)


def clip(threshold: float) -> Transform:
    """Gradients scaled down to the norm ``threshold`` where they exceed it (Pascanu et al. 1211.5063)."""

    def clipped(gradients: Tensor) -> Tensor:
        norms = gradients.norm(dim=1, keepdim=True)
        return gradients * torch.clamp(threshold / norms.clamp(min=1e-30), max=1.0)

    return clipped


def transformed_std(gradients: Tensor, transform: Transform, directions: Tensor) -> dict[str, float]:
    """Sample std of the transformed gradients [D, P]: ``projection`` on [K, P] directions, and ``total``."""
    moved = transform(gradients)
    projections = moved @ directions.T.to(moved.dtype)
    variance = float(sample_variance(projections).mean())
    return {"projection": math.sqrt(variance), "total": math.sqrt(max(total_variance(moved), 0.0))}


def batch_norm_losses(snapshot: Snapshot, indices: Tensor, sizes: Sequence[int]) -> dict[int, Tensor]:
    """Training-mode losses of D real mini-batches of each size: statistics come from the batch itself.

    Args:
        snapshot: Of a task whose samples are coupled in training mode.
        indices: Positions in the training rows, shape [D, at least the largest size].
        sizes: The batch sizes.

    Returns:
        Losses in float64, shape [D], by batch size.
    """
    assert snapshot.split is not None
    rows = snapshot.split.train
    task = snapshot.task.to(rows.device, torch.float32)
    params = {name: value.to(torch.float32) for name, value in snapshot.params.items()}
    buffers = {name: value.to(torch.float32) for name, value in snapshot.buffers.items()}
    streams = streams_of(snapshot.seed, device=rows.device)

    def loss(chosen: Tensor) -> Tensor:
        batch = task.batch(chosen, streams)
        return task.loss(params, buffers, batch, None, Taps(train=True)).loss

    found = {}
    for size in sizes:
        batches = rows[indices[:, :size]]
        chunk = max(1, CHUNK_ROWS // size)
        found[size] = torch.vmap(loss, chunk_size=chunk)(batches).detach().to(torch.float64)
    return found
