"""Gradient noise scale from batches of two sizes.

    G = mean of the per-example gradients over the training set, Sigma = their covariance
    B_simple = tr Sigma / |G|^2                                                (1812.06162, eq. 2.9)
    |G|^2    ~ (B_big |G_big|^2 - B_small |G_small|^2) / (B_big - B_small)     (appendix A.1)
    tr Sigma ~ (|G_small|^2 - |G_big|^2) / (1 / B_small - 1 / B_big)           (appendix A.1)

``num_draws`` batches of ``small`` rows each are drawn with replacement; |G_small|^2 is the mean over them of
the squared norm of a batch's gradient, and G_big is the gradient of all of them together, B_big = small *
num_draws (as a data-parallel step has them at no cost). Then both estimates are unbiased, for every ``small``
>= 1 and ``num_draws`` >= 2: E |G_B|^2 = |G|^2 + tr Sigma / B.

Their ratio is not: |G|^2 may come out near zero or below, and the ratio of one row has no useful mean.
Average ``noise_trace`` and ``noise_grad_squared`` separately, over steps, seeds or both, and divide then.
Measured on softmax regression on digits, 4,000 draws each: at the start, where B_simple = 60, the mean of
ratios is 64 by default, -16 from two batches of one row and 126 from two of 32; ratios of means are 59 to 60.
After 300 steps of gradient descent, where B_simple = 4,000, |G|^2 drowns in B_big = 128 rows: that of every
second row is negative, and no ratio says anything. There divide the mean of ``noise_trace`` by the square of
``gradient_norm`` (:mod:`gradlaw.probes.gradient_norm`), which is |G| exactly.

Gradients are taken in evaluation mode: batch norm, which would couple the examples of a batch, uses its
running statistics, and the noise of dropout is no part of Sigma. The draws come from the probe's own streams
and disturb nothing; how the trial itself samples (by epochs, or all rows) does not enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import grad
from torch.utils._pytree import tree_leaves, tree_map

from gradlaw.errors import ConfigurationError
from gradlaw.probe import MetricProbe, TrialView
from gradlaw.probes.training_set import evaluation_loss, flatten, require_rows
from gradlaw.table import Column
from gradlaw.task import Pytree, Task


class NoiseEstimate(NamedTuple):
    """Unbiased estimates of |G|^2, which may come out negative, and of tr Sigma, scalars."""

    grad_squared: Tensor
    trace: Tensor


@dataclass(frozen=True, kw_only=True)
class NoiseScale(MetricProbe):
    """``noise_grad_squared``, ``noise_trace`` and their ratio ``noise_scale``.

    Attributes:
        small: Rows of a small batch, >= 1.
        num_draws: Small batches a row of ``metrics``, >= 2. It holds that many gradients at once. At 16
            the two estimates use 15/16 of all pairs of drawn rows that 128 batches of one row would.

    Raises:
        ConfigurationError: If a setting is out of its range.
    """

    name = "noise_scale"
    small: int = 8
    num_draws: int = 16

    def __post_init__(self) -> None:
        lowest = {"small": 1, "num_draws": 2}
        faults = [
            f"probe noise_scale: got {setting} {getattr(self, setting)}; allowed: >= {low}"
            for setting, low in lowest.items()
            if getattr(self, setting) < low
        ]
        if faults:
            raise ConfigurationError(faults)

    def columns(self, task: Task) -> tuple[Column, ...]:
        """Three columns.

        Raises:
            UsageError: If the task is a stream: it has no training rows to draw from.
        """
        require_rows(self.name, task)
        docs = {
            "noise_grad_squared": "unbiased estimate of the full gradient's squared 2-norm; may be negative",
            "noise_trace": "unbiased estimate of the trace of the per-example gradients' covariance",
            "noise_scale": "noise_trace / noise_grad_squared of this row alone: biased, average them first",
        }
        return tuple(Column(name=name, type="float32", doc=doc) for name, doc in docs.items())

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held
        num_train = tree_leaves(view.train)[0].shape[0]
        indices = view.streams.integers("order", num_train, (self.num_draws, self.small))

        def gradient(rows: Tensor) -> Tensor:
            batch = tree_map(lambda leaf: leaf[rows], view.train)
            return flatten(grad(evaluation_loss(view, batch))(view.params))

        estimate = estimate_noise(torch.vmap(gradient)(indices), self.small)
        return {
            "noise_grad_squared": estimate.grad_squared,
            "noise_trace": estimate.trace,
            "noise_scale": estimate.trace / estimate.grad_squared,
        }


def estimate_noise(gradients: Tensor, small: int) -> NoiseEstimate:
    """Estimates from the gradients of independent batches of ``small`` rows.

    The differences of the two formulas are taken before squaring, as a sample variance is, so that nothing
    cancels: mean |g_k|^2 - |G_big|^2 = mean |g_k - G_big|^2.

    Args:
        gradients: One batch's mean gradient a row, shape [draws, parameters], draws >= 2.
        small: Rows of a batch.
    """
    draws = gradients.shape[0]
    mean = gradients.mean(dim=0)
    spread = ((gradients - mean) ** 2).sum() / (draws - 1)  # unbiased for tr Sigma / small
    return NoiseEstimate((mean * mean).sum() - spread / draws, small * spread)
