"""Run: plan a study, subtract what the store holds, launch the rest, until nothing is missing.

The way to a committed row: :func:`run` plans; ``_Run.go`` records the plan and starts a launcher, which asks
``_Run._rounds`` for work, one round after another; ``_Run._run_missing`` gives what ``pending`` finds missing
until nothing is, as the ``orders`` that ``_Run._launch`` makes;
:func:`gradlaw.launch.worker.work` takes a pack's lease and trains it; and
:meth:`gradlaw.store.writer.PackWriter.commit` makes its rows visible. What comes back are reports alone:
``tally`` counts them, ``telling`` says them, and where a worker died ``lost`` records it. What others run is
``waiting``'s.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gradlaw.adaptive.growth import Growth
from gradlaw.busy import Busy
from gradlaw.errors import all_faults
from gradlaw.fingerprint import digest
from gradlaw.launch import make_launcher
from gradlaw.launch.base import Launcher, Order, Report
from gradlaw.launch.committing import commit_skipped, ids_of
from gradlaw.pack import Pack, probe_digests
from gradlaw.planning.planned import Planned, plan_study
from gradlaw.running.lost import commit_lost
from gradlaw.running.options import RunOptions
from gradlaw.running.orders import Orders
from gradlaw.running.pending import Index, devices_held, is_held, missing_packs, planned_trials
from gradlaw.running.recorded import record_plan
from gradlaw.running.starved import Starved
from gradlaw.running.tally import Tally
from gradlaw.running.telling import Teller
from gradlaw.running.waiting import Waiting, pauses
from gradlaw.store.attempts import Sight
from gradlaw.store.checkpoints import newest_checkpoints, sweep_checkpoints
from gradlaw.store.leases import Leases, Tenant
from gradlaw.store.store import Store
from gradlaw.store.winners import TrialIndex
from gradlaw.trial import GIVEN_UP, MAX_ATTEMPTS, State


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """How a run ended.

    Attributes:
        plan_id: The plan.
        store: Path of the store.
        trials_planned: Trials of the plan, or of the share of it that was asked for.
        trials_run: Trials that this run ended.
        is_open: Whether an adaptive plan has rounds to come.
        states: These trials by state, all attempts of all runs resolved.
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
        store: Folder or bucket of the store; made if there is none.
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
    launcher = make_launcher(options.launcher, address=options.address)
    with all_faults(options.faults()):
        planned = plan_study(study, preset=preset, overrides=set, seeds=seeds, explore=explore)
    planned.check_claims()
    return _Run(planned, Store.create(store), launcher, options).go()


class _Run:
    """One run of one plan on one store."""

    def __init__(self, planned: Planned, store: Store, launcher: Launcher, options: RunOptions) -> None:
        self._planned, self._store = planned, store
        self._launcher, self._options, self._stop = launcher, options, options.stop
        self._growth = Growth(planned.plan, store)
        self._started = time.perf_counter()
        self._tally, self._teller, self._starved = Tally(0), Teller(options.say), Starved()
        self._busy = Busy()
        self._knows_device = False
        self._again: set[str] = set()  # what was given up and is to be tried once more
        plan = planned.plan
        self._tenant = Tenant(
            driver=uuid.uuid4().hex, study=plan.study, plan_id=plan.plan_id, device=options.device
        )
        self._leases = Leases(store.files, self._tenant.driver)
        self._waiting = Waiting(self._leases, self._teller, lambda: self._stop.asked)
        self._take()

    def _take(self) -> None:
        """Takes the plan as it has grown, and this run's share of it."""
        self._plan = self._share = self._growth.plan
        self._probes = {trial.trial_id: trial.probes for trial in planned_trials(self._plan)}
        self._own: Collection[str] = self._probes  # a million ids are not held twice
        if self._options.shard:
            self._share = self._options.shard.of(self._plan)
            self._own = frozenset(trial.trial_id for trial in planned_trials(self._share))
        self._tally.trials_planned = len(self._own)

    def go(self) -> RunSummary:
        with self._options.stop.heard(self._store.files, self._tenant.driver):
            index = self._prepare()
            pending = self._missing(index)
            self._tell(pending, index)
            self._launcher.run_rounds(self._rounds(pending, index), self._report)
            self._tell_end()
            return self._summary(self._last)

    def _rounds(self, pending: Sequence[Pack], index: Index) -> Iterator[Sequence[Order]]:
        """What there is to launch, until nothing is missing and no round is to come.

        The launcher asks for more once all that it was given has ended.
        """
        index = yield from self._run_missing(pending, index)
        while self._has_ended(index) and not self._stop.asked and self._growth.ask():
            self._take()
            index = self._commit_skipped(self._index())
            pending = self._missing(index)
            self._teller.round(self._growth.rounds[-1], pending)
            index = yield from self._run_missing(pending, index)
        self._last = index

    def _prepare(self) -> Index:
        """Records the plan, its first round and what is not to run, and sweeps; the index after that."""
        index = self._index()
        record_plan(self._store, self._planned, index, (*self._probes, *self._growth.first_ids()))
        if not self._growth.rounds and self._growth.ask():
            self._take()
            index = self._index()
        index = self._commit_skipped(index)
        sweep_checkpoints(self._store.files, index)
        self._leases.sweep()
        if self._options.retry_failed:
            statuses = ((trial_id, index.get(trial_id)) for trial_id in self._own)
            self._again = {item for item, status in statuses if status and status.state in GIVEN_UP}
        return index

    def _missing(self, index: Index) -> tuple[Pack, ...]:
        """What this run's share still has to do."""
        packs = missing_packs(self._share, index, retry_failed=bool(self._again))
        return tuple(pack for pack in packs if self._is_due(pack, index)) if self._again else packs

    def _is_due(self, pack: Pack, index: Index) -> bool:
        """Whether a pack holds more than trials that were given up and have been tried again."""
        asked = probe_digests(pack.program)
        return any(
            item.trial.trial_id in self._again or not is_held(item, index, asked, retry_failed=False)
            for item in pack.members
        )

    def _run_missing(self, pending: Sequence[Pack], index: Index) -> Generator[Sequence[Order], None, Index]:
        """Launches packs until nothing is missing, or nothing more can be done; the index after that.

        What others run is left to them, and waited for at the end, without workers: that is no attempt.
        """
        rounds = MAX_ATTEMPTS + 1  # one more, for what another driver had begun and lost
        breaks = pauses()
        while pending and rounds and not self._stop.asked:
            held = self._leases.live([pack.pack_id for pack in pending])
            free = [pack for pack in pending if pack.pack_id not in held]
            got_further = False
            if free:
                got_further = yield from self._launch(free, index)
            else:
                yield ()
                self._waiting.until_one_is_free(held)
            index = self._index()
            left = self._missing(index)
            if got_further or _num_trials(left) < _num_trials(pending):
                rounds, breaks = MAX_ATTEMPTS + 1, pauses()
            elif free and self._launched.num_run:
                rounds -= 1
            elif free:  # others were faster each time, or workers see leases that are dead from here
                yield ()
                self._waiting.tell_refused(self._launched.refused)
                time.sleep(next(breaks))
            pending = left
        return index

    def _tell(self, packs: Sequence[Pack], index: Index) -> None:
        share = str(self._options.shard or "")
        self._teller.plan(self._share, packs, share=share, notes=self._planned.notes)
        self._teller.doubts(self._share, packs, index, self._store)

    def _tell_end(self) -> None:
        for line in self._busy.lines(self._options.cpus):
            self._teller.say(line)
        if self._stop.asked:
            self._teller.say(
                "told to end: what ran has kept checkpoints, and the next run goes on from there"
            )
        if self._growth.is_open:
            whose = "of other shares " if self._options.shard else ""
            self._teller.say(
                f"rounds are to come: they wait for trials {whose}that have not ended; run again"
            )

    def _has_ended(self, index: Index) -> bool:
        """Whether all that was asked for so far has ended, in all shares, so that more may be asked."""
        return not missing_packs(self._plan, index)

    def _index(self) -> Index:
        """What the store knows of every trial now; :attr:`_resolved` is of the same moment."""
        self._resolved = self._store.resolve()
        return TrialIndex(self._resolved.index, self._probes)

    def _commit_skipped(self, index: Index) -> Index:
        """Commits what is not to run, in whatever share; the index after that."""
        for pause_s in pauses():
            lacking = [pair for pair in self._plan.skipped if pair[0].trial.trial_id not in index]
            if not lacking or self._stop.asked:
                break
            reasons = {member.trial.trial_id: reason for member, reason in lacking}
            pack = Pack(
                pack_id=digest(["skipped", sorted(reasons)]),
                study=self._plan.study,
                program=None,
                members=tuple(member for member, _ in lacking),
            )
            if commit_skipped(self._store, pack, reasons, self._tenant, self._sight([pack])):
                return self._index()
            self._waiting.tell(self._leases.live([pack.pack_id]))
            time.sleep(pause_s)
            index = self._index()
        return index

    def _sight(self, packs: Sequence[Pack]) -> Sight:
        return Sight(self._resolved, [pack.pack_id for pack in packs])

    def _launch(self, packs: Sequence[Pack], index: Index) -> Generator[Sequence[Order], None, bool]:
        """Runs packs; whether any that was lost got further."""
        packs = self._starved.split(packs)
        self._tally.begin(packs)
        self._show()
        like = self._options.order(packs[0], self._store.path, self._tenant)
        orders = Orders(packs, like, index, self._sight(packs), self._starved)
        kept = newest_checkpoints(self._store.files)
        self._launched = launched = _Launched(index, packs if self._again else ())
        yield orders
        if not launched.lost:
            return False
        of_lost = [order for order in orders if order.pack.pack_id in launched.lost]
        seen = index, kept, self._index()
        further = commit_lost(self._store, of_lost, launched.lost, seen, self._starved, self._teller)
        for pack_id in launched.lost.keys() - further:
            self._again.difference_update(launched.ids.get(pack_id, ()))
        return bool(further)

    def _report(self, report: Report) -> None:
        launched = self._launched
        launched.add(report)
        if report.finished and not (report.held or report.stopped or report.lost):
            self._again.difference_update(launched.ids.get(report.pack_id, ()))
        self._follow(report, launched.index)

    def _follow(self, report: Report, index: Index) -> None:
        self._tally.add(report)
        if report.usage:
            self._busy.add(report.usage)
        self._teller.report(report)
        if report.device and not self._knows_device:  # nothing has been trained by this run
            self._knows_device = True
            self._teller.devices(devices_held(self._plan, index), report.device)
        self._show()

    def _show(self) -> None:
        if self._options.on_progress:
            self._options.on_progress(self._tally.progress())

    def _summary(self, index: Index) -> RunSummary:
        states = Counter(str(index[trial_id].state) for trial_id in self._own if trial_id in index)
        return RunSummary(
            plan_id=self._plan.plan_id,
            store=self._store.path,
            trials_planned=len(self._own),
            trials_run=self._tally.trials_done,
            states=dict(sorted(states.items())),
            wall_s=time.perf_counter() - self._started,
            is_open=self._growth.is_open,
        )


class _Launched:
    """What is told of packs that were launched.

    Args:
        index: What the store knew before.
        packs: Those whose trials count as tried once they have run.

    Attributes:
        ids: Of the trials of these packs.
        num_run: Packs that ran to an end.
        refused: Those that workers found held.
        lost: The last reports of those that were lost, with the width they ran at.
    """

    def __init__(self, index: Index, packs: Iterable[Pack] = ()) -> None:
        self.index = index
        self.ids = {pack.pack_id: ids_of(pack) for pack in packs}
        self.num_run = 0
        self.refused: list[str] = []
        self.lost: dict[str, Report] = {}
        self._widths: dict[str, int] = {}

    def add(self, report: Report) -> None:
        """Takes a report."""
        if report.finished and not report.held and not report.stopped:
            self.num_run += 1
        if report.held:
            self.refused.append(report.pack_id)
        width = self._widths.pop(report.pack_id, 0)
        if report.lost:
            self.lost[report.pack_id] = replace(report, width=width)
        elif not report.finished:
            self._widths[report.pack_id] = report.width or width


def _num_trials(packs: Sequence[Pack]) -> int:
    return sum(len(pack.members) for pack in packs)
