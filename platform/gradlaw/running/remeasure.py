"""Measure again: table probes on the weights that a store keeps, so that nothing is trained.

A trial's new measurements make a commit that holds all that the plan asks of the trial: what stood in the
store, copied as it is, and the new rows. So each trial has one winner, as ever, and a process that is killed
half-way has written nothing that is seen. The commit's number is above that of what it read, so that where
nothing else decides, what was measured first wins, of all trials alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types
import torch
from torch import Tensor

from gradlaw.adaptive.growth import Growth
from gradlaw.engine.members import DTYPES
from gradlaw.engine.rows import declared, metrics_table, with_trial
from gradlaw.errors import StoreError
from gradlaw.fingerprint import digest
from gradlaw.launch.committing import open_writer
from gradlaw.pack import Pack, Training, probe_digests
from gradlaw.planning.plan import Plan
from gradlaw.planning.planned import plan_study
from gradlaw.probe import Snapshot
from gradlaw.probes.weights import BUFFER, PARAMETER, WEIGHTS, tensor_of
from gradlaw.random import streams_of
from gradlaw.running.measurable import Job, Lacking, survey
from gradlaw.running.pending import changed_source, planned_trials
from gradlaw.running.recorded import record_plan
from gradlaw.store.committed import committed_rows
from gradlaw.store.files import Files
from gradlaw.store.resolve import Unit
from gradlaw.store.store import Store
from gradlaw.store.trials import TrialRow
from gradlaw.store.writer import PackWriter
from gradlaw.trial import State

Say = Callable[[str], None]

_NOTE = "measured on weights kept in "
_SAY_EVERY_S = 10.0
_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class MeasureSummary:
    """How measuring again ended.

    Attributes:
        plan_id: The plan.
        store: Path of the store.
        trials_planned: Trials of the plan that are to run.
        trials_measured: Trials measured now.
        left: Why the others that lack something were left alone, by trial id.
        wall_s: Seconds it took.
    """

    plan_id: str
    store: str
    trials_planned: int
    trials_measured: int
    left: Mapping[str, str]
    wall_s: float

    @property
    def trials_held(self) -> int:
        """Trials that were measured as asked before."""
        return self.trials_planned - self.trials_measured - len(self.left)

    @property
    def complete(self) -> bool:
        """Whether every trial of the plan is measured as asked now."""
        return not self.left


def measure(
    study: str | Path,
    *,
    preset: str | None = None,
    set: Mapping[str, object] | None = None,  # noqa: A002 - as on the command line
    seeds: int | None = None,
    store: str | Path = "results",
    explore: bool = False,
    say: Say | None = None,
) -> MeasureSummary:
    """Runs the table probes that trials of a plan lack, on their weights kept in a store.

    Probes see CPU tensors, whatever device the trial was trained on.

    Args:
        study: Name of a study, or the path of its folder or of a sweep's file.
        preset: Name of one of its presets; None: "demo", or a sweep's only one.
        set: New values of hyperparameters and of settings of probes, as ``{"weights.steps": [10]}``.
        seeds: Number of seeds instead of the preset's.
        store: Folder of the store.
        explore: The seeds of the range set apart for exploration.
        say: Called with lines worth reading.

    Raises:
        UsageError: Unknown names or impossible values, before anything is written.
        UndecidableError: The declared seeds cannot decide the study's claims.
        StoreError: The store cannot be used, or holds a table of other columns.
        Exception: What a probe raises, unwrapped; the packs before it are committed.
    """
    say = say or _silent
    started = time.perf_counter()
    planned = plan_study(study, preset=preset, overrides=set, seeds=seeds, explore=explore)
    planned.check_claims()
    opened = Store.open(store)
    plan = Growth(planned.plan, opened).plan
    needed = {trial.trial_id: trial.probes for trial in planned_trials(plan)}
    index = opened.index(needed)
    record_plan(opened, planned, index, needed)
    if changed := changed_source(plan, index):
        say(f"warning: {changed} trials were run by other source of their task, rule or schedule")
    measured, left = _measure_plan(plan, opened, say)
    _name_left(left, say)
    return MeasureSummary(
        plan_id=plan.plan_id,
        store=opened.path,
        trials_planned=sum(len(pack.members) for pack in plan.packs),
        trials_measured=measured,
        left=left,
        wall_s=time.perf_counter() - started,
    )


def _silent(line: str) -> None:
    del line


def _measure_plan(plan: Plan, store: Store, say: Say) -> tuple[int, dict[str, str]]:
    """Measures pack by pack; the number of trials measured, and why others were not, by trial id."""
    measured, left = 0, dict[str, str]()
    said = time.monotonic()
    for lacking in survey(plan, store):
        left |= lacking.left
        if lacking.jobs:
            commit_measured(lacking, store)
            measured += len(lacking.jobs)
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            say(f"{measured} trials measured, {len(left)} left alone")
    return measured, left


def _name_left(left: Mapping[str, str], say: Say) -> None:
    """The trials left alone by reason, of many the first few."""
    by_reason: dict[str, list[str]] = {}
    for trial_id, reason in left.items():
        by_reason.setdefault(reason, []).append(trial_id)
    for reason, ids in by_reason.items():
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        say(f"left alone: {', '.join(ids[:_NAMED])}{more}: {reason}")


def commit_measured(lacking: Lacking, store: Store) -> None:
    """Measures the members of one pack that can be, and commits them.

    As a pack of its own: the one planned may run yet, for the members that are left.
    """
    pack_id = digest(["measured", lacking.pack.pack_id])
    pack = replace(lacking.pack, pack_id=pack_id, members=tuple(job.member for job in lacking.jobs))
    first = 1 + max(job.source.attempt for job in lacking.jobs)
    groups: dict[tuple[int, tuple[str, ...]], list[Job]] = {}
    for job in lacking.jobs:
        groups.setdefault((id(job.unit), tuple(table.name for table in job.copied)), []).append(job)
    with open_writer(store, pack, first) as writer:
        for jobs in groups.values():
            _copy(pack, jobs, store.files, writer)
            for job, snapshot in _snapshots(pack, jobs, store.files):
                _probe(job, snapshot, writer)
        asked = tuple(sorted(probe_digests(pack.program)))
        writer.commit([_trial_row(job, asked) for job in lacking.jobs])


def _copy(pack: Pack, jobs: Sequence[Job], files: Files, writer: PackWriter) -> None:
    """The rows that stay, of jobs with rows in one unit and the same tables to copy."""
    assert isinstance(pack.program, Training)
    wanted = {job.member.trial.trial_id: job.source for job in jobs}
    for table in (metrics_table(pack.program), *jobs[0].copied):
        for rows in committed_rows(files, jobs[0].unit, table.name, wanted):
            writer.copy(table, rows)


def _probe(job: Job, snapshot: Snapshot, writer: PackWriter) -> None:
    for probe in job.due[snapshot.step]:
        for name, columns in probe.rows(snapshot).items():
            table = declared(name, probe.tables(), f"probe {probe.name}")
            writer.append(table, with_trial(table, columns, job.member.trial.trial_id))


def _snapshots(pack: Pack, jobs: Sequence[Job], files: Files) -> Iterator[tuple[Job, Snapshot]]:
    """What the table probes due would have seen while the trials ran."""
    program = pack.program
    assert isinstance(program, Training)
    task = program.task.to(torch.device("cpu"), DTYPES[program.dtype])
    params, buffers = program.task.init(streams_of(jobs[0].member.trial.seed))
    by_id = {job.member.trial.trial_id: job for job in jobs if job.due}
    for kept in _kept_weights(files, jobs[0].unit, by_id, len(params) + len(buffers)):
        job = by_id[kept.trial_id]
        seed = job.member.trial.seed
        yield (
            job,
            Snapshot(
                task=task,
                params={name: kept.tensors[PARAMETER, name] for name in params},
                buffers={name: kept.tensors[BUFFER, name] for name in buffers},
                split=None if program.task.num_rows is None else program.task.split(streams_of(seed)),
                hyperparameters=job.member.hyperparameters,
                seed=seed,
                step=kept.step,
                steps=job.member.trial.steps,
            ),
        )


class _Kept(NamedTuple):
    """All that is kept of one trial at one step, by kind and name."""

    trial_id: str
    step: int
    tensors: Mapping[tuple[str, str], Tensor]


def _kept_weights(files: Files, unit: Unit, jobs: Mapping[str, Job], num_tensors: int) -> Iterator[_Kept]:
    """The weights that are due, each whole, with hardly more than one row group in memory."""
    wanted = {trial_id: job.source for trial_id, job in jobs.items()}
    steps = sorted({step for job in jobs.values() for step in job.due})
    begun: dict[tuple[str, int], dict[tuple[str, str], Tensor]] = {}
    whole: set[tuple[str, int]] = set()
    names = ["trial_id", "step", "kind", "name", "dtype", "shape", "values"]
    for group in committed_rows(files, unit, WEIGHTS.name, wanted) if jobs else ():
        rows = group.filter(pc.is_in(group["step"], value_set=pa.array(steps, pa.int64())))
        for trial_id, step, kind, name, dtype, shape, values in zip(
            *(rows[item].to_pylist() for item in names), strict=True
        ):
            if step in jobs[trial_id].due and (trial_id, step) not in whole:  # two probes may have kept it
                tensors = begun.setdefault((trial_id, step), {})
                tensors[kind, name] = tensor_of(dtype, shape, values)
                if len(tensors) == num_tensors:  # a group may end between two rows of one step
                    whole.add((trial_id, step))
                    yield _Kept(trial_id, step, begun.pop((trial_id, step)))
    if begun:
        msg = f"weights of {', '.join(trial_id for trial_id, _ in begun)} are not whole; restore the store"
        raise StoreError(msg)


def _trial_row(job: Job, probes: Sequence[str]) -> TrialRow:
    """The row of the training, measured with other probes; its reason says so."""
    row = {item.name: job.row[item.name] for item in fields(TrialRow) if item.name in job.row}
    before = str(row["reason"]).partition(_NOTE)[0].removesuffix("; ")
    names = {probe.name: None for due in job.due.values() for probe in due}
    note = f"{_NOTE}{job.source.pack_id}-{job.source.attempt} by {', '.join(names)}" if names else ""
    changed = {
        "state": State(row["state"]),
        "reason": "; ".join(filter(None, (before, note))),
        "versions": json.loads(row["versions"]),
        "hyperparameters": job.member.hyperparameters,
        "probes": probes,
    }
    return TrialRow(**{**row, **changed})
