"""Runs a pack: in batches of one width, halved where memory does not suffice, rows to a recorder.

Every member ends with a :class:`TrialResult`. An exception of a task, rule or probe goes to the caller.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from gradlaw.engine.checkpoint import (
    Checkpoints,
    Document,
    Point,
    Reached,
    identity,
    read,
    refusal,
    written,
)
from gradlaw.engine.choice import Choice, narrower
from gradlaw.engine.clock import Clock
from gradlaw.engine.machine import Machine, forget_captured
from gradlaw.engine.measure import measure
from gradlaw.engine.members import DTYPES, Starts, stack_splits
from gradlaw.engine.memory import first_line, is_out_of_memory
from gradlaw.engine.recorder import Recorder
from gradlaw.engine.results import Execution, Progress, Run, TrialResult, ended
from gradlaw.engine.rows import Sink, metrics_table
from gradlaw.engine.sampling import sampler_of
from gradlaw.engine.step import TrialProgram
from gradlaw.engine.wave import Wave
from gradlaw.errors import ConfigurationError
from gradlaw.measurement import Measurement
from gradlaw.pack import Compile, Member, Pack, Training
from gradlaw.probe import MetricProbe
from gradlaw.trial import State


def run_pack(
    pack: Pack,
    recorder: Recorder,
    *,
    device: str = "cpu",
    flush_s: float = 10.0,
    time_limit_s: float | None = None,
    width: int | None = None,
    compile: Compile = "auto",  # noqa: A002 - as in torch
    alike: int = 1,
    widest: int | None = None,
    checkpoints: Checkpoints | None = None,
) -> Run:
    """Runs all members of a pack.

    Args:
        pack: What to run.
        recorder: Takes the rows.
        device: A torch device.
        flush_s: Seconds between flushes of the recorder, >= 0.
        time_limit_s: Seconds after which members that have not ended become ``timed_out``.
        width: Largest number of members in one batched program, >= 1; None: chosen by a short measurement.
            A single member runs padded to 2, so that alone and in company it takes the same kernels, unless
            the width is 1.
        compile: "always", "never", or "auto": where the work left pays for it.
        alike: Packs of one run with the program of this one: what is compiled here serves them too.
        widest: Members in one batched program that memory allows, >= 1, however the width is chosen; None:
            not known.
        checkpoints: Keeps checkpoints of a training, and may have one to go on from; None: there are none.

    Yields:
        Progress, at least every flush, after the recorder was flushed; and before the first step, so that the
        width is known whatever happens then.

    Returns:
        The results of all members, in the pack's order (the generator's return value).

    Raises:
        ConfigurationError: If the program cannot run as declared; and whatever a task, rule or probe
            raises, but lack of memory, for which batches are halved down to ``out_of_memory``.
    """
    clock = Clock(flush_s, time_limit_s, lambda: checkpoints.every_s if checkpoints else math.inf)
    if isinstance(pack.program, Measurement):
        return (yield from measure(pack.program, pack.members, recorder, clock))
    if pack.program is None:
        raise ConfigurationError([f"pack {pack.pack_id}: got no program; allowed: a training or measurement"])
    if not pack.members:
        return ()
    setting = _Setting(recorder, clock, device, width, compile, alike, widest, checkpoints)
    return (yield from _Waves(pack, pack.program, setting).run())


class _Setting(NamedTuple):
    recorder: Recorder
    clock: Clock
    device: str
    width: int | None
    compile: Compile
    alike: int
    widest: int | None
    checkpoints: Checkpoints | None


class _Waves:
    """The members of a pack that trains, in waves of as many as are in memory at once."""

    def __init__(self, pack: Pack, training: Training, setting: _Setting) -> None:
        self._pack, self._training, self._setting = pack, training, setting
        self._program = program_of(training, pack.members, setting.device)
        self._sink = Sink(setting.recorder, metrics_table(training), training.log_every, {})
        self._results: list[TrialResult] = []
        self._point: Point | None = None
        self._machine = self._resumed() or self._chosen()

    def run(self) -> Run:
        members, recorder, clock = self._pack.members, self._setting.recorder, self._setting.clock
        yield self._progress()
        while len(self._results) < len(members):
            waiting = members[len(self._results) :]
            if clock.over():
                reason = "time limit reached before it began"
                self._results += [ended(member, State.TIMED_OUT, reason) for member in waiting]
                break
            yield from self._wave(waiting)
            recorder.flush()
            if len(self._results) < len(members) and clock.checkpoint_due():
                self._keep(None)
            yield self._progress()
        return tuple(self._results)

    def _wave(self, waiting: Sequence[Member]) -> Generator[Progress, None, None]:
        """The next members, at least some of them; or none, and then a narrower machine."""
        started, machine = time.monotonic(), self._machine
        width = machine.execution.width
        at_once = len(waiting) if self._training.halving else width
        done = len(self._results)
        try:
            # held by no name, so that what did not fit is freed before the next try
            self._results += yield from _reported(
                Wave(waiting[:at_once], done, machine, self._sink, self._taken_point()).run(
                    self._setting.clock, self._keep
                ),
                self._setting.recorder,
                self._progress(),
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if width == 1:
                lost_s = time.monotonic() - started
                self._results += _lost(waiting[:at_once], error, lost_s, machine.execution)
            forget_captured()
            self._machine = narrower(machine, max(1, width // 2))

    def _progress(self) -> Progress:
        """So many of the members ended: none of their steps is left."""
        members, num_ended = self._pack.members, len(self._results)
        return Progress(
            trials_done=num_ended,
            trials_total=len(members),
            steps_done=sum(member.trial.steps for member in members[:num_ended]),
            steps_total=sum(member.trial.steps for member in members),
            width=self._machine.execution.width,
        )

    def _chosen(self) -> Machine:
        setting = self._setting
        return Choice(
            program=self._program,
            members=self._pack.members,
            device=setting.device,
            width=setting.width,
            compile=setting.compile,
            alike=setting.alike,
            time_limit_s=setting.clock.time_limit_s,
            widest=setting.widest,
        ).machine()

    def _resumed(self) -> Machine | None:
        """The machine of a checkpoint to go on from, with what else it holds; None if there is none."""
        checkpoints = self._setting.checkpoints
        if checkpoints is None:
            return None
        found = checkpoints.find(self._refusal)
        if found is None:
            return None
        reached = read(*found)
        self._results, self._point = list(reached.results), reached.point
        self._sink.recorded.update(reached.recorded)
        starts = Starts(self._program, self._pack.members, self._setting.device)
        return Machine(
            self._program, reached.execution, starts, modes=reached.modes, bytes_made=reached.bytes_made
        )

    def _refusal(self, document: Document) -> str:
        """Why not to go on from a checkpoint; "" if nothing is against it."""
        width, widest = document["executions"][0]["width"], self._setting.widest
        if widest is not None and width > widest:
            return f"width: it has {width}, memory allows {widest}"
        return refusal(self._identity(), document)

    def _taken_point(self) -> Point | None:
        """Where to go on, once: its tensors are let go."""
        point, self._point = self._point, None
        return point

    def _keep(self, point: Point | None) -> None:
        """Keeps a checkpoint: between two segments at a point of a wave, or between two waves."""
        checkpoints, machine = self._setting.checkpoints, self._machine
        assert checkpoints is not None
        reached = Reached(
            results=self._results,
            execution=machine.execution,
            modes=machine.modes,
            bytes_made=machine.bytes_made,
            recorded=self._sink.recorded,
            point=point,
        )
        checkpoints.keep(*written(reached, self._identity()))
        self._setting.clock.kept()

    def _identity(self) -> Document:
        setting = self._setting
        return identity(self._pack, device=setting.device, width=setting.width, compile=setting.compile)


def _lost(
    members: Sequence[Member], error: BaseException, wall_s: float, execution: Execution
) -> list[TrialResult]:
    reason = first_line(error)
    lost = [ended(item, State.OUT_OF_MEMORY, reason, wall_s=wall_s / len(members)) for item in members]
    return [replace(item, execution=execution) for item in lost]


def _reported(
    running: Generator[tuple[int, int], None, list[TrialResult]], recorder: Recorder, before: Progress
) -> Generator[Progress, None, list[TrialResult]]:
    """Passes a wave's progress on, each time after a flush."""
    while True:
        try:
            num_ended, steps = next(running)
        except StopIteration as end:
            results: list[TrialResult] = end.value
            return results
        recorder.flush()
        yield replace(
            before, trials_done=before.trials_done + num_ended, steps_done=before.steps_done + steps
        )


def program_of(training: Training, members: Sequence[Member], device: str) -> TrialProgram:
    """The functions of one trial that these members share, on a device."""
    task = training.task.to(torch.device(device), DTYPES[training.dtype])
    split = stack_splits(training.task, members[:1], torch.device("cpu"))
    num_train = None if split is None else split.train.shape[-1]
    probes = tuple(probe for probe in training.probes if isinstance(probe, MetricProbe))
    return TrialProgram(training, task, sampler_of(training, task, num_train), probes)
