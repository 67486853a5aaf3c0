"""One batch of members, trained together from the first step to the last."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from gradlaw.engine.batched import alone, vmapped
from gradlaw.engine.clock import Clock
from gradlaw.engine.members import stack_fixed, stack_moving, stack_splits
from gradlaw.engine.results import Execution, TrialResult
from gradlaw.engine.rows import PendingRows, declared
from gradlaw.engine.step import RUNNING, Fault, TrialProgram
from gradlaw.errors import ConfigurationError
from gradlaw.pack import Member, Training
from gradlaw.probe import Snapshot, TableProbe
from gradlaw.trial import State

_DRAIN_ROWS = 256  # logged steps kept on the device before the host looks


class Batch:
    """Members stacked along a leading dimension, and the batched functions that move them.

    Args:
        program: The functions of one trial.
        members: The members of this batch.
        execution: Device, mode and width; the last member is repeated to fill the width.
    """

    def __init__(self, program: TrialProgram, members: Sequence[Member], execution: Execution) -> None:
        self._program, self._members, self._execution = program, members, execution
        padded = [*members, *[members[-1]] * (execution.width - len(members))]
        device = torch.device(execution.device)
        self._split = stack_splits(program.training.task, padded, device)
        self._fixed = stack_fixed(program.training, padded, device)
        self._moving = stack_moving(program, padded, device)
        self._rows = torch.zeros(len(padded), 0, dtype=torch.int64, device=device)
        self._t = torch.tensor(0, device=device)
        self._batch_functions()

    def _batch_functions(self) -> None:
        batched = alone if self._execution.mode == "loop" else vmapped
        self._own_split = self._split is not None and self._split.train.ndim == 2
        split = 0 if self._own_split else None
        self._step = batched(self._program.step, (0, split, 0, 0, None))
        self._evaluate = batched(self._program.evaluate, (0, split, 0, 0, None))
        self._read = batched(self._program.read, (0, split, 0, None))
        self._block = batched(self._program.block, (0, None, None))

    def run(self, pending: PendingRows, clock: Clock) -> Generator[int, None, list[TrialResult]]:
        """Trains to the end, to the time limit, or until every member has diverged.

        Yields:
            Steps done, whenever a flush is due; all rows up to there are with the recorder.
        """
        training, started = self._program.training, time.monotonic()
        probes = _due(training)
        step, timed_out = 0, False
        for step in range(training.steps + 1):
            timed_out = clock.over()
            if timed_out:
                break
            self._advance(step, probes.get(step, ()), pending)
            flush = clock.flush_due()
            if flush or len(pending) >= _DRAIN_ROWS:
                pending.drain(self._moving.stopped_at, step)
                if not bool((self._moving.stopped_at == RUNNING).any()):
                    break
            if flush:
                yield step
        pending.drain(self._moving.stopped_at, step)
        wall_s = (time.monotonic() - started) / len(self._members)
        return self._results(step if timed_out else None, wall_s)

    def _advance(self, step: int, probes: Sequence[TableProbe], pending: PendingRows) -> None:
        training = self._program.training
        last = step == training.steps
        logged = last or step % training.log_every == 0
        self._draw_block(step)
        for member in range(len(self._members)) if probes else ():
            self._measure(step, member, probes, pending)
        values = self._read(self._fixed, self._split, self._moving, self._t) if logged else {}
        move = self._evaluate if last else self._step
        self._moving, loss = move(self._fixed, self._split, self._rows, self._moving, self._t)
        if logged:
            pending.add_metrics(step, {**values, "loss": loss})
        self._t = self._t + 1

    def _draw_block(self, step: int) -> None:
        """Draws the rows of a block of steps when it begins."""
        sampler = self._program.sampler
        if sampler.block_steps == 0 or step % sampler.block_steps:
            return
        assert self._split is not None
        number = torch.full_like(self._t, step // sampler.block_steps)
        self._rows = self._block(self._fixed, number, self._split.train.shape[-1])

    def _measure(self, step: int, member: int, probes: Sequence[TableProbe], pending: PendingRows) -> None:
        """Table probes of one member at the parameters before a step, unless it has diverged."""
        if int(self._moving.stopped_at[member]) != RUNNING:
            return
        own = self._members[member]
        params, buffers = tree_map(lambda leaf: leaf[member], (self._moving.params, self._moving.buffers))
        split = self._split
        snapshot = Snapshot(
            task=self._program.task,
            params=params,
            buffers=buffers,
            split=tree_map(lambda leaf: leaf[member], split) if self._own_split else split,
            hyperparameters=own.hyperparameters,
            seed=own.trial.seed,
            step=step,
            steps=self._program.training.steps,
        )
        for probe in probes:
            for name, columns in probe.rows(snapshot).items():
                table = declared(name, probe.tables(), f"probe {probe.name}")
                pending.add_rows(step, member, table, columns)

    def _results(self, timed_out_at: int | None, wall_s: float) -> list[TrialResult]:
        stops = zip(
            self._members,
            _listed(self._moving.stopped_at),
            _listed(self._moving.fault),
            _listed(self._moving.last_loss),
            strict=False,  # padding follows the members
        )
        results = []
        for member, stopped_at, fault, loss in stops:
            state, reason, steps = State.DONE, "", self._program.training.steps
            if stopped_at != RUNNING:
                state, steps = State.DIVERGED, int(stopped_at)
                reason = self._reason(Fault(int(fault)), loss, steps)
            elif timed_out_at is not None:
                state, steps = State.TIMED_OUT, timed_out_at
                reason = f"time limit reached after {steps} of {self._program.training.steps} steps"
            results.append(
                TrialResult(
                    trial_id=member.trial.trial_id,
                    state=state,
                    reason=reason,
                    steps_done=steps,
                    wall_s=wall_s,
                    execution=self._execution,
                )
            )
        return results

    def _reason(self, fault: Fault, loss: float, step: int) -> str:
        bound = self._program.training.loss_bound
        return {
            Fault.NONE: "",
            Fault.LOSS_NOT_FINITE: f"loss {loss} at step {step}",
            Fault.LOSS_ABOVE_BOUND: f"loss {loss:g} above the bound {bound:g} at step {step}",
            Fault.PARAMETER_NOT_FINITE: f"a parameter was not finite after step {step}",
        }[fault]


def _listed(values: Tensor) -> list[float]:
    listed: list[float] = values.cpu().tolist()
    return listed


def _due(training: Training) -> dict[int, list[TableProbe]]:
    """The table probes by the step at which they measure."""
    due: dict[int, list[TableProbe]] = {}
    for probe in training.probes:
        if not isinstance(probe, TableProbe):
            continue
        steps = set(probe.at(training.steps))
        outside = sorted(step for step in steps if not 0 <= step <= training.steps)
        if outside:
            msg = f"probe {probe.name}: got steps {outside}; allowed: 0 .. {training.steps}"
            raise ConfigurationError([msg])
        for step in steps:
            due.setdefault(step, []).append(probe)
    return due
