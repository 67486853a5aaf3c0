"""Sharpness: the largest eigenvalue of the Hessian of the full training loss.

    sharpness = lambda_max(H),   H = Hessian of L at theta

Gradient descent at a fixed lr is stable along an eigenvector only while lambda < 2 / lr, and full-batch
training hovers there (Cohen et al. 2103.00065, section 2). L is taken in evaluation mode (see
:mod:`gradlaw.probes.training_set`). Found by Lanczos iteration on Hessian-vector products, each the
vector-Jacobian product of the gradient: H is symmetric. Method and error: :mod:`gradlaw.probes.lanczos`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from torch import Tensor
from torch.func import grad, vjp

from gradlaw.errors import UsageError
from gradlaw.probe import MetricProbe, TrialView
from gradlaw.probes.lanczos import largest_eigenvalue
from gradlaw.probes.training_set import evaluation_loss, flatten, require_rows, unflatten
from gradlaw.table import Column
from gradlaw.task import Params, Pytree, Task

NUM_ITERATIONS = 20
"""Default number of Hessian-vector products; each costs about two gradients. See the residual's column."""


@dataclass(frozen=True, kw_only=True)
class Sharpness(MetricProbe):
    """``sharpness``, never above the true value, and ``sharpness_residual``.

    Some eigenvalue of the Hessian lies within the residual of the value; where that is the largest and stands
    apart from the value by a gap to the next, the error is at most residual^2 / gap.

    Attributes:
        num_iterations: Lanczos steps, >= 1. As many vectors of all parameters are held a trial.

    Raises:
        UsageError: If ``num_iterations`` is below 1.
    """

    name = "sharpness"
    num_iterations: int = NUM_ITERATIONS

    def __post_init__(self) -> None:
        require_iterations(self.name, self.num_iterations)

    def columns(self, task: Task) -> tuple[Column, ...]:
        """Two columns.

        Raises:
            UsageError: If the task is a stream: it has no full training loss.
        """
        require_rows(self.name, task)
        return (
            Column(name="sharpness", type="float32", doc="largest eigenvalue of the training loss's Hessian"),
            Column(
                name="sharpness_residual", type="float32", doc="||H y - sharpness y|| of its unit vector y"
            ),
        )

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held
        ritz = largest_eigenvalue(hessian_product(view), random_start(view), self.num_iterations)
        return {"sharpness": ritz.value, "sharpness_residual": ritz.residual}


def hessian_product(view: TrialView) -> Callable[[Tensor], Tensor]:
    """The Hessian of the full training loss times a vector of all parameters, shape [n].

    The gradient is taken once; a product is one pass back through it.
    """
    pulled = vjp(grad(evaluation_loss(view, view.train)), view.params)
    pull = cast("tuple[Params, Callable[[Params], tuple[Params]]]", pulled)[1]
    return lambda vector: flatten(pull(unflatten(vector, view.params))[0])


def random_start(view: TrialView) -> Tensor:
    """Standard normal numbers of the trial at this step, shape [n]: a direction uniform on the sphere."""
    flat = flatten(view.params)
    return view.streams.normal("noise", (flat.shape[0],), flat.dtype)


def require_iterations(probe: str, num_iterations: int) -> None:
    """Raises UsageError unless there is at least one iteration."""
    if num_iterations < 1:
        msg = f"probe {probe}: got num_iterations {num_iterations}; allowed: >= 1"
        raise UsageError(msg)
