"""Effective learning rates of the latest update, for each parameter tensor w.

    Delta = w_s - w_{s-1},   g = gradient of that step's batch by w, at the parameters before the step
    effective_lr    = -<Delta, g> / <g, g>          lr of the gradient step that is nearest to Delta
    invariant_lr    = effective_lr / ||w_{s-1}||^2
    relative_update = ||Delta|| / ||w_{s-1}||

The first is the least-squares solution of Delta = -lr g: lr itself for plain gradient descent. The second
is what counts where the loss does not depend on the scale of w, as before a normalization: g(c w) = g(w) / c,
so the direction of w moves by lr / ||w||^2 times the gradient at unit norm (van Laarhoven 1706.05350, for
gradient descent, where effective_lr = lr). There <w, g> = 0, so that decay of w alone changes neither. The
third is the ratio that layer-wise rules hold fixed (You et al. 1708.03888).

The row of step s shows the step from s-1 to s; that of step 0 holds NaN, since nothing has moved yet. Where
g = 0 the first two are NaN or infinite, where w = 0 the last two are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.errors import ConfigurationError
from gradlaw.probe import MetricProbe, StepView, TrialView
from gradlaw.probes.update_norm import gradient_of
from gradlaw.random import streams_of
from gradlaw.table import Column
from gradlaw.task import Params, Pytree, Task

_KINDS = {
    "effective_lr": "latest update projected on its gradient",
    "invariant_lr": "effective_lr over the squared norm",
    "relative_update": "norm of the latest update over the norm",
}


@dataclass(frozen=True, kw_only=True)
class EffectiveLR(MetricProbe):
    """``effective_lr_*``, ``invariant_lr_*`` and ``relative_update_*``, one each a parameter tensor.

    A column is named for its tensor in lower case, with "_" for what is neither letter nor digit: tensor
    ``W_a`` fills ``effective_lr_w_a``, tensor ``0.weight`` fills ``effective_lr_0_weight``. A rule that takes
    no gradient of the step's batch at the parameters before it is refused (UsageError) at the first step.
    """

    name = "effective_lr"

    def columns(self, task: Task) -> tuple[Column, ...]:
        """Three columns a tensor, for any task; found by initializing it once.

        Raises:
            ConfigurationError: If two tensors would share a column.
        """
        params, _ = task.init(streams_of(0))
        suffixes = [_suffix(name) for name in params]
        faults = [
            f"probe effective_lr: got tensor {name!r} of {task.name}, columns of which end in {suffix!r}, as "
            "another's; allowed: names that differ in more than case and punctuation"
            for name, suffix in zip(params, suffixes, strict=True)
            if suffixes.count(suffix) > 1
        ]
        if faults:
            raise ConfigurationError(faults)
        return tuple(
            Column(name=f"{kind}_{suffix}", type="float32", doc=f"{doc} of {name}; NaN at step 0")
            for name, suffix in zip(params, suffixes, strict=True)
            for kind, doc in _KINDS.items()
        )

    def init(self, params: Params) -> Pytree:
        """One number a tensor and kind, shape [tensors, 3]."""
        return next(iter(params.values())).new_full((len(params), len(_KINDS)), math.nan)

    def accumulate(self, held: Pytree, view: StepView) -> Pytree:
        del held
        gradient = gradient_of(view, self.name, "update_norm with angle=False needs none")
        rows = [_rates(view.moved[name], view.params[name], gradient[name]) for name in view.params]
        return torch.stack(rows)

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        return {
            f"{kind}_{_suffix(name)}": held[row, column]
            for row, name in enumerate(view.params)
            for column, kind in enumerate(_KINDS)
        }


def _rates(moved: Tensor, param: Tensor, gradient: Tensor) -> Tensor:
    """The three numbers of one tensor, in the order of the kinds, shape [3]."""
    update = moved - param
    effective = -(update * gradient).sum() / (gradient * gradient).sum()
    squared = (param * param).sum()
    relative = torch.sqrt((update * update).sum() / squared)
    return torch.stack((effective, effective / squared, relative))


def _suffix(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())
