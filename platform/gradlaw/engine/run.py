"""Runs a pack: in batches of one width, halved where memory does not suffice, rows to a recorder.

Every member ends with a :class:`TrialResult`. An exception of a task, rule or probe goes to the caller.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from gradlaw.engine.choice import Choice, narrower
from gradlaw.engine.clock import Clock
from gradlaw.engine.measure import measure
from gradlaw.engine.members import DTYPES, stack_splits
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
    return (
        yield from _train(
            pack.program, pack.members, _Setting(recorder, clock, device, width, compile, alike)
        )
    )


class _Setting(NamedTuple):
    recorder: Recorder
    clock: Clock
    device: str
    width: int | None
    compile: Compile
    alike: int


def _train(training: Training, members: Sequence[Member], setting: _Setting) -> Run:
    recorder, clock = setting.recorder, setting.clock
    program = program_of(training, members, setting.device)
    sink = Sink(recorder, metrics_table(training), training.log_every, {})
    machine = Choice(
        program=program,
        members=members,
        device=setting.device,
        width=setting.width,
        compile=setting.compile,
        alike=setting.alike,
        time_limit_s=clock.time_limit_s,
    ).machine()
    results: list[TrialResult] = []
    at_once = len(members) if training.halving else machine.execution.width
    while len(results) < len(members):
        waiting = members[len(results) :]
        if clock.over():
            reason = "time limit reached before it began"
            results += [ended(member, State.TIMED_OUT, reason) for member in waiting]
            break
        started, width = time.monotonic(), machine.execution.width
        try:
            # held by no name, so that what did not fit is freed before the next try
            results += yield from _reported(
                Wave(waiting[:at_once], len(results), machine, sink).run(clock),
                recorder,
                _progress(len(results), members),
            )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if width == 1:
                results += _lost(waiting[:at_once], error, time.monotonic() - started, machine.execution)
            machine = narrower(machine, max(1, width // 2))
            at_once = len(members) if training.halving else machine.execution.width
        recorder.flush()
        yield _progress(len(results), members)
    return tuple(results)


def _progress(num_ended: int, members: Sequence[Member]) -> Progress:
    """So many of the members ended: none of their steps is left."""
    return Progress(
        trials_done=num_ended,
        trials_total=len(members),
        steps_done=sum(member.trial.steps for member in members[:num_ended]),
        steps_total=sum(member.trial.steps for member in members),
    )


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
