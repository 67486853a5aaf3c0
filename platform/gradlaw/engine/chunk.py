"""One batch of members on its way through a segment of steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from gradlaw.ending import Direction, Target
from gradlaw.engine.checkpoint import Part
from gradlaw.engine.clock import Clock
from gradlaw.engine.compiled import Flattened
from gradlaw.engine.crossings import Watch, past
from gradlaw.engine.functions import Functions, explain_vmap
from gradlaw.engine.members import Stack
from gradlaw.engine.memory import is_out_of_memory
from gradlaw.engine.rows import PendingRows, Sink, declared
from gradlaw.engine.step import RUNNING, Ending, Moving
from gradlaw.errors import ConfigurationError
from gradlaw.pack import Member, Training
from gradlaw.probe import Snapshot, TableProbe
from gradlaw.task import Task

_SCALARS = 3  # ended_at, ending and last_loss are the last tensors of Moving
_LAST_LOSS, _ENDING, _ENDED_AT = -1, -2, -3


class Asked(NamedTuple):
    """A member to be measured by a table probe.

    Attributes:
        probe, place: Which, and whose.
        mark: Names a reason that comes once; "" where it is due by the step.
        crossing: What was crossed, where that is the reason.
    """

    probe: TableProbe
    place: int
    mark: str = ""
    crossing: Target | None = None


class Chunk:
    """Members that move together, from step to step.

    Args:
        training: Their program; that of the functions may be an earlier pack's, with other table probes.
        members: The members; the stack may be wider (padding).
        stack: Their tensors.
        functions: For the stack's width.
        sink: Takes their rows.
        step: The last step they took; 0 at the start.
    """

    def __init__(
        self,
        training: Training,
        members: Sequence[Member],
        stack: Stack,
        functions: Functions,
        sink: Sink,
        step: int,
    ) -> None:
        self.members = members
        self._stack, self._functions, self._sink = stack, functions, sink
        self._training = training
        self._pending = PendingRows(sink, [member.trial for member in members])
        self._ends = {member.trial.steps for member in members}
        self._due = {steps: probes_due(self._training, steps) for steps in self._ends}
        self._watch = Watch(training, members, sink.recorded)
        self._constants = Flattened.leaves((stack.fixed, stack.split))
        self._moving = Flattened.leaves(stack.moving)
        self._before = self._moving
        self._rows: Tensor | None = None
        self._values: dict[str, Tensor] = {}
        self.step = step
        self.timed_out = False

    def advance(self, first: int, last: int, clock: Clock) -> Iterator[int]:
        """Runs steps ``first`` .. ``last``, or until the clock is over.

        Yields:
            The step after which a flush is due; all rows up to there are with the recorder.
        """
        t = torch.tensor(first, device=self._stack.device)
        for self.step in range(first, last + 1):
            if clock.over():
                self.timed_out = True
                break
            t = self._take(self.step, t)
            if clock.flush_due():
                self._drain()
                yield self.step
        self._drain()
        captured = self._functions.step.captured  # then the next chunk's steps write where these tensors lie
        self._moving = [_in_order(tensor, copy=captured) for tensor in self._moving]

    def ended(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Step and :class:`Ending` (RUNNING and NONE where none yet) and latest loss of each member."""
        size = len(self.members)
        ended_at, ending, loss = (item[:size].cpu().numpy() for item in self._moving[-_SCALARS:])
        return ended_at, ending, loss

    def metric(self, name: str) -> NDArray[Any]:
        """A column of the latest row, one value a member."""
        return self._values[name][: len(self.members)].double().cpu().numpy()

    def stop(self, positions: Sequence[int]) -> None:
        """Ends members at this step, whose row is their last, and takes the step itself back."""
        index = torch.tensor(positions, device=self._stack.device)
        taken = [
            new.index_copy(0, index, old[index]) for new, old in zip(self._moving, self._before, strict=True)
        ]
        taken[_ENDED_AT] = taken[_ENDED_AT].index_fill(0, index, self.step)
        taken[_ENDING] = taken[_ENDING].index_fill(0, index, int(Ending.STOPPED))
        self._moving = taken

    def measure_ends(self, positions: Sequence[int], steps_done: Sequence[int]) -> None:
        """Table probes due at the last step, of members that ended early, unless they measured there."""
        for place, step in zip(positions, steps_done, strict=True):
            steps = self.members[place].trial.steps
            due, measured = (self._due[steps].get(at, ()) for at in (steps, step))
            self._measure(step, [Asked(probe, place, "end") for probe in due if probe not in measured])
        self._drain()

    def part(self) -> Part:
        """What a checkpoint keeps of it; after a segment, when no row waits."""
        return Part(tuple(member.trial.trial_id for member in self.members), self._moving)

    def stack(self) -> Stack:
        """The members' tensors now."""
        return self._stack.with_moving(self._restored())

    def _take(self, step: int, t: Tensor) -> Tensor:
        """One step; the next ``t``."""
        training = self._training
        logged = step % training.log_every == 0 or step in self._ends
        self._measure_due(step)
        self._before = self._moving
        try:
            values = self._read(t) if logged else {}
            self._measure_crossings(step, values)
            inputs = [*self._constants, self._rows_of(step, t), *self._moving, t]
            *self._moving, loss, t = self._functions.step.call(*inputs)
        except Exception as error:
            if self._functions.mode != "eager" or step > 0 or is_out_of_memory(error):
                raise
            explained = explain_vmap(error, self._functions.program, self._stack)
            raise explained from (error if explained is not error else None)
        if logged:
            captured = self._functions.step.captured
            self._values = {**values, "loss": loss.clone() if captured else loss}
            self._pending.add_metrics(step, self._values)
            self._mark_reached(step)
        return t

    def _read(self, t: Tensor) -> dict[str, Tensor]:
        if not self._functions.program.probes:
            return {}
        read = self._functions.read
        values: dict[str, Tensor] = read.restore(read.call(*self._constants, *self._moving, t))
        # copies: a probe may give what it holds, and a compiled step writes over its inputs
        return {name: value.clone() for name, value in values.items()}

    def _rows_of(self, step: int, t: Tensor) -> Tensor:
        size = self._functions.program.sampler.block_steps
        if self._rows is None or (size and step % size == 0):
            self._rows = self._functions.rows(self._stack, t)
        return self._rows

    def _mark_reached(self, step: int) -> None:
        """Ends who is at the target, at the parameters before this step, and logs here."""
        target = self._training.target
        if target is None:
            return
        value = self._values[target.metric]
        there = past(value, target)
        if step % self._training.log_every:  # logged for those alone whose last step it is
            there &= self._stack.fixed.hp["steps"] == step
        # what the step made of the parameters is of no account
        spoilt = self._moving[_ENDING] == int(Ending.PARAMETER_NOT_FINITE)
        ended_at = self._moving[_ENDED_AT]
        reached = there & ((ended_at == RUNNING) | (spoilt & (ended_at == step)))
        moving = [
            torch.where(reached.reshape(-1, *[1] * (new.ndim - 1)), old, new)
            for new, old in zip(self._moving, self._before, strict=True)
        ]
        moving[_ENDED_AT] = torch.where(reached, step, moving[_ENDED_AT])
        moving[_ENDING] = torch.where(reached, int(Ending.REACHED_TARGET), moving[_ENDING])
        self._moving = moving

    def _measure_due(self, step: int) -> None:
        if not any(step in due for due in self._due.values()):
            return
        running = (self._moving[_ENDED_AT].cpu() == RUNNING).tolist()
        asked = [
            Asked(probe, place)
            for place, member in enumerate(self.members)
            if running[place]
            for probe in self._due[member.trial.steps].get(step, ())
        ]
        self._measure(step, asked)

    def _measure_crossings(self, step: int, values: Mapping[str, Tensor]) -> None:
        if values:
            crossed = self._watch.crossed(step, values, self._moving[_ENDED_AT])
            asked = [Asked(probe, place, mark, target) for place, (probe, target, mark) in crossed]
            self._measure(step, asked)

    def _measure(self, step: int, asked: Sequence[Asked]) -> None:
        """Table probes of members at their parameters now, each probe's members together."""
        if not asked:
            return
        task, stack = self._functions.program.task, self.stack()
        for probe in {id(item.probe): item.probe for item in asked}.values():
            own = [item for item in asked if item.probe is probe]
            snapshots = (
                snapshot_of(task, stack, self.members[item.place], item.place, step, item.crossing)
                for item in own
            )
            for item, rows in zip(own, probe.rows_together(snapshots), strict=True):
                for name, columns in rows.items():
                    table = declared(name, probe.tables(), f"probe {probe.name}")
                    self._pending.add_rows(step, item.place, table, columns, item.mark)
                if item.mark:
                    self._pending.add_mark(step, item.place, item.mark)

    def _restored(self) -> Moving:
        moving: Moving = Flattened.rebuild(self._stack.moving, self._moving)
        return moving

    def _drain(self) -> None:
        ended_at, ending, _ = self.ended()
        kept = np.isin(ending, [int(Ending.REACHED_TARGET), int(Ending.STOPPED)])
        self._pending.drain(np.where(kept, ended_at + 1, ended_at), self.step)


def _in_order(tensor: Tensor, *, copy: bool) -> Tensor:
    """The tensor as one read from a checkpoint lies in memory: by its strides kernels are chosen."""
    in_order = tensor.stride() == torch.empty(tensor.shape, device="meta").stride()
    if in_order and tensor.storage_offset() == 0 and not copy:
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def snapshot_of(
    task: Task, stack: Stack, member: Member, place: int, step: int, crossing: Target | None = None
) -> Snapshot:
    """What table probes see of the member at a place of a batch, after ``step`` steps."""
    moving = stack.moving
    # copies: a compiled step writes over its inputs
    params, buffers, state = tree_map(
        lambda leaf: leaf[place].clone(), (moving.params, moving.buffers, moving.state)
    )
    split = stack.split
    return Snapshot(
        task=task,
        params=params,
        buffers=buffers,
        split=tree_map(lambda leaf: leaf[place], split) if stack.own_split else split,
        hyperparameters=member.hyperparameters,
        seed=member.trial.seed,
        step=step,
        steps=member.trial.steps,
        state=state,
        crossing=crossing,
    )


def reason_of(ending: Ending, loss: float, step: int, training: Training) -> str:
    """Why a trial ended early, in a sentence."""
    target, halving = training.target, training.halving
    signs: dict[Direction, str] = {"below": "<=", "above": ">="}
    return {
        Ending.NONE: "",
        Ending.LOSS_NOT_FINITE: f"loss {loss} at step {step}",
        Ending.LOSS_ABOVE_BOUND: f"loss {loss:g} above the bound {training.loss_bound:g} at step {step}",
        Ending.PARAMETER_NOT_FINITE: f"a parameter was not finite after step {step}",
        Ending.REACHED_TARGET: target
        and f"{target.metric} {signs[target.direction]} {target.value:g} at step {step}",
        Ending.STOPPED: halving and f"not among the best by {halving.metric} at step {step}",
    }[ending] or ""


def probes_due(training: Training, steps: int) -> Mapping[int, Sequence[TableProbe]]:
    """The table probes of a trial of ``steps`` by the step at which they measure.

    Raises:
        ConfigurationError: If one measures outside of the trial.
    """
    due: dict[int, list[TableProbe]] = {}
    for probe in training.probes:
        if not isinstance(probe, TableProbe):
            continue
        asked = set(probe.at(steps))
        outside = sorted(step for step in asked if not 0 <= step <= steps)
        if outside:
            msg = f"probe {probe.name}: got steps {outside}; allowed: 0 .. {steps}"
            raise ConfigurationError([msg])
        for step in asked:
            due.setdefault(step, []).append(probe)
    return due
