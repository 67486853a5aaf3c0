"""Norm of the parameters.

    ||theta||_2 = sqrt(sum_j theta_j^2)

over all parameters together, biases and scales included; what weight decay penalizes (Krogh and Hertz,
"A simple weight decay can improve generalization", NIPS 1991).
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
class ParameterNorm(MetricProbe):
    """``parameter_norm``: 2-norm of the parameters before the step."""

    name = "parameter_norm"

    def columns(self, task: Task) -> tuple[Column, ...]:
        """One column, for any task."""
        del task
        return (Column(name="parameter_norm", type="float32", doc="2-norm of all parameters"),)

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held
        return {"parameter_norm": torch.linalg.vector_norm(flatten(view.params), 2)}
