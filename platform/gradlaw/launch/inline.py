"""Runs packs one after another in this process; errors come unwrapped. For tests and debugging."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradlaw.launch.base import Launcher, OnReport, Order, Report
from gradlaw.launch.room import confined, local_device
from gradlaw.launch.worker import work


class InlineLauncher(Launcher):
    """Runs packs here. The first error is recorded in the store and then raised as it is."""

    name = "inline"

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        device = ""
        for asked in orders:
            order = replace(asked, device=local_device(asked.device) if asked.trains else "cpu")
            if order.trains and not device:
                device = order.device
                on_report(Report(pack_id=order.pack.pack_id, device=device))
            with confined(order):
                for report in work(order):
                    on_report(report)
                    if report.stopped:
                        return
