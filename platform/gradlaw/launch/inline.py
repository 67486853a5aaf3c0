"""Runs packs one after another in this process; errors come unwrapped. For tests and debugging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradlaw.launch.base import Launcher, OnReport, Order
from gradlaw.launch.room import confined, local_device
from gradlaw.launch.worker import work


class InlineLauncher(Launcher):
    """Runs packs here. The first error is recorded in the store and then raised as it is."""

    name = "inline"

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        for asked in orders:
            order = replace(asked, device=local_device(asked.device) if asked.trains else "cpu")
            with confined(order):
                for report in work(order):
                    on_report(report)
                    if report.stopped:
                        return
