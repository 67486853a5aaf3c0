"""Says for what a run waits on a cluster whose room others may have."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from gradlaw.launch.base import OnReport, Report
from gradlaw.launch.resources import node_bundle
from gradlaw.launch.trainable import PACK

FIRST_S, GROWTH = 30.0, 2.0
"""Seconds without a pack that runs until that is said, and how much longer it takes each time after that."""


class Patience(tune.Callback):
    """Tells a run that its packs wait and none of them runs: Ray waits without a word, and without end.

    Args:
        on_report: The run's.
    """

    def __init__(self, on_report: OnReport) -> None:
        self._on_report = on_report
        self._since, self._quiet_s = time.monotonic(), FIRST_S

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for a restore, and runs here are never restored by Tune."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack begins."""
        del iteration, trials, trial, info
        self._since, self._quiet_s = time.monotonic(), FIRST_S

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune has looked for what may begin; it does so several times a second."""
        del iteration, info
        waited_s = time.monotonic() - self._since
        if waited_s < self._quiet_s:
            return
        waiting = [trial for trial in trials if trial.status == Trial.PENDING]
        if not waiting or any(trial.status == Trial.RUNNING for trial in trials):
            self._since, self._quiet_s = time.monotonic(), FIRST_S
            return
        self._quiet_s *= GROWTH
        free = ray.available_resources()  # type: ignore[no-untyped-call]  # ray leaves it untyped
        note = (
            f"waiting for a worker for {waited_s:.0f} s: no pack runs, and {len(waiting)} may; free on the "
            f"cluster: {node_bundle({'memory': 0, **free})}; a worker is being started, or others have the "
            "room, until they make some"
        )
        self._on_report(Report(pack_id=str(waiting[0].config[PACK]), note=note))
