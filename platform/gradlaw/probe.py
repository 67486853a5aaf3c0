"""Probes: quantities measured along a trial. One file each in ``gradlaw.probes``, citing its formula.

A :class:`MetricProbe` adds columns to ``metrics`` and runs in the batched program. A
:class:`TableProbe` adds rows to a declared table at chosen steps and sees snapshots of trials; since a
snapshot is all it needs, it can also be run later on stored weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray
from torch import Tensor

from gradlaw.ending import Target
from gradlaw.fingerprint import digest
from gradlaw.hyperparameter import Scalar
from gradlaw.random import Streams
from gradlaw.rule import Hyper, Rule
from gradlaw.table import Column, Table
from gradlaw.task import Batch, Buffers, Params, Pytree, Split, Task

Columns = Mapping[str, NDArray[Any] | Sequence[object]]
"""Rows by column: arrays or sequences of one length."""


@dataclass(frozen=True, kw_only=True)
class StepView:
    """What an accumulating probe sees of one trial after each step; all tensors, under vmap.

    Attributes:
        loss: Loss of this step's batch at the parameters before the step.
        grad: Its gradient there, where the rule asked for it; else None.
        params, moved: Parameters before and after the step.
        hp: Hyperparameters, ``lr`` the schedule's.
        t: The step, from 0.
    """

    loss: Tensor
    grad: Params | None
    params: Params
    moved: Params
    hp: Hyper
    t: Tensor


@dataclass(frozen=True, kw_only=True)
class TrialView:
    """What a metric probe sees of one trial at a logged step; all tensors, under vmap.

    Attributes:
        task, rule: What is trained, and how.
        params, buffers: Before step ``t``.
        state: The rule's.
        train, test: All training rows and all held-out rows as batches; None for a stream, or where
            nothing is held out.
        streams: The probe's own at this step: what it draws disturbs nothing else.
        hp: Hyperparameters, ``lr`` the schedule's.
        t: Steps done so far.
    """

    task: Task
    rule: Rule
    params: Params
    buffers: Buffers
    state: Pytree
    train: Batch | None
    test: Batch | None
    streams: Streams
    hp: Hyper
    t: Tensor


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One trial at one step, for a table probe: tensors of this trial alone, no pack dimension.

    Attributes:
        task: The task, on the tensors' device.
        params, buffers: After ``step`` steps.
        split: The trial's rows; None for a stream.
        hyperparameters: Resolved values, the engine's (``batch_size``, ``sampling``) among them.
        seed: The trial's.
        step: Steps done so far.
        steps: Steps of the whole trial.
        state: The rule's; None where weights that were kept are measured again.
        crossing: What the trial has just crossed, where that is why it is measured; None where it is due by
            the step.
    """

    task: Task
    params: Params
    buffers: Buffers
    split: Split | None
    hyperparameters: Mapping[str, Scalar]
    seed: int
    step: int
    steps: int
    state: Pytree | None = None
    crossing: Target | None = None


class Probe(ABC):
    """Common to both kinds. A probe is a frozen dataclass of its settings, or has none."""

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    def digest(self) -> str:
        """``name@version:`` and a digest of the settings: what a trial must have been measured with."""
        return f"{self.name}@{self.version}:{digest(vars(self), length=8)}"


class MetricProbe(Probe):
    """Adds columns to ``metrics``; written for one trial in torch, vmapped by the engine."""

    @abstractmethod
    def columns(self, task: Task) -> tuple[Column, ...]:
        """The columns it adds for this task: float32 or float64."""

    def init(self, params: Params) -> Pytree:
        """The accumulator before step 0; () where nothing accumulates."""
        del params
        return ()

    def accumulate(self, held: Pytree, view: StepView) -> Pytree:
        """The accumulator after a step."""
        del view
        return held

    @abstractmethod
    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        """The value of each column, scalars, at a logged step."""


class TableProbe(Probe):
    """Adds rows to declared tables at chosen steps.

    Attributes:
        needs_state: Whether it reads the rule's state, which no store keeps: then weights that were kept are
            not enough to measure it again.
    """

    needs_state: ClassVar[bool] = False

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """The tables it fills."""

    @abstractmethod
    def at(self, steps: int) -> Sequence[int]:
        """Steps (0: before training, ``steps``: after it) at which it measures a trial of ``steps``."""

    def crossings(self) -> tuple[Target, ...]:
        """At each of these it measures too: at the first logged step where the metric is there or past it.

        A metric is a column of a metric probe of the same grid. What a trial never crosses gives no row.
        """
        return ()

    def faults(self, task: Task) -> list[str]:
        """Why it cannot measure this task, a line a fault, known before anything runs; none by default."""
        del task
        return []

    @abstractmethod
    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        """Rows by table name; ``step`` is given by the probe where the table declares it."""

    def rows_together(self, snapshots: Iterable[Snapshot]) -> Iterator[Mapping[str, Columns]]:
        """Rows of several trials of one batch at one step, in their order: by default one after the other.

        For a probe whose work is batched over trials, as Hessian-vector products are. A snapshot is made when
        it is taken, so that what takes one at a time holds one at a time. What is given may differ from
        :meth:`rows` by rounding alone.
        """
        return (self.rows(snapshot) for snapshot in snapshots)
