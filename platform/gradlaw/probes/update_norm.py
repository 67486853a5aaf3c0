"""Norm of the latest update and its angle to the gradient.

    Delta = theta_s - theta_{s-1},   g = gradient of that step's batch at theta_{s-1}
    update_norm  = ||Delta||_2
    update_angle = angle between Delta and -g
                 = 2 atan2(|| a - b ||, || a + b ||),   a = Delta / ||Delta||,   b = -g / ||g||

The row of step s shows the step from s-1 to s; that of step 0 holds NaN, since nothing has moved yet. The
angle is 0 for plain gradient descent and at most pi / 2 for a descent direction, the condition of
Zoutendijk's theorem (Nocedal and Wright, Numerical Optimization, 2006, eq. 3.12 and theorem 3.2). Written
with atan2 (Kahan, "How futile are mindless assessments of roundoff", 2006, section 12) it is exact to
rounding also near 0, where the arccosine loses half the digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from gradlaw.errors import UsageError
from gradlaw.probe import MetricProbe, StepView, TrialView
from gradlaw.probes.training_set import flatten
from gradlaw.table import Column
from gradlaw.task import Params, Pytree, Task


@dataclass(frozen=True, kw_only=True)
class UpdateNorm(MetricProbe):
    """``update_norm`` and, unless turned off, ``update_angle`` in radians, over all parameters together.

    The angle is NaN where the update or the gradient is zero.

    Attributes:
        angle: Whether to take the angle. False for a rule that takes no gradient of the step's batch at
            the parameters before the step: with one the angle is refused (UsageError) at the first step.
    """

    name = "update_norm"
    angle: bool = True

    def columns(self, task: Task) -> tuple[Column, ...]:
        """One column or two, for any task."""
        del task
        norm = Column(name="update_norm", type="float32", doc="2-norm of the latest update; NaN at step 0")
        doc = "between the latest update and its batch's negative gradient; NaN at step 0"
        return (norm, Column(name="update_angle", type="float32", unit="rad", doc=doc))[: 1 + self.angle]

    def init(self, params: Params) -> Pytree:
        nan = next(iter(params.values())).new_full((), math.nan)
        return dict.fromkeys(("update_norm", "update_angle")[: 1 + self.angle], nan)

    def accumulate(self, held: Pytree, view: StepView) -> Pytree:
        del held
        update = flatten({name: view.moved[name] - view.params[name] for name in view.params})
        values = {"update_norm": vector_norm(update)}
        if self.angle:
            gradient = flatten(gradient_of(view, self.name, "set angle=False"))
            values["update_angle"] = angle_between(update, -gradient)
        return values

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del view
        return dict(held)


def angle_between(left: Tensor, right: Tensor) -> Tensor:
    """Angle in [0, pi] between two vectors of one shape; NaN if one is zero.

    >>> angle_between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])).item()  # pi / 2
    1.57079...
    """
    a, b = left / vector_norm(left), right / vector_norm(right)
    return 2.0 * torch.atan2(vector_norm(a - b), vector_norm(a + b))


def gradient_of(view: StepView, probe: str, remedy: str) -> Params:
    """The gradient of the step's batch; raises UsageError if the rule took none."""
    if view.grad is None:
        msg = (
            f"probe {probe}: got a rule that takes no gradient of the step's batch at the parameters before "
            f"the step; allowed: rules that do; {remedy}"
        )
        raise UsageError(msg)
    return view.grad
