"""Loss and scores over all training rows and all held-out rows.

    train_loss = (1 / N) sum_{i in train} l_i(theta),     test_loss likewise over held-out rows

in evaluation: batch norm takes its running statistics, nothing is dropped. The scores a task declares
(accuracy, say) come beside them. This is the empirical risk; see Bottou, Curtis and Nocedal 1606.04838,
section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.probe import MetricProbe, TrialView
from gradlaw.probes.training_set import require_rows
from gradlaw.random import streams_of
from gradlaw.table import Column
from gradlaw.task import Batch, Pytree, Taps, Task


@dataclass(frozen=True, kw_only=True)
class FullLoss(MetricProbe):
    """``train_loss`` and, where rows are held out, ``test_loss``; ``train_*``, ``test_*`` for each score."""

    name = "full_loss"

    def columns(self, task: Task) -> tuple[Column, ...]:
        """Two columns a measure; found by evaluating two rows.

        Raises:
            UsageError: If the task is a stream: it has no rows to average over.
        """
        scores, has_test = _measures(task)
        sets = ("train", "test") if has_test else ("train",)
        return tuple(
            Column(name=f"{name}_{measure}", type="float32", doc=f"{measure} over all {name} rows")
            for name in sets
            for measure in ("loss", *scores)
        )

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        del held
        sets = {"train": view.train, "test": view.test}
        return {
            f"{name}_{measure}": value
            for name, batch in sets.items()
            if batch is not None
            for measure, value in _evaluate(view, batch)
        }


def _evaluate(view: TrialView, batch: Batch) -> Iterator[tuple[str, Tensor]]:
    out = view.task.loss(view.params, view.buffers, batch, None, Taps(train=False))
    yield "loss", out.loss
    yield from view.task.scores(out.outputs, batch).items()


def _measures(task: Task) -> tuple[tuple[str, ...], bool]:
    """Names of the task's scores, and whether it holds rows out."""
    require_rows(FullLoss.name, task)
    streams = streams_of(0)
    task = task.to(torch.device("cpu"), torch.float64)
    split = task.split(streams)
    params, buffers = task.init(streams)
    batch = task.batch(split.train[:2], streams)  # two: a norm over the batch cannot do with one
    out = task.loss(params, buffers, batch, None, Taps(train=False))
    return tuple(task.scores(out.outputs, batch)), split.test.shape[0] > 0
