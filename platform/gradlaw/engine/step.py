"""One trial's step as a pure function: sample, oracle, rule, accumulate, note what diverged.

Shapes here are of ONE trial; the engine vmaps these functions over a pack. Nothing in them looks at a
value on the host, so that they can be compiled and captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_map, tree_unflatten

from gradlaw.engine.oracle import TrialOracle
from gradlaw.engine.sampling import Sampler
from gradlaw.engine.streams import User, streams_for
from gradlaw.errors import UsageError
from gradlaw.pack import Training
from gradlaw.probe import MetricProbe, StepView, TrialView
from gradlaw.random import Streams
from gradlaw.rule import Hyper
from gradlaw.task import Batch, Buffers, Params, Pytree, Split, Task

RUNNING = 2**62
"""``ended_at`` of a trial that runs."""


class Ending(IntEnum):
    """Why a trial ended before its last step."""

    NONE = 0
    LOSS_NOT_FINITE = 1
    LOSS_ABOVE_BOUND = 2
    PARAMETER_NOT_FINITE = 3
    REACHED_TARGET = 4
    STOPPED = 5


class Fixed(NamedTuple):
    """What of a trial does not move: seed (int64) and hyperparameters by name, ``steps`` too, scalars."""

    seed: Tensor
    hp: dict[str, Tensor]


class Moving(NamedTuple):
    """What of a trial moves. The last three are scalars: step and Ending (int64), the latest loss.

    A trial that diverged moves on, to no effect: what it leaves behind is not read.
    """

    params: Params
    buffers: Buffers
    state: Pytree
    held: tuple[Pytree, ...]
    ended_at: Tensor
    ending: Tensor
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
        fault = self._fault(loss, params, t >= hp["steps"])
        running = moving.ended_at == RUNNING
        ends = running & (fault != Ending.NONE)
        moved = Moving(
            params,
            buffers,
            state,
            held,
            torch.where(ends, t, moving.ended_at),
            torch.where(ends, fault, moving.ending),
            torch.where(running, loss.to(moving.last_loss.dtype), moving.last_loss),
        )
        moved = _like(moved, moving)
        if self.training.target is not None:  # what reached it stays there
            moved = tree_map(lambda new, old: torch.where(running, new, old), moved, moving)
        return moved, loss

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
            accumulate=self.training.accumulate,
        )

    def _whole_sets(self, fixed: Fixed, split: Split | None, t: Tensor) -> tuple[Batch | None, Batch | None]:
        if split is None:
            return None, None
        streams = streams_for(Streams(fixed.seed, torch.zeros_like(t)), User.EVALUATION)
        has_test = split.test.shape[0] > 0
        return self.task.batch(split.train, streams), (
            self.task.batch(split.test, streams.at(part=1)) if has_test else None
        )

    def _fault(self, loss: Tensor, params: Params, last: Tensor) -> Tensor:
        """What is wrong with a step; the parameters after the ``last`` belong to no trial."""
        # zero times a number that is not finite is not a number: one pass, without a mask an element
        zeros = [(value * 0.0).sum() for value in params.values() if value.is_floating_point()]
        sound = torch.isfinite(torch.stack(zeros).sum()) if zeros else torch.isfinite(torch.zeros_like(loss))
        fault = torch.where(sound | last, int(Ending.NONE), int(Ending.PARAMETER_NOT_FINITE))
        fault = torch.where(loss > self.training.loss_bound, int(Ending.LOSS_ABOVE_BOUND), fault)
        return torch.where(torch.isfinite(loss), fault, int(Ending.LOSS_NOT_FINITE))


def _like(moved: Moving, moving: Moving) -> Moving:
    """What moved, in the order of what was there before: a step takes tensors by their places.

    Raises:
        UsageError: It is no longer of the structure, the shapes or the dtypes of the start.
    """
    named, spec = tree_flatten_with_path(moving)
    try:
        leaves = spec.flatten_up_to(moved)
        faults = [
            f"{keystr(path)}: got {tuple(new.shape)} {new.dtype}, at the start {tuple(old.shape)} {old.dtype}"
            for (path, old), new in zip(named, map(torch.as_tensor, leaves), strict=True)
            if (new.shape, new.dtype) != (old.shape, old.dtype)
        ]
    except (ValueError, TypeError, RuntimeError) as error:
        faults = [str(error)]
    if faults:
        msg = f"what a step moves keeps the structure, shapes and dtypes of the start: {'; '.join(faults)}"
        raise UsageError(msg)
    like: Moving = tree_unflatten(leaves, spec)
    return like
