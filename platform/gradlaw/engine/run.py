"""Runs a pack: in batches of one width, halved where memory does not suffice, rows to a recorder.

Every member ends with a :class:`TrialResult`. An exception of a task, rule or probe goes to the caller.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from gradlaw.engine.batch import Batch
from gradlaw.engine.clock import Clock
from gradlaw.engine.measure import measure
from gradlaw.engine.members import DTYPES, stack_splits
from gradlaw.engine.memory import first_line, is_out_of_memory
from gradlaw.engine.recorder import Recorder
from gradlaw.engine.results import Execution, Mode, Progress, Run, TrialResult, ended
from gradlaw.engine.rows import PendingRows, metrics_table
from gradlaw.engine.sampling import sampler_of
from gradlaw.engine.step import TrialProgram
from gradlaw.errors import ConfigurationError
from gradlaw.measurement import Measurement
from gradlaw.pack import Member, Pack, Training
from gradlaw.probe import MetricProbe
from gradlaw.trial import State

WIDTH = 64
"""Largest number of members in one batched program, where none is given."""


def run_pack(
    pack: Pack,
    recorder: Recorder,
    *,
    device: str = "cpu",
    flush_s: float = 10.0,
    time_limit_s: float | None = None,
    width: int = WIDTH,
) -> Run:
    """Runs all members of a pack.

    Args:
        pack: What to run.
        recorder: Takes the rows.
        device: A torch device.
        flush_s: Seconds between flushes of the recorder, >= 0.
        time_limit_s: Seconds after which members that have not ended become ``timed_out``.
        width: Largest number of members in one batched program, >= 1. A single member runs padded to
            2, so that alone and in company it takes the same kernels, unless the width is 1.

    Yields:
        Progress, at least every flush, after the recorder was flushed.

    Returns:
        The results of all members, in the pack's order (the generator's return value).

    Raises:
        ConfigurationError: If the program cannot run as declared; and whatever a task, rule or probe
            raises, but lack of memory, for which batches are halved down to ``out_of_memory``.
    """
    clock = Clock(flush_s, time_limit_s)
    if isinstance(pack.program, Measurement):
        return (yield from measure(pack.program, pack.members, recorder, clock))
    if pack.program is None:
        raise ConfigurationError([f"pack {pack.pack_id}: got no program; allowed: a training or measurement"])
    if not pack.members:
        return ()
    return (yield from _train(pack.program, pack.members, _Setting(recorder, clock, device, width)))


class _Setting(NamedTuple):
    recorder: Recorder
    clock: Clock
    device: str
    width: int


def _train(training: Training, members: Sequence[Member], setting: _Setting) -> Run:
    recorder, clock, device, width = setting
    program = _program(training, members, device)
    metrics, recorded = metrics_table(training), dict[str, int]()
    width = max(1, min(width, max(2, len(members)))) if training.task.vmappable else 1
    results: list[TrialResult] = []
    while len(results) < len(members):
        waiting = members[len(results) :]
        if clock.over():
            reason = "time limit reached before it began"
            results += [ended(member, State.TIMED_OUT, reason) for member in waiting]
            break
        execution = _execution(training, device, width)
        now = waiting[:width]
        pending = PendingRows(recorder, metrics, [member.trial.trial_id for member in now], recorded)
        steps = _Steps(len(results), len(members), training.steps, len(now))
        started = time.monotonic()
        try:
            # held by no name, so that what did not fit is freed before the next try
            results += yield from _reported(
                Batch(program, now, execution).run(pending, clock), recorder, steps
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if width == 1:
                wall_s = time.monotonic() - started
                lost = ended(now[0], State.OUT_OF_MEMORY, first_line(error), wall_s=wall_s)
                results.append(replace(lost, execution=execution))
            width = max(1, width // 2)
        recorder.flush()
        yield Progress(
            trials_done=len(results),
            trials_total=len(members),
            steps_done=len(results) * training.steps,
            steps_total=len(members) * training.steps,
        )
    return tuple(results)


class _Steps(NamedTuple):
    trials_done: int
    trials_total: int
    steps: int
    running: int

    def progress(self, step: int) -> Progress:
        return Progress(
            trials_done=self.trials_done,
            trials_total=self.trials_total,
            steps_done=self.trials_done * self.steps + self.running * step,
            steps_total=self.trials_total * self.steps,
        )


def _reported(
    running: Generator[int, None, list[TrialResult]], recorder: Recorder, steps: _Steps
) -> Generator[Progress, None, list[TrialResult]]:
    """Passes a batch's progress on, each time after a flush."""
    while True:
        try:
            step = next(running)
        except StopIteration as end:
            results: list[TrialResult] = end.value
            return results
        recorder.flush()
        yield steps.progress(step)


def _program(training: Training, members: Sequence[Member], device: str) -> TrialProgram:
    task = training.task.to(torch.device(device), DTYPES[training.dtype])
    split = stack_splits(training.task, members[:1], torch.device("cpu"))
    num_train = None if split is None else split.train.shape[-1]
    probes = tuple(probe for probe in training.probes if isinstance(probe, MetricProbe))
    return TrialProgram(training, task, sampler_of(training, task, num_train), probes)


def _execution(training: Training, device: str, width: int) -> Execution:
    mode: Mode = "eager" if training.task.vmappable else "loop"
    return Execution(
        device=device,
        mode=mode,
        width=width,
        threads=torch.get_num_threads(),
        dtype=training.dtype,
        reason="" if training.task.vmappable else f"task {training.task.name} cannot be vmapped",
    )
