"""Largest parameter.

    max |theta| = max_j |theta_j|

over all parameters together. Lion with decoupled weight decay lambda draws it to 1 / lambda or below (Chen et
al. 2310.05898).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.probe import MetricProbe, TrialView
from gradlaw.probes.training_set import flatten
from gradlaw.table import Column
from gradlaw.task import Pytree, Task


@dataclass(frozen=True, kw_only=True)
class ParameterMax(MetricProbe):
    """``parameter_max``: largest absolute value of a parameter before the step."""

    name = "parameter_max"

    def columns(self, task: Task) -> tuple[Column, ...]:
        """One column, for any task."""
        del task
        return (Column(name="parameter_max", type="float32", doc="largest absolute value of a parameter"),)

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held
        return {"parameter_max": torch.linalg.vector_norm(flatten(view.params), torch.inf)}
