"""Measure again: table probes on the weights that a store keeps, so that nothing is trained.

A trial's new measurements make a commit that holds all that the plan asks of the trial: what stood in the
store, copied as it is, and the new rows. So each trial has one winner, as ever, and a process that is killed
half-way has written nothing that is seen. The commit's number is above that of what it read, so that where
nothing else decides, what was measured first wins, of all trials alike. As a run does, it takes a lease of
each pack, so that of several at once one measures it and the others wait.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from gradlaw.adaptive.growth import Growth
from gradlaw.engine.rows import declared, metrics_table, with_trial
from gradlaw.launch.committing import open_writer
from gradlaw.pack import (
    Pack,
    Program,
    Training,
    joined_source,
    parted_source,
    probe_digests,
    program_source,
)
from gradlaw.planning.plan import Plan
from gradlaw.planning.planned import plan_study
from gradlaw.probe import Snapshot
from gradlaw.running.measurable import Job, Lacking, survey
from gradlaw.running.pending import changed_source, planned_trials
from gradlaw.running.recorded import record_plan
from gradlaw.running.snapshots import snapshots
from gradlaw.running.telling import Teller
from gradlaw.running.waiting import Waiting
from gradlaw.store.attempts import committed_since
from gradlaw.store.committed import committed_rows
from gradlaw.store.files import Files
from gradlaw.store.leases import Leases, Tenant
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
        say(f"warning: {changed} trials were run by other source of their task, rule, schedule or probes")
    measured, left = _Measuring(plan, opened, say).go()
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


class _Measuring:
    """One measurement of a plan on a store."""

    def __init__(self, plan: Plan, store: Store, say: Say) -> None:
        self._plan, self._store, self._say = plan, store, say
        driver = uuid.uuid4().hex
        self._tenant = Tenant(driver=driver, study=plan.study, plan_id=plan.plan_id, device="cpu")
        self._leases = Leases(store.files, driver)
        self._waiting = Waiting(self._leases, Teller(say))
        self._num_measured = 0
        self._said = time.monotonic()

    def go(self) -> tuple[int, dict[str, str]]:
        """Measures pack by pack; the number of trials measured, and why others were not, by trial id."""
        while True:
            left: dict[str, str] = {}
            of_others: list[str] = []
            for lacking in survey(self._plan, self._store):
                left |= lacking.left
                if lacking.jobs and not self._measure(lacking):
                    of_others.append(lacking.pack_id)
                if time.monotonic() - self._said >= _SAY_EVERY_S:
                    self._said = time.monotonic()
                    self._say(f"{self._num_measured} trials measured, {len(left)} left alone")
            if not of_others:
                return self._num_measured, left
            if held := self._leases.live(of_others):
                self._waiting.until_one_is_free(held)

    def _measure(self, lacking: Lacking) -> bool:
        """Measures a pack, unless another does, or has done so since the look at the store."""
        tenant = replace(self._tenant, num_trials=len(lacking.jobs))
        hold = self._leases.acquire(lacking.pack_id, tenant)
        if hold is None:
            return False
        with hold:
            first = lacking.first_attempt
            files, study = self._store.files, self._plan.study
            if committed_since(files, study, lacking.pack_id, lacking.seen, first=first):
                return False
            commit_measured(lacking, self._store)
        self._num_measured += len(lacking.jobs)
        return True


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
    pack = replace(lacking.pack, pack_id=lacking.pack_id, members=tuple(job.member for job in lacking.jobs))
    groups: dict[tuple[int, tuple[str, ...]], list[Job]] = {}
    for job in lacking.jobs:
        groups.setdefault((id(job.unit), tuple(table.name for table in job.copied)), []).append(job)
    with open_writer(store, pack, lacking.first_attempt) as writer:
        for jobs in groups.values():
            _copy(pack, jobs, store.files, writer)
            for job, snapshot in snapshots(pack, jobs, store.files):
                _probe(job, snapshot, writer)
        writer.commit([_trial_row(job, pack.program) for job in lacking.jobs])


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


def _trial_row(job: Job, program: Program | None) -> TrialRow:
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
        "probes": sorted(probe_digests(program)),
        "source_digest": _source(job, program),
    }
    return TrialRow(**{**row, **changed})


def _source(job: Job, program: Program | None) -> str:
    """The source that trained, and of each probe the one that measured what stands there now."""
    trained, held = parted_source(job.row["source_digest"], json.loads(job.row["probes"]))
    _, now = parted_source(program_source(program), probe_digests(program))
    again = {probe.digest for due in job.due.values() for probe in due}
    probes = {probe: source if probe in again else held.get(probe, source) for probe, source in now.items()}
    return joined_source(trained, probes)
