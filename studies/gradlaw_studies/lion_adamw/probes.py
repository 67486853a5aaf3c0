"""What this study measures where the training loss crosses a threshold: see :class:`MatchedLoss`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
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

ROWS_AT_ONCE = 1_000
"""Training rows of one pass: more are taken in parts."""


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
        assert snapshot.split is not None
        product, flat = _curvature(snapshot, snapshot.split.train)
        test = _set(snapshot, snapshot.split.test)
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


def _set(snapshot: Snapshot, rows: Tensor) -> Batch:
    """Rows of the data as a batch, as they are evaluated."""
    return snapshot.task.batch(rows, streams_of(snapshot.seed, device=rows.device))


Pull = Callable[[Params], tuple[Params]]


def _curvature(snapshot: Snapshot, rows: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The Hessian of the mean loss over rows times a vector of all parameters, and the gradient; both flat.

    Sums over parts of the rows. Of a single part the gradient is taken once, and a product is one pass back
    through it; of several none is kept, so that memory holds one part at a time.
    """
    parts = torch.split(rows, ROWS_AT_ONCE)

    def pulled(part: Tensor) -> tuple[Params, Pull]:
        batch = _set(snapshot, part)

        def loss(params: Params) -> Tensor:
            value = snapshot.task.loss(params, snapshot.buffers, batch, None, Taps(train=False)).loss
            return value * (len(part) / len(rows))

        return cast("tuple[Params, Pull]", vjp(grad(loss), snapshot.params))

    def product(vector: Tensor) -> Tensor:
        like = unflatten(vector, snapshot.params)
        return _sum(flatten(pull(like)[0]) for _, pull in passes())

    held = [pulled(part) for part in parts[:1]] if len(parts) == 1 else None

    def passes() -> Iterable[tuple[Params, Pull]]:
        return held or (pulled(part) for part in parts)

    return product, _sum(flatten(gradient) for gradient, _ in passes())


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, tensors)
