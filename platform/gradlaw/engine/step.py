"""One trial's step as a pure function: sample, oracle, rule, accumulate, freeze what diverged.

Shapes here are of ONE trial; the engine vmaps these functions over a pack. Nothing in them looks at a
value on the host, so that they can be compiled and captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from gradlaw.engine.oracle import TrialOracle
from gradlaw.engine.sampling import Sampler
from gradlaw.engine.streams import User, streams_for
from gradlaw.pack import Training
from gradlaw.probe import MetricProbe, StepView, TrialView
from gradlaw.random import Streams
from gradlaw.rule import Hyper
from gradlaw.task import Batch, Buffers, Params, Pytree, Split, Task

RUNNING = 2**62
"""``stopped_at`` of a trial that has not diverged."""


class Fault(IntEnum):
    """Why a trial stopped."""

    NONE = 0
    LOSS_NOT_FINITE = 1
    LOSS_ABOVE_BOUND = 2
    PARAMETER_NOT_FINITE = 3


class Fixed(NamedTuple):
    """What of a trial does not move: seed (int64) and hyperparameters by name, scalars."""

    seed: Tensor
    hp: dict[str, Tensor]


class Moving(NamedTuple):
    """What of a trial moves. The last three are scalars: step and Fault (int64), loss at the fault."""

    params: Params
    buffers: Buffers
    state: Pytree
    held: tuple[Pytree, ...]
    stopped_at: Tensor
    fault: Tensor
    last_loss: Tensor


@dataclass(frozen=True)
class TrialProgram:
    """The functions of one trial that a pack batches.

    Attributes:
        training: The program.
        task: Its task on the device, in the dtype.
        sampler: How batches are drawn.
        probes: The program's metric probes.
    """

    training: Training
    task: Task
    sampler: Sampler
    probes: tuple[MetricProbe, ...]

    def block(self, fixed: Fixed, number: Tensor, num_train: int) -> Tensor:
        """Rows of a block of steps; see :meth:`gradlaw.engine.sampling.Sampler.block`."""
        return self.sampler.block(Streams(fixed.seed, torch.zeros_like(number)), number, num_train)

    def step(
        self, fixed: Fixed, split: Split | None, block: Tensor, moving: Moving, t: Tensor
    ) -> tuple[Moving, Tensor]:
        """The trial after step ``t``, and the step's loss at the parameters before it."""
        hp = self._scheduled(fixed.hp, t)
        oracle = self._oracle(fixed, split, block, moving, t)
        params, state = self.training.rule.step(oracle, moving.params, moving.state, hp, t)
        loss, buffers = oracle.outcome()
        view = StepView(loss=loss, grad=oracle.gradient, params=moving.params, moved=params, hp=hp, t=t)
        held = tuple(
            probe.accumulate(held, view) for probe, held in zip(self.probes, moving.held, strict=True)
        )
        moved = Moving(params, buffers, state, held, moving.stopped_at, moving.fault, loss)
        return self._guard(moving, moved, loss, t), loss

    def evaluate(
        self, fixed: Fixed, split: Split | None, block: Tensor, moving: Moving, t: Tensor
    ) -> tuple[Moving, Tensor]:
        """As :meth:`step`, without moving: the loss of the batch that step ``t`` would use."""
        loss, _ = self._oracle(fixed, split, block, moving, t).outcome()
        return self._guard(moving, moving._replace(last_loss=loss), loss, t), loss

    def read(self, fixed: Fixed, split: Split | None, moving: Moving, t: Tensor) -> dict[str, Tensor]:
        """The probes' columns before step ``t``, scalars."""
        if not self.probes:
            return {}
        train, test = self._whole_sets(fixed, split, t)
        view = TrialView(
            task=self.task,
            rule=self.training.rule,
            params=moving.params,
            buffers=moving.buffers,
            state=moving.state,
            train=train,
            test=test,
            streams=streams_for(Streams(fixed.seed, t), User.PROBE),
            hp=self._scheduled(fixed.hp, t),
            t=t,
        )
        read = [probe.read(held, view) for probe, held in zip(self.probes, moving.held, strict=True)]
        return {name: value for columns in read for name, value in columns.items()}

    def _scheduled(self, hp: Hyper, t: Tensor) -> Hyper:
        return {**hp, "lr": self.training.schedule.lr(t, hp)} if "lr" in hp else hp

    def _oracle(
        self, fixed: Fixed, split: Split | None, block: Tensor, moving: Moving, t: Tensor
    ) -> TrialOracle:
        streams = Streams(fixed.seed, t)
        return TrialOracle(
            self.task,
            moving.params,
            moving.buffers,
            lambda number: self.sampler.draw(streams, split, block, number),
        )

    def _whole_sets(self, fixed: Fixed, split: Split | None, t: Tensor) -> tuple[Batch | None, Batch | None]:
        if split is None:
            return None, None
        streams = streams_for(Streams(fixed.seed, torch.zeros_like(t)), User.EVALUATION)
        has_test = split.test.shape[0] > 0
        return self.task.batch(split.train, streams), (
            self.task.batch(split.test, streams.at(part=1)) if has_test else None
        )

    def _guard(self, before: Moving, after: Moving, loss: Tensor, t: Tensor) -> Moving:
        """``after`` where the trial runs and is sound, else ``before`` with the fault noted once."""
        fault = self._fault(loss, after.params)
        running = before.stopped_at == RUNNING
        sound = running & (fault == Fault.NONE)
        kept = tree_map(lambda new, old: torch.where(sound, new, old), after, before)
        stops = running & (fault != Fault.NONE)
        return Moving(
            kept.params,
            kept.buffers,
            kept.state,
            kept.held,
            torch.where(stops, t, before.stopped_at),
            torch.where(stops, fault, before.fault),
            torch.where(running, loss, before.last_loss),
        )

    def _fault(self, loss: Tensor, params: Params) -> Tensor:
        finite = [torch.isfinite(value).all() for value in params.values()]
        sound = torch.stack(finite).all() if finite else torch.ones_like(loss, dtype=torch.bool)
        fault = torch.where(sound, int(Fault.NONE), int(Fault.PARAMETER_NOT_FINITE))
        fault = torch.where(loss > self.training.loss_bound, int(Fault.LOSS_ABOVE_BOUND), fault)
        return torch.where(torch.isfinite(loss), fault, int(Fault.LOSS_NOT_FINITE))
