"""Members that are in memory at once: chunks of one width, moved segment by segment until all have ended.

Between segments the host looks: who ended leaves, a shared budget is cut, and those left close ranks, so that
who ended costs nothing. The segments are the same whatever the machine's speed, so a rerun is the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import numpy as np
import torch

from gradlaw.engine.checkpoint import Point, restacked
from gradlaw.engine.chunk import Chunk, reason_of
from gradlaw.engine.clock import Clock
from gradlaw.engine.machine import Machine
from gradlaw.engine.members import Stack, joined
from gradlaw.engine.results import TrialResult
from gradlaw.engine.rows import Sink
from gradlaw.engine.step import RUNNING, Ending
from gradlaw.pack import Member
from gradlaw.trial import State

LOOK_STEPS = 128
"""Steps between looks at who has ended: rows wait on the device as long, and a look waits for the device."""

Item = TypeVar("Item")

_STATES = {Ending.REACHED_TARGET: State.REACHED_TARGET, Ending.STOPPED: State.STOPPED}


class Wave:
    """Members trained together from the first step to the last.

    Args:
        members: The members.
        first: Place of the first one in the pack.
        machine: Runs their steps.
        sink: Takes their rows.
        point: Where to go on; None: from the start.
    """

    def __init__(
        self, members: Sequence[Member], first: int, machine: Machine, sink: Sink, point: Point | None = None
    ) -> None:
        self._machine, self._sink = machine, sink
        self._training = machine.program.training
        self._order = [member.trial.trial_id for member in members]
        self._first = point.step + 1 if point else 0
        self._width = point.width if point else machine.execution.width
        self._results = dict(point.results) if point else {}
        self._wall_s = dict(point.wall_s) if point else {}
        self._steps_ended = sum(result.steps_done for result in self._results.values())
        self._chunks = self._resumed(members, point) if point else self._started(members, first)
        machine.starts.forget()

    def _started(self, members: Sequence[Member], first: int) -> list[Chunk]:
        starts, width = self._machine.starts, self._width
        return [
            self._chunk(
                [members[place] for place in part], starts.stack(first + part[0], len(part), width), 0
            )
            for part in _parts(range(len(members)), width)
        ]

    def _resumed(self, members: Sequence[Member], point: Point) -> list[Chunk]:
        by_id = {member.trial.trial_id: member for member in members}
        device = torch.device(self._machine.execution.device)
        chunks = []
        for part in point.parts:
            own = [by_id[trial_id] for trial_id in part.trial_ids]
            stacked = restacked(self._machine.program, own, part, device)
            chunks.append(self._chunk(own, stacked, point.step))
        return chunks

    def run(
        self, clock: Clock, keep: Callable[[Point], None]
    ) -> Generator[tuple[int, int], None, list[TrialResult]]:
        """Trains every member to its end, or to the time limit.

        Args:
            clock: Says when a flush or a checkpoint is due.
            keep: Takes a checkpoint.

        Yields:
            Trials ended and trial-steps done, whenever a flush is due.
        """
        first = self._first
        while self._chunks:
            last = self._look(first)
            started = time.monotonic()
            for chunk in self._chunks:
                for _ in chunk.advance(first, last, clock):
                    yield len(self._results), self._steps_done()
            self._charge(time.monotonic() - started)
            timed_out = any(chunk.timed_out for chunk in self._chunks)
            if last in self._rungs() and not timed_out:
                self._cut(last)
            self._retire(last)
            if timed_out:
                self._time_out()
                break
            self._close_ranks(last)
            first = last + 1
            if self._chunks and clock.checkpoint_due():
                keep(self._point(last))
        return [self._results[trial_id] for trial_id in self._order]

    def _point(self, step: int) -> Point:
        parts = [chunk.part() for chunk in self._chunks]
        return Point(step, self._width, self._results, self._wall_s, parts)

    def _look(self, first: int) -> int:
        """The last step of the segment: where a trial ends, where a budget is cut, and every so often."""
        ends = (member.trial.steps for chunk in self._chunks for member in chunk.members)
        rungs = (rung for rung in self._rungs() if rung >= first)
        return min(*rungs, *ends, (first // LOOK_STEPS + 1) * LOOK_STEPS - 1)

    def _rungs(self) -> tuple[int, ...]:
        halving = self._training.halving
        return halving.rungs(self._training.steps) if halving else ()

    def _chunk(self, members: Sequence[Member], stacked: Stack, step: int) -> Chunk:
        functions = self._machine.functions(stacked)
        return Chunk(self._training, members, stacked, functions, self._sink, step)

    def _steps_done(self) -> int:
        running = sum(
            min(chunk.step, member.trial.steps) for chunk in self._chunks for member in chunk.members
        )
        return self._steps_ended + running

    def _charge(self, wall_s: float) -> None:
        """A segment's time is borne alike by those who were in it."""
        ids = [member.trial.trial_id for chunk in self._chunks for member in chunk.members]
        for trial_id in ids:
            self._wall_s[trial_id] = self._wall_s.get(trial_id, 0.0) + wall_s / len(ids)

    def _cut(self, step: int) -> None:
        """Keeps the best 1 / factor of those that run."""
        halving = self._training.halving
        assert halving is not None
        ranked = []
        for number, chunk in enumerate(self._chunks):
            ended_at = chunk.ended()[0]
            for position, value in enumerate(chunk.metric(halving.metric)):
                if ended_at[position] == RUNNING and chunk.members[position].trial.steps > step:
                    signed = value if halving.direction == "below" else -value
                    badness = math.inf if np.isnan(signed) else float(signed)
                    ranked.append((badness, chunk.members[position].trial.trial_id, number, position))
        for number, chunk in enumerate(self._chunks):
            worse = sorted(ranked)[math.ceil(len(ranked) / halving.factor) :]
            positions = [position for _, _, own, position in worse if own == number]
            if positions:
                chunk.stop(positions)

    def _retire(self, step: int) -> None:
        """Results of those that ended by this step; table probes of those that ended early, but soundly."""
        for chunk in self._chunks:
            ended_at, ending, loss = chunk.ended()
            early = [place for place, code in enumerate(ending) if Ending(int(code)) in _STATES]
            chunk.measure_ends(early, [int(ended_at[place]) for place in early])
            for place, member in enumerate(chunk.members):
                code, steps = Ending(int(ending[place])), int(ended_at[place])
                if code is not Ending.NONE:
                    state = _STATES.get(code, State.DIVERGED)
                    reason = reason_of(code, float(loss[place]), steps, self._training)
                    self._end(member, state, reason, steps)
                elif member.trial.steps <= step and not chunk.timed_out:
                    self._end(member, State.DONE, "", member.trial.steps)

    def _time_out(self) -> None:
        for chunk in self._chunks:
            for member in chunk.members:
                if member.trial.trial_id not in self._results:
                    steps = chunk.step if chunk.timed_out else chunk.step + 1
                    reason = f"time limit reached after {steps} of {member.trial.steps} steps"
                    self._end(member, State.TIMED_OUT, reason, steps)

    def _end(self, member: Member, state: State, reason: str, steps: int) -> None:
        trial_id = member.trial.trial_id
        self._steps_ended += steps
        self._results[trial_id] = TrialResult(
            trial_id=trial_id,
            state=state,
            reason=reason,
            steps_done=steps,
            wall_s=self._wall_s.get(trial_id, 0.0),
            execution=self._machine.execution,
        )

    def _close_ranks(self, step: int) -> None:
        """Chunks of those that still run: fewer, or narrower where that pays."""
        left = [
            (number, place)
            for number, chunk in enumerate(self._chunks)
            for place, member in enumerate(chunk.members)
            if member.trial.trial_id not in self._results
        ]
        if len(left) == sum(len(chunk.members) for chunk in self._chunks):
            return
        if not left:
            self._chunks = []
            return
        stacks = [chunk.stack() for chunk in self._chunks]
        starts = np.cumsum([0, *[item.width for item in stacks]])
        members = [self._chunks[number].members[place] for number, place in left]
        places = [int(starts[number]) + place for number, place in left]
        whole = joined(stacks)
        self._width = width = self._machine.narrowed(self._width, len(left), self._training.steps - step)
        self._chunks = [
            self._chunk(part, whole.taken(_padded(at, width)), step)
            for part, at in zip(_parts(members, width), _parts(places, width), strict=True)
        ]


def _parts(items: Sequence[Item], width: int) -> list[Sequence[Item]]:
    return [items[start : start + width] for start in range(0, len(items), width)]


def _padded(items: Sequence[Item], width: int) -> list[Item]:
    """The items, the last repeated to fill the width."""
    return [*items, *[items[-1]] * (width - len(items))]
