"""What this study measures where the training loss crosses a threshold: see :class:`MatchedLoss`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.func import grad, vjp

from gradlaw.ending import Target
from gradlaw.errors import ConfigurationError
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.probes.lanczos import largest_eigenvalue
from gradlaw.probes.sharpness import NUM_ITERATIONS
from gradlaw.probes.training_set import flatten, unflatten
from gradlaw.random import streams_of
from gradlaw.table import Table
from gradlaw.task import Batch, Params, Taps, Task
from gradlaw_studies.lion_adamw.tables import MATCHED_LOSS


@dataclass(frozen=True, kw_only=True)
class MatchedLoss(TableProbe):
    """The gradient's one-norms, sharpness and held-out scores at matched training loss (2502.02132, sec. 6).

    A trial is measured where ``train_loss``, a column of :class:`gradlaw.probes.FullLoss`, is at a threshold
    or below for the first time: at matched steps a faster trial would only be further on. Loss, gradient and
    Hessian are those of all training rows, in evaluation mode.

    Attributes:
        thresholds: Training losses, falling.
        eps: Of the perturbed one-norm, > 0, in squared gradients: that of the rule under study.
        num_iterations: Of Lanczos, >= 1: Hessian-vector products a threshold.

    Raises:
        ConfigurationError: If a setting is out of its range.
    """

    name = "matched_loss"

    thresholds: tuple[float, ...] = (0.5,)
    eps: float = 1e-6
    num_iterations: int = NUM_ITERATIONS

    def __post_init__(self) -> None:
        faults = []
        if not self.thresholds or sorted(set(self.thresholds), reverse=True) != list(self.thresholds):
            faults.append(
                f"probe matched_loss: got thresholds {self.thresholds}; allowed: one or more, falling"
            )
        if not 0.0 < self.eps < float("inf"):
            faults.append(f"probe matched_loss: got eps {self.eps!r}; allowed: > 0 and finite")
        if self.num_iterations < 1:
            faults.append(f"probe matched_loss: got num_iterations {self.num_iterations}; allowed: >= 1")
        if faults:
            raise ConfigurationError(faults)

    def tables(self) -> tuple[Table, ...]:
        """One table."""
        return (MATCHED_LOSS,)

    def at(self, steps: int) -> Sequence[int]:
        """None: it waits for crossings."""
        del steps
        return ()

    def crossings(self) -> tuple[Target, ...]:
        """The first logged step at each threshold or below it."""
        return tuple(Target(metric="train_loss", value=value) for value in self.thresholds)

    def faults(self, task: Task) -> list[str]:
        """The task must have rows of both kinds, and an accuracy."""
        if task.num_rows is None:
            return [f"got the stream {task.name}; allowed: tasks with rows"]
        if not len(task.split(streams_of(0)).test):
            return [f"got {task.name} with no row held out; allowed: one or more"]
        return []

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        """One row."""
        assert snapshot.crossing is not None
        train, test = _whole_sets(snapshot)
        product, gradient = _curvature(snapshot, train)
        flat = flatten(gradient)
        streams = streams_of(snapshot.seed, device=flat.device).at(part=snapshot.step)
        direction = streams.normal("noise", (flat.shape[0],), flat.dtype)
        out = snapshot.task.loss(snapshot.params, snapshot.buffers, test, None, Taps(train=False))
        wide = flat.double()
        values: dict[str, float | Tensor] = {
            "threshold": snapshot.crossing.value,
            "grad_l1": wide.abs().sum(),
            "grad_l1_perturbed": torch.sqrt(wide * wide + self.eps).sum(),
            "sharpness": largest_eigenvalue(product, direction, self.num_iterations).value,
            "test_loss": out.loss,
            "test_accuracy": snapshot.task.scores(out.outputs, test)["accuracy"],
        }
        return {
            MATCHED_LOSS.name: {
                "step": [snapshot.step],
                **{name: [float(value)] for name, value in values.items()},
            }
        }


def _whole_sets(snapshot: Snapshot) -> tuple[Batch, Batch]:
    """All training rows and all held-out rows."""
    split = snapshot.split
    assert split is not None
    streams = streams_of(snapshot.seed, device=split.train.device)
    return snapshot.task.batch(split.train, streams), snapshot.task.batch(split.test, streams)


def _curvature(snapshot: Snapshot, batch: Batch) -> tuple[Callable[[Tensor], Tensor], Params]:
    """The Hessian times a vector of all parameters, and the gradient, which is taken once."""

    def loss(params: Params) -> Tensor:
        return snapshot.task.loss(params, snapshot.buffers, batch, None, Taps(train=False)).loss

    pulled = vjp(grad(loss), snapshot.params)
    gradient, pull = cast("tuple[Params, Callable[[Params], tuple[Params]]]", pulled)
    return lambda vector: flatten(pull(unflatten(vector, snapshot.params))[0]), gradient
