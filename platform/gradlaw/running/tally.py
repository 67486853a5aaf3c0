"""How far a run is, counted from the reports of its packs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gradlaw.launch.base import Report
from gradlaw.pack import Pack
from gradlaw.trial import FINAL, State


@dataclass(frozen=True, kw_only=True)
class RunProgress:
    """How far a run is.

    Attributes:
        trials_planned: Trials of the plan.
        trials_held: Of these, those the store held before, and those that are not to run.
        trials_done: Of these, those ended by this run so far, committed or not.
        steps_planned, steps_done: Trial-steps this run set out to do, and those done so far.
        share_done: Share of the work done, in [0, 1]: the mean over packs, as packs are cut to cost alike and
            trial-steps of different tasks are not.
        packs_done, packs_planned: Packs that ended in this run, and packs it set out to run.
        elapsed_s: Seconds since the launch.
    """

    trials_planned: int
    trials_held: int
    trials_done: int
    steps_planned: int
    steps_done: int
    share_done: float
    packs_done: int
    packs_planned: int
    elapsed_s: float


class Tally:
    """Counts of one run. What a failed pack had done is taken back: it is still to be done.

    Args:
        trials_planned: Trials of the plan; more, once an adaptive plan has asked for more.
    """

    def __init__(self, trials_planned: int) -> None:
        self.trials_planned = trials_planned
        self._trials_held = trials_planned
        self._packs_done = self._packs_planned = 0
        self._steps_done = self._steps_planned = 0
        self._running: dict[str, Report] = {}
        self._pack_steps: dict[str, int] = {}
        self._pack_trials: dict[str, int] = {}
        self._started = time.perf_counter()
        self.trials_done = 0

    def begin(self, packs: Sequence[Pack]) -> None:
        """Packs are launched."""
        self._running = {}
        self._pack_steps = {
            pack.pack_id: sum(member.trial.steps for member in pack.members) for pack in packs
        }
        self._pack_trials = {pack.pack_id: len(pack.members) for pack in packs}
        num_trials = sum(self._pack_trials.values())
        self._trials_held = self.trials_planned - self.trials_done - num_trials
        self._packs_planned = self._packs_done + len(packs)
        self._steps_planned = self._steps_done + sum(self._pack_steps.values())

    def add(self, report: Report) -> None:
        """Takes a report of a pack."""
        if not report.finished:
            self._running[report.pack_id] = report
            return
        self._running.pop(report.pack_id, None)
        if report.held or report.stopped:  # another's work, or the next run's
            self._packs_planned -= 1
            self._steps_planned -= self._pack_steps[report.pack_id]
            return
        self._packs_done += 1
        self._steps_done += report.steps_done
        self.trials_done += sum(num for state, num in report.states.items() if State(state) in FINAL)

    def progress(self) -> RunProgress:
        """Where the run stands."""
        running = self._running.values()
        begun = sum(map(self._share, running))
        return RunProgress(
            trials_planned=self.trials_planned,
            trials_held=self._trials_held,
            trials_done=self.trials_done + sum(report.trials_done for report in running),
            steps_planned=self._steps_planned,
            steps_done=self._steps_done + sum(report.steps_done for report in running),
            share_done=min(1.0, (self._packs_done + begun) / max(1, self._packs_planned)),
            packs_done=self._packs_done,
            packs_planned=self._packs_planned,
            elapsed_s=time.perf_counter() - self._started,
        )

    def _share(self, report: Report) -> float:
        """Of a pack that runs; of measurements, which have no steps, by their trials."""
        if steps := self._pack_steps[report.pack_id]:
            return report.steps_done / steps
        return report.trials_done / self._pack_trials[report.pack_id]
