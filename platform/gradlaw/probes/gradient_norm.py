"""Norms of the gradient of the full training loss.

    g = (1 / N) sum_{i in train} grad l_i(theta)
    ||g||_2 = sqrt(sum_j g_j^2),   ||g||_1 = sum_j |g_j|,   ||g||_{1,eps} = sum_j sqrt(g_j^2 + eps)

in evaluation mode, as :mod:`gradlaw.probes.losses` takes the loss. ||g||_2^2 is what the memory of heavy
ball penalizes, the perturbed one-norm what that of Adam does, eps inside its root (2309.00079, 2502.02132).
Where g is zero the perturbed one-norm is not: it is sqrt(eps) times the number of parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad

from gradlaw.errors import UsageError
from gradlaw.probe import MetricProbe, TrialView
from gradlaw.probes.training_set import evaluation_loss, flatten, require_rows
from gradlaw.table import Column
from gradlaw.task import Pytree, Task


@dataclass(frozen=True, kw_only=True)
class GradientNorm(MetricProbe):
    """``gradient_norm``, ``gradient_one_norm``, ``gradient_perturbed_norm``, over all parameters together.

    One gradient serves all three.

    Attributes:
        eps: Of the perturbed one-norm, > 0, in squared gradients; by default Adam's (1412.6980). Set it to
            that of the rule under study.

    Raises:
        UsageError: If eps is not above 0.
    """

    name = "gradient_norm"
    version = 2
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not 0.0 < self.eps < float("inf"):
            msg = f"probe gradient_norm: got eps {self.eps!r}; allowed: > 0 and finite"
            raise UsageError(msg)

    def columns(self, task: Task) -> tuple[Column, ...]:
        """Three columns.

        Raises:
            UsageError: If the task is a stream: it has no full training loss.
        """
        require_rows(self.name, task)
        docs = {
            "gradient_norm": "2-norm of the full training gradient",
            "gradient_one_norm": "1-norm of the full training gradient",
            "gradient_perturbed_norm": "sum of sqrt(g^2 + eps) over the full training gradient",
        }
        return tuple(Column(name=name, type="float32", doc=doc) for name, doc in docs.items())

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held
        gradient = flatten(grad(evaluation_loss(view, view.train))(view.params))
        return {
            "gradient_norm": torch.linalg.vector_norm(gradient, 2),
            "gradient_one_norm": torch.linalg.vector_norm(gradient, 1),
            "gradient_perturbed_norm": torch.sqrt(gradient * gradient + self.eps).sum(),
        }
