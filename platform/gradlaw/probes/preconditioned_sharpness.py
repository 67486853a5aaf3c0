"""Preconditioned sharpness: the largest eigenvalue of the Hessian in the metric of the rule.

    preconditioned_sharpness = lambda_max(P^{-1/2} H P^{-1/2}) = lambda_max(P^{-1} H)

with the Hessian H of the full training loss at theta and the positive diagonal P by which the rule divided
its gradient (or momentum) in the step that led to theta: :meth:`gradlaw.rule.Rule.preconditioner`. Adam with
P frozen is stable only while it is below (2 + 2 beta1) / ((1 - beta1) lr), 38 / lr at beta1 = 0.9, and
full-batch training hovers there (Cohen et al. 2207.14484). As :mod:`gradlaw.probes.sharpness` otherwise,
with the same start vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.errors import UsageError
from gradlaw.probe import MetricProbe, TrialView
from gradlaw.probes.lanczos import largest_eigenvalue
from gradlaw.probes.sharpness import NUM_ITERATIONS, hessian_product, random_start, require_iterations
from gradlaw.probes.training_set import flatten, require_rows
from gradlaw.table import Column
from gradlaw.task import Pytree, Task


@dataclass(frozen=True, kw_only=True)
class PreconditionedSharpness(MetricProbe):
    """``preconditioned_sharpness`` and its residual; NaN at step 0, before which no step has been made.

    A rule without a preconditioner is refused (UsageError) when the probe is first read: ``sharpness`` is for
    those. NaN, too, where a coordinate of P is zero, as without eps where no gradient was ever seen.

    Attributes:
        num_iterations: Lanczos steps, >= 1. As many vectors of all parameters are held a trial.

    Raises:
        UsageError: If ``num_iterations`` is below 1.
    """

    name = "preconditioned_sharpness"
    num_iterations: int = NUM_ITERATIONS

    def __post_init__(self) -> None:
        require_iterations(self.name, self.num_iterations)

    def columns(self, task: Task) -> tuple[Column, ...]:
        """Two columns.

        Raises:
            UsageError: If the task is a stream: it has no full training loss.
        """
        require_rows(self.name, task)
        docs = {
            "preconditioned_sharpness": "largest eigenvalue of P^-1/2 H P^-1/2; NaN at step 0",
            "preconditioned_sharpness_residual": "norm of its eigenvector's residual; NaN at step 0",
        }
        return tuple(Column(name=name, type="float32", doc=doc) for name, doc in docs.items())

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held
        diagonal = view.rule.preconditioner(view.state, view.params, view.hp, view.t)
        if diagonal is None:
            msg = (
                f"probe preconditioned_sharpness: got rule {view.rule.name}, which has no preconditioner; "
                "allowed: rules that have one; take probe sharpness"
            )
            raise UsageError(msg)
        root = torch.rsqrt(flatten({name: diagonal[name] for name in view.params}))
        product = hessian_product(view)
        ritz = largest_eigenvalue(
            lambda vector: root * product(root * vector), random_start(view), self.num_iterations
        )
        moved = view.t > 0
        return {
            "preconditioned_sharpness": torch.where(moved, ritz.value, math.nan),
            "preconditioned_sharpness_residual": torch.where(moved, ritz.residual, math.nan),
        }
