"""Std, kurtosis and noise scale of mini-batch means, from stored per-sample values.

Shapes: N training rows, P parameters, K directions, D draws, C columns of values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from gradlaw_studies.sqrt_b.law import kurtosis_standard_error, moments_of_mean


def prefix_sums(values: Tensor, indices: Tensor, sizes: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Sum over the first B indices of each draw, for increasing B, each index read once.

    In float32, which is forty times as fast as float64 here; centred values lose about 1e-6 of their std.

    Args:
        values: Centred, shape [N, C].
        indices: Shape [D, at least the largest size].
        sizes: The batch sizes B, increasing.

    Yields:
        B and the sums, float32 [D, C], valid until the next.
    """
    values = values.to(torch.float32)
    sums = torch.zeros(len(indices), values.shape[1], device=values.device)
    done = 0
    for size in sizes:
        sums += embedding_bag(indices[:, done:size].contiguous(), values, mode="sum")
        done = size
        yield size, sums


def sample_variance(values: Tensor) -> Tensor:
    """Sample variance (n - 1) down each column, in float64; shape [C]."""
    wide = values.to(torch.float64)
    centred = wide - wide.mean(dim=0)
    return (centred * centred).sum(dim=0) / (len(wide) - 1)


def excess_kurtosis(values: Tensor) -> Tensor:
    """Fourth central moment over the squared second, minus 3, down each column; shape [C].

    A column without spread has none: NaN.
    """
    wide = values.to(torch.float64)
    centred = wide - wide.mean(dim=0)
    square = centred * centred
    return (square * square).mean(dim=0) / square.mean(dim=0) ** 2 - 3.0


def total_variance(deviations: Tensor) -> float:
    """Trace of the sample covariance (n - 1) of vectors [D, P], whose mean is small beside their spread."""
    count = len(deviations)
    norms2 = squared_norms(deviations).sum()
    mean = deviations.sum(dim=0).to(torch.float64) / count
    return float((norms2 - count * (mean @ mean)) / (count - 1))


def squared_norms(vectors: Tensor) -> Tensor:
    """Squared norm of each of the vectors [D, P], float64 [D]; P products are summed in float32."""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return norms.to(torch.float64) ** 2


@dataclass(frozen=True, kw_only=True)
class Population:
    """Per-sample values, centred, and their exact moments over the N rows.

    Attributes:
        scalars: Loss in column 0, then the K projections and G / |G|, centred; float64 [N, K + 2].
        vectors: Gradients, centred; float32 [N, P] (sums of a few hundred lose about 1e-6).
        mean: The full gradient G, float64 [P].
        directions: The K unit vectors, float64 [K, P].
    """

    scalars: Tensor
    vectors: Tensor
    mean: Tensor
    directions: Tensor

    @cached_property
    def trace(self) -> float:
        """Total population variance of the gradient, tr(Sigma)."""
        return float(squared_norms(self.vectors).mean())

    @cached_property
    def sigmas(self) -> dict[str, float]:
        """Population sigma by quantity; of the projections the root of their mean variance."""
        variances = (self.scalars[:, :-1] ** 2).mean(dim=0)
        loss, projection = float(variances[0]), float(variances[1:].mean())
        return {"loss": math.sqrt(loss), "projection": math.sqrt(projection), "total": math.sqrt(self.trace)}


def population(losses: Tensor, gradients: Tensor, directions: NDArray[np.float64]) -> Population:
    """Centres the per-sample values; ``losses`` [N], ``gradients`` [N, P], ``directions`` [K, P]."""
    mean = gradients.mean(dim=0)
    vectors = gradients - mean
    axes = torch.as_tensor(directions, dtype=torch.float64, device=gradients.device)
    along = mean / torch.clamp(mean.norm(), min=torch.finfo(torch.float64).tiny)
    scalars = torch.cat(
        ((losses - losses.mean())[:, None], vectors @ torch.cat((axes, along[None])).T), dim=1
    )
    return Population(scalars=scalars, vectors=vectors.to(torch.float32), mean=mean, directions=axes)


@dataclass(frozen=True, kw_only=True)
class BatchNoise:
    """Noise of D mini-batches of one size.

    Attributes:
        batch_size: B.
        std: Sample standard deviation by quantity: ``loss``, ``projection`` (the root of the mean over
            directions of the variance), ``total`` (the root of the trace of the covariance).
        excess_kurtosis: By quantity; of the projections the mean over directions, each taken alone, as
            pooling directions of unequal variance would mimic heavy tails; a vector has none.
        norm2: Mean squared norm of the mini-batch gradient.
    """

    batch_size: int
    std: dict[str, float]
    excess_kurtosis: dict[str, float]
    norm2: float


def batch_noise(held: Population, scalar_sums: Tensor, vector_sums: Tensor, batch_size: int) -> BatchNoise:
    """Noise of the means of D mini-batches from their centred sums, [D, K + 2] and [D, P]."""
    means = scalar_sums.to(torch.float64) / batch_size
    variances = sample_variance(means[:, :-1])
    trace = total_variance(vector_sums) / batch_size**2
    tails = excess_kurtosis(means[:, :-1])
    length = held.mean.norm()
    squares = squared_norms(vector_sums).mean() / batch_size**2
    norm2 = float(length**2 + 2 * length * means[:, -1].mean() + squares)
    return BatchNoise(
        batch_size=batch_size,
        std={
            "loss": math.sqrt(float(variances[0])),
            "projection": math.sqrt(float(variances[1:].mean())),
            "total": math.sqrt(max(trace, 0.0)),
        },
        excess_kurtosis={"loss": float(tails[0]), "projection": float(tails[1:].mean())},
        norm2=norm2,
    )


@dataclass(frozen=True, kw_only=True)
class ExactKurtosis:
    """What the law says of the kurtosis of a mean of B, known before any draw.

    Attributes:
        value: Excess kurtosis kappa_1 / B, with kappa_1 exact over the N rows.
        standard_error: Of its estimate from D draws, by the population's moments up to the eighth.
    """

    value: float
    standard_error: float

    @property
    def measurable(self) -> bool:
        """Whether the value exceeds three standard errors; decided before the draws, so no selection."""
        return abs(self.value) > 3 * self.standard_error


def exact_kurtosis(values: Tensor, batch_size: int, num_draws: int) -> ExactKurtosis:
    """Kurtosis of the mean of B rows of centred ``values`` [N], with replacement, and its precision."""
    standard = values / values.std(correction=0)
    moments = moments_of_mean([1.0, 0.0, *(float((standard**r).mean()) for r in range(2, 9))], batch_size)
    return ExactKurtosis(
        value=moments[4] / moments[2] ** 2 - 3.0,
        standard_error=kurtosis_standard_error(moments, num_draws),
    )


def partition_variances(values: Tensor, orders: Tensor, batch_size: int) -> Tensor:
    """Sample variance of the batch means, averaged over partitions of the data; shape [C].

    Each order is cut into floor(N / B) disjoint batches of B. The sample variance (n - 1) of their means
    has expectation exactly S^2 / B with S^2 = sigma^2 N / (N - 1): a mean has variance S^2/B - S^2/N, two
    means have covariance -S^2/N, and the sample variance estimates their difference. No finite-population
    factor is left. Variances are averaged, not stds: of 3 batches a std is 11% too small on average.

    Args:
        values: Shape [N, C].
        orders: Permutations of the rows, shape [R, N].
        batch_size: B, at most N / 2.
    """
    count = orders.shape[1] // batch_size
    batches = orders[:, : count * batch_size].reshape(-1, batch_size)
    means = embedding_bag(batches.contiguous(), values.to(torch.float32), mode="mean").to(torch.float64)
    means = means.reshape(len(orders), count, -1)
    centred = means - means.mean(dim=1, keepdim=True)
    return (centred * centred).sum(dim=1).mean(dim=0) / (count - 1)
