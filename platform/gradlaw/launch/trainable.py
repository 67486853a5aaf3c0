"""The worker: a Ray actor that runs one order after another, each as a trial of Ray Tune."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray import cloudpickle, tune

from gradlaw.launch import credentials
from gradlaw.launch.base import Order, Report
from gradlaw.launch.committing import commit_timed_out
from gradlaw.launch.resources import own_node
from gradlaw.launch.room import bounded, confined
from gradlaw.launch.worker import work
from gradlaw.text import redact

PACK = "pack"
"""Where a Tune trial's configuration has the pack's id."""
HANG_FACTOR, HANG_GRACE_S = 2.0, 5.0
"""A worker is ended after this many time limits and seconds: one long step is still waited for."""


class PackTrainable(tune.Trainable):
    """Runs one order after another; each ``step`` goes on until the next report."""

    def setup(
        self, config: dict[str, Any], python_path: Sequence[str] = (), held: Mapping[str, str] | None = None
    ) -> None:
        """Makes the process ready for orders."""
        sys.path.extend(item for item in python_path if item not in sys.path)
        credentials.take(held or {})
        self._node = own_node()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Makes way for the next order in the same process, which has torch loaded already."""
        self._pack_id: str = new_config[PACK]
        self._alarm: threading.Timer | None = None
        self._reports: Iterator[Report] = iter(())
        return True

    def take(self, data: bytes) -> None:
        """Takes an order; what it needs is imported only where it is decoded, at the first step."""
        self._reports = self._work(data)

    def _work(self, data: bytes) -> Iterator[Report]:
        order: Order = cloudpickle.loads(data)
        order = bounded(order, self._node.cpus, self._node.memory_bytes)
        self._alarm = _set_alarm(order)
        with confined(order):
            yield from work(order)

    def step(self) -> dict[str, Any]:
        """Works until the next report and hands it on."""
        try:
            report = next(self._reports)
        except Exception as error:  # noqa: BLE001 - the driver decides what follows
            cause = redact(f"{type(error).__name__}: {error}")
            report = Report(pack_id=self._pack_id, finished=True, error=cause, lost=True)
        if report.finished:
            self._reports = iter(())  # what the pack took is not kept while the worker waits
            if self._alarm:
                self._alarm.cancel()
        return {"report": vars(report), "done": report.finished}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what a pack has done is in the store."""

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Nothing to load."""


def _set_alarm(order: Order) -> threading.Timer | None:
    """Ends this process if a step hangs: the engine looks at the clock only between steps."""
    if order.time_limit_s is None:
        return None
    wait_s = HANG_FACTOR * order.time_limit_s + HANG_GRACE_S

    def end() -> None:
        try:
            commit_timed_out(order, f"time limit passed and nothing moved for {wait_s:g} s: ended")
        finally:
            os._exit(1)

    alarm = threading.Timer(wait_s, end)
    alarm.daemon = True
    alarm.start()
    return alarm
