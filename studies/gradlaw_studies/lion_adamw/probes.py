"""What this study measures where the training loss crosses a threshold: see :class:`MatchedLoss`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.func import grad, vjp
from torch.utils._pytree import tree_map

from gradlaw.ending import Target
from gradlaw.errors import ConfigurationError
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.probes.lanczos import largest_eigenvalue
from gradlaw.probes.sharpness import NUM_ITERATIONS
from gradlaw.probes.training_set import flatten, unflatten
from gradlaw.random import Streams, streams_of
from gradlaw.table import Table
from gradlaw.task import Buffers, Params, Split, Taps, Task
from gradlaw_studies.lion_adamw.tables import MATCHED_LOSS

ROWS_AT_ONCE = 1_000
"""Training rows of one pass: more are taken in parts."""

ROWS_TOGETHER = 16_000
"""Rows of all trials of one pass: more than 16 trials of a thousand rows at once are no faster on a CPU."""

PARAMETERS_TOGETHER = 1_000_000
"""Likewise of the parameters; as many vectors of them are held as Lanczos has iterations."""


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
        return _row(snapshot, self._values(snapshot.task, _inputs(snapshot)))

    def rows_together(self, snapshots: Iterable[Snapshot]) -> Iterator[Mapping[str, Columns]]:
        """As one program over the trials; few trials at once where each has many rows."""
        waiting = iter(snapshots)
        for first in waiting:
            num = _together(first)
            group = [first, *itertools.islice(waiting, num - 1)]
            if len(group) == 1:
                yield self.rows(first)
                continue
            inputs = tree_map(lambda *leaves: torch.stack(leaves), *map(_inputs, group))
            values = torch.vmap(functools.partial(self._values, first.task))(inputs)
            for place, snapshot in enumerate(group):
                yield _row(snapshot, {name: value[place] for name, value in values.items()})

    def _values(self, task: Task, inputs: Inputs) -> dict[str, Tensor]:
        """What is measured of one trial, each a scalar; under vmap too."""
        product, flat = _curvature(task, inputs)
        test = task.batch(inputs.split.test, inputs.streams())
        out = task.loss(inputs.params, inputs.buffers, test, None, Taps(train=False))
        wide = flat.double()
        return {
            "grad_l1": wide.abs().sum(),
            "grad_l1_perturbed": torch.sqrt(wide * wide + self.eps).sum(),
            "sharpness": largest_eigenvalue(product, inputs.direction, self.num_iterations).value,
            "test_loss": out.loss,
            "test_accuracy": task.scores(out.outputs, test)["accuracy"],
        }


class Inputs(NamedTuple):
    """What a measurement takes of one trial; all tensors.

    Attributes:
        params, buffers, split: The snapshot's.
        seed: The trial's.
        direction: Where Lanczos begins, shape [n].
    """

    params: Params
    buffers: Buffers
    split: Split
    seed: Tensor
    direction: Tensor

    def streams(self) -> Streams:
        """The trial's."""
        return Streams(self.seed, torch.zeros_like(self.seed))


def _inputs(snapshot: Snapshot) -> Inputs:
    assert snapshot.split is not None
    flat = flatten(snapshot.params)
    streams = streams_of(snapshot.seed, device=flat.device)
    direction = streams.at(part=snapshot.step).normal("noise", (flat.shape[0],), flat.dtype)
    return Inputs(snapshot.params, snapshot.buffers, snapshot.split, streams.seed, direction)


def _together(snapshot: Snapshot) -> int:
    """How many trials like this one are measured at once."""
    assert snapshot.split is not None
    if not snapshot.task.vmappable:
        return 1
    num_rows = max(len(rows) for rows in snapshot.split)
    num_params = sum(value.numel() for value in snapshot.params.values())
    return max(1, min(ROWS_TOGETHER // num_rows, PARAMETERS_TOGETHER // num_params))


def _row(snapshot: Snapshot, values: Mapping[str, Tensor]) -> Mapping[str, Columns]:
    assert snapshot.crossing is not None
    measured = {name: [float(value)] for name, value in values.items()}
    return {
        MATCHED_LOSS.name: {
            "step": [snapshot.step],
            "threshold": [snapshot.crossing.value],
            **measured,
        }
    }


Pull = Callable[[Params], tuple[Params]]


def _curvature(task: Task, inputs: Inputs) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The Hessian of the mean loss over training rows times a vector, and its gradient; flat.

    Sums over parts of the rows. Of a single part the gradient is taken once, and a product is one pass back
    through it; of several none is kept, so that memory holds one part at a time.
    """
    rows = inputs.split.train
    parts = torch.split(rows, ROWS_AT_ONCE)

    def pulled(part: Tensor) -> tuple[Params, Pull]:
        batch = task.batch(part, inputs.streams())

        def loss(params: Params) -> Tensor:
            value = task.loss(params, inputs.buffers, batch, None, Taps(train=False)).loss
            return value * (len(part) / len(rows))

        return cast("tuple[Params, Pull]", vjp(grad(loss), inputs.params))

    def product(vector: Tensor) -> Tensor:
        like = unflatten(vector, inputs.params)
        return _sum(flatten(pull(like)[0]) for _, pull in passes())

    held = [pulled(part) for part in parts[:1]] if len(parts) == 1 else None

    def passes() -> Iterable[tuple[Params, Pull]]:
        return held or (pulled(part) for part in parts)

    return product, _sum(flatten(gradient) for gradient, _ in passes())


def _sum(tensors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, tensors)
