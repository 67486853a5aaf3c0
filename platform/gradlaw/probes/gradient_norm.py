"""Norms of the gradient of the full training loss.

    g = (1 / N) sum_{i in train} grad l_i(theta),   ||g||_2 = sqrt(sum_j g_j^2),   ||g||_1 = sum_j |g_j|

in evaluation mode, as :mod:`gradlaw.probes.losses` takes the loss. ||g||_2^2 is what the memory of heavy
ball penalizes, ||g||_1 what that of Adam does (2309.00079, 2502.02132).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad

from gradlaw.errors import UsageError
from gradlaw.probe import MetricProbe, TrialView
from gradlaw.table import Column
from gradlaw.task import Params, Pytree, Taps, Task


@dataclass(frozen=True, kw_only=True)
class GradientNorm(MetricProbe):
    """``gradient_norm`` (2-norm) and ``gradient_one_norm``, over all parameters together."""

    name = "gradient_norm"

    def columns(self, task: Task) -> tuple[Column, ...]:
        """Two columns.

        Raises:
            UsageError: If the task is a stream: it has no full training loss.
        """
        if task.num_rows is None:
            msg = f"probe gradient_norm: got the stream {task.name}; allowed: tasks with rows"
            raise UsageError(msg)
        return (
            Column(name="gradient_norm", type="float32", doc="2-norm of the full training gradient"),
            Column(name="gradient_one_norm", type="float32", doc="1-norm of the full training gradient"),
        )

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held

        def loss(params: Params) -> Tensor:
            return view.task.loss(params, view.buffers, view.train, None, Taps(train=False)).loss

        gradient = torch.cat([part.reshape(-1) for part in grad(loss)(view.params).values()])
        return {
            "gradient_norm": torch.linalg.vector_norm(gradient, 2),
            "gradient_one_norm": torch.linalg.vector_norm(gradient, 1),
        }
