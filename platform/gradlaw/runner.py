"""Run: plan a study, subtract what the store holds, launch the rest, until nothing is missing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args, overload

import torch

from gradlaw.adaptive.growth import Growth
from gradlaw.errors import all_faults
from gradlaw.fingerprint import digest
from gradlaw.launch import make_launcher
from gradlaw.launch.base import Launcher, Order, Report
from gradlaw.launch.worker import commit_unrun
from gradlaw.measurable import survey
from gradlaw.pack import Compile, Pack
from gradlaw.pending import Index, changed_source, failed_attempts, missing_packs, planned_trials
from gradlaw.planned import Planned, plan_study
from gradlaw.recorded import record_plan
from gradlaw.store.checkpoints import newest_checkpoints, sweep_checkpoints
from gradlaw.store.paths import CheckpointKey
from gradlaw.store.store import Store
from gradlaw.tally import RunProgress, Tally
from gradlaw.trial import FINAL, MAX_ATTEMPTS, State


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """How a run ended.

    Attributes:
        plan_id: The plan.
        store: Path of the store.
        trials_planned: Trials of the plan.
        trials_run: Trials that this run ended.
        is_open: Whether an adaptive plan has rounds to come.
        states: Trials of the plan by state, all attempts of all runs resolved.
        wall_s: Seconds it took.
    """

    plan_id: str
    store: str
    trials_planned: int
    trials_run: int
    states: Mapping[str, int]
    wall_s: float
    is_open: bool = False

    @property
    def complete(self) -> bool:
        """Whether every planned trial ended, none of them as ``failed``, and no round is to come."""
        return (
            not self.is_open
            and sum(self.states.values()) == self.trials_planned
            and str(State.FAILED) not in self.states
        )


OnProgress = Callable[[RunProgress], None]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How, not what, to run.

    Attributes:
        launcher: "inline" or "ray".
        address: Of a running Ray cluster.
        device: Torch device of every pack.
        width: Most trials in one batched program; None: chosen by a short measurement.
        compile: "always", "never", or "auto": where the work left pays for it.
        flush_s: Seconds between live parts, > 0.
        time_limit_s: Seconds a pack may take, or None.
        checkpoint_s: Seconds between checkpoints of a pack, > 0, at ends of segments; infinite: none.
        retry_failed: Whether trials that failed for good are tried again.
        on_progress: Called at every launch and every report.
        say: Called with lines worth reading.
    """

    launcher: str = "inline"
    address: str | None = None
    device: str = "cpu"
    width: int | None = None
    compile: Compile = "auto"
    flush_s: float = 10.0
    time_limit_s: float | None = None
    checkpoint_s: float = 300.0
    retry_failed: bool = False
    on_progress: OnProgress | None = None
    say: Say | None = None

    def faults(self) -> list[str]:
        """What is impossible, a line a fault."""
        faults = [
            f"{name}: got {value}, allowed > 0"
            for name in ("flush_s", "time_limit_s", "checkpoint_s")
            for value in (getattr(self, name),)
            if value is not None and not value > 0
        ]
        if self.width is not None and self.width < 1:
            faults.append(f"width: got {self.width}, allowed >= 1")
        if self.compile not in get_args(Compile):
            faults.append(f"compile: got {self.compile!r}, allowed one of {', '.join(get_args(Compile))}")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            cause = str(error).splitlines()[0]
            faults.append(f"device: got {self.device!r}, allowed a device of this machine: {cause}")
        return faults


def run(
    study: str | Path,
    *,
    preset: str | None = None,
    set: Mapping[str, object] | None = None,  # noqa: A002 - as on the command line
    seeds: int | None = None,
    store: str | Path = "results",
    explore: bool = False,
    options: RunOptions | None = None,
    **how: Any,
) -> RunSummary:
    """Runs what a preset of a study, or a sweep, still lacks in a store.

    Args:
        study: Name of a study, or the path of its folder or of a sweep's file.
        preset: Name of one of its presets; None: "demo", or a sweep's only one.
        set: New values, or lists of values, of hyperparameters.
        seeds: Number of seeds instead of the preset's.
        store: Folder of the store; made if there is none.
        explore: Draw the seeds from the range set apart for exploration.
        options: How to run.
        **how: Fields of :class:`RunOptions`, in place of those of ``options``.

    Raises:
        UsageError: Unknown names or impossible values, before anything runs.
        UndecidableError: The declared seeds cannot decide the study's claims.
        StoreError: The store cannot be used.
        Exception: With the inline launcher, what a task raised, unwrapped.
    """
    options = replace(options or RunOptions(), **how)
    launcher = make_launcher(options.launcher, address=options.address, device=options.device)
    with all_faults(options.faults()):
        planned = plan_study(study, preset=preset, overrides=set, seeds=seeds, explore=explore)
    planned.check_claims()
    return _Run(planned, Store.create(store), launcher, options).go()


class _Orders(Sequence[Order]):
    """The orders of packs, each made when it is asked for: a million packs are no million orders."""

    def __init__(self, packs: Sequence[Pack], options: RunOptions, store: str, index: Index) -> None:
        self._packs, self._options, self._store, self._index = packs, options, store, index
        self._alike = Counter(id(pack.program) for pack in packs)

    def __len__(self) -> int:
        return len(self._packs)

    @overload
    def __getitem__(self, at: int) -> Order: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Order]: ...
    def __getitem__(self, at: int | slice) -> Order | Sequence[Order]:
        pack = self._packs[at]
        if not isinstance(pack, Pack):
            return _Orders(pack, self._options, self._store, self._index)
        return Order(
            pack=pack,
            store=self._store,
            device=self._options.device,
            width=self._options.width,
            compile=self._options.compile,
            alike=self._alike[id(pack.program)],
            flush_s=self._options.flush_s,
            time_limit_s=self._options.time_limit_s,
            checkpoint_s=self._options.checkpoint_s,
            attempts=failed_attempts(pack.members, self._index),
        )


class _Run:
    """One run of one plan on one store."""

    def __init__(self, planned: Planned, store: Store, launcher: Launcher, options: RunOptions) -> None:
        self._planned, self._store = planned, store
        self._launcher, self._options = launcher, options
        self._growth = Growth(planned.plan, store)
        self._started = time.perf_counter()
        self._tally = Tally(0)
        self._noted: set[str] = set()
        self._take()

    def _take(self) -> None:
        """Takes the plan as it has grown."""
        self._plan = self._growth.plan
        self._probes = {trial.trial_id: trial.probes for trial in planned_trials(self._plan)}
        self._tally.trials_planned = len(self._probes)

    def go(self) -> RunSummary:
        index = self._index()
        record_plan(self._store, self._planned, index, (*self._probes, *self._growth.first_ids()))
        if not self._growth.rounds and self._growth.ask():
            self._take()
            index = self._index()
        index = self._commit_skipped(index)
        sweep_checkpoints(self._store.files, index)
        pending = missing_packs(self._plan, index, retry_failed=self._options.retry_failed)
        self._tell(pending, index)
        with self._launcher.session() if self._growth.is_open else nullcontext():
            index = self._run_missing(pending, index, retry_failed=self._options.retry_failed)
            while self._has_ended(index) and self._growth.ask():
                self._take()
                index = self._commit_skipped(self._index())
                pending = missing_packs(self._plan, index)
                self._tell_round(pending)
                index = self._run_missing(pending, index)
        self._tell_end()
        return self._summary(index)

    def _run_missing(self, pending: Sequence[Pack], index: Index, *, retry_failed: bool = False) -> Index:
        """Launches packs until nothing is missing, or nothing more can be done; the index after that."""
        rounds = MAX_ATTEMPTS + 1  # one more, for what another driver had begun and lost
        while pending and rounds:
            got_further = self._launch(pending, index, fresh=retry_failed)
            rounds -= 0 if got_further else 1
            index, retry_failed = self._index(), False
            pending = missing_packs(self._plan, index)
        return index

    def _tell_end(self) -> None:
        if self._growth.is_open:
            self._say("rounds are to come: they wait for trials that have not ended; run again")

    def _has_ended(self, index: Index) -> bool:
        """Whether all that was asked for so far has ended, so that more may be asked."""
        return not missing_packs(self._plan, index)

    def _index(self) -> Index:
        return self._store.index(self._probes)

    def _commit_skipped(self, index: Index) -> Index:
        """Commits what is not to run; the index after that."""
        lacking = [pair for pair in self._plan.skipped if pair[0].trial.trial_id not in index]
        if not lacking:
            return index
        reasons = {member.trial.trial_id: reason for member, reason in lacking}
        pack = Pack(
            pack_id=digest(["skipped", sorted(reasons)]),
            study=self._plan.study,
            program=None,
            members=tuple(member for member, _ in lacking),
        )
        commit_unrun(self._store, pack, reasons, State.SKIPPED, {})
        return self._index()

    def _launch(self, packs: Sequence[Pack], index: Index, *, fresh: bool) -> bool:
        """Runs packs; whether any was lost, but got further: see :meth:`_commit_lost`."""
        options = self._options
        self._tally.begin(packs)
        self._show()
        orders = _Orders(packs, options, str(self._store.path), {} if fresh else index)
        held = newest_checkpoints(self._store.files)
        lost: dict[str, str] = {}

        def on_report(report: Report) -> None:
            if report.lost:
                lost[report.pack_id] = report.error
            self._follow(report)

        self._launcher.run(orders, on_report)
        if not lost:
            return False
        return self._commit_lost([order for order in orders if order.pack.pack_id in lost], lost, index, held)

    def _commit_lost(
        self,
        orders: Iterable[Order],
        causes: Mapping[str, str],
        before: Index,
        held: Mapping[str, CheckpointKey],
    ) -> bool:
        """A dead worker cannot say so; the driver does, for what the worker had not committed.

        A worker that kept a checkpoint was no failed attempt: the pack goes on from there, together, however
        often workers are taken away. Returns whether there was any.
        """
        index, kept = self._index(), newest_checkpoints(self._store.files)
        got_further = False
        for order in orders:
            pack_id = order.pack.pack_id
            ids = [member.trial.trial_id for member in order.pack.members]
            reasons = dict.fromkeys(
                (item for item in ids if index.get(item) == before.get(item)), causes[pack_id]
            )
            if not reasons:
                continue
            if kept.get(pack_id) not in (None, held.get(pack_id)):
                got_further = True
                self._say(f"pack {pack_id}: lost, but it kept a checkpoint: no failed attempt")
                continue
            commit_unrun(self._store, order.pack, reasons, State.LOST, order.attempts)
            self._say(f"pack {pack_id}: {len(reasons)} of {len(ids)} trials lost")
        return got_further

    def _follow(self, report: Report) -> None:
        self._tally.add(report)
        if report.error:
            self._say(f"pack {report.pack_id}: {report.error}")
        if report.note and report.note not in self._noted:
            self._noted.add(report.note)
            self._say(f"note: {report.note}")
        self._show()

    def _show(self) -> None:
        if self._options.on_progress:
            self._options.on_progress(self._tally.progress())

    def _tell(self, packs: Sequence[Pack], index: Index) -> None:
        num_to_run = len({member.trial.trial_id for pack in packs for member in pack.members})
        num_skipped = len(self._plan.skipped)
        held = len(self._probes) - num_to_run - num_skipped
        self._say(
            f"plan {self._plan.plan_id}: {len(self._probes)} trials, {held} in the store, "
            f"{num_to_run} to run in {len(packs)} packs" + (f", {num_skipped} skipped" if num_skipped else "")
        )
        for note in self._planned.notes:
            self._say(note)
        again = sum(
            1
            for pack in packs
            for member in pack.members
            if (entry := index.get(member.trial.trial_id)) and entry.state in FINAL - {State.FAILED}
        )
        if again:
            self._say(f"{again} of them run again: they were not measured with every probe asked for")
            if measurable := sum(len(lacking.jobs) for lacking in survey(self._plan, self._store)):
                self._say(f"{measurable} of those need no training: gradlaw measure reads the weights kept")
        changed = changed_source(self._plan, index)
        if changed:
            self._say(
                f"warning: {changed} trials in the store were run by other source of their task, rule or "
                "schedule, of the same versions; if it changed their numbers, raise the version"
            )
        for item in self._store.resolve().set_aside:
            self._say(f"set aside: {item.path}: {item.reason}")

    def _tell_round(self, packs: Sequence[Pack]) -> None:
        num_to_run = sum(len(pack.members) for pack in packs)
        done = self._growth.rounds[-1]
        self._say(
            f"round {done.number}: {len(done.asks)} trials asked for, "
            f"{num_to_run} to run in {len(packs)} packs"
        )

    def _say(self, line: str) -> None:
        if self._options.say:
            self._options.say(line)

    def _summary(self, index: Index) -> RunSummary:
        states = Counter(str(index[trial_id].state) for trial_id in self._probes if trial_id in index)
        return RunSummary(
            plan_id=self._plan.plan_id,
            store=str(self._store.path),
            trials_planned=len(self._probes),
            trials_run=self._tally.trials_done,
            states=dict(sorted(states.items())),
            wall_s=time.perf_counter() - self._started,
            is_open=self._growth.is_open,
        )
