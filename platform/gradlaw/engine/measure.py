"""Runs the members of a pack whose program is a measurement, one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from gradlaw.engine.clock import Clock
from gradlaw.engine.memory import first_line, is_out_of_memory
from gradlaw.engine.recorder import Recorder
from gradlaw.engine.results import Execution, Progress, Run, TrialResult, ended
from gradlaw.engine.rows import declared, with_trial
from gradlaw.errors import SchemaError
from gradlaw.measurement import Measurement
from gradlaw.pack import Member
from gradlaw.trial import State


def measure(measurement: Measurement, members: Sequence[Member], recorder: Recorder, clock: Clock) -> Run:
    """Measures every member; see :func:`gradlaw.engine.run.run_pack`."""
    results: list[TrialResult] = []
    for member in members:
        if clock.over():
            results.append(ended(member, State.TIMED_OUT, "time limit reached before it began"))
        else:
            results.append(_measure_one(measurement, member, recorder))
        if clock.flush_due() or len(results) == len(members):
            recorder.flush()
            done, total = len(results), len(members)
            yield Progress(trials_done=done, trials_total=total, steps_done=0, steps_total=0, width=1)
    return tuple(results)


def _measure_one(measurement: Measurement, member: Member, recorder: Recorder) -> TrialResult:
    started = time.monotonic()
    state, reason = State.DONE, ""
    try:
        tables = measurement.measure(member.hyperparameters, member.trial.seed)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        tables, state, reason = {}, State.OUT_OF_MEMORY, first_line(error)
    given: object = tables  # a study's own code may break the annotation
    if not isinstance(given, Mapping) or not all(isinstance(item, Mapping) for item in given.values()):
        msg = f"measurement {measurement.name}: measure gave {tables!r:.80}, allowed: columns by table name"
        raise SchemaError(msg)
    for name, columns in tables.items():
        table = declared(name, measurement.tables(), f"measurement {measurement.name}")
        recorder.append(table, with_trial(table, columns, member.trial.trial_id))
    execution = Execution(device="cpu", mode="measurement", width=1, threads=torch.get_num_threads())
    result = ended(member, state, reason, wall_s=time.monotonic() - started)
    return replace(result, execution=execution)
