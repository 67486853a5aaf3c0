"""A whole run of one size, as anyone calls it, on workers that only write; and the memory of its driver."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from _scale_asking import asked, gradlaw_command
from _scale_rows import PackingWorker, Times

import gradlaw
from gradlaw.launch.base import Launcher, OnReport, Order
from gradlaw.running import runner

STUDY = Path(__file__).parent / "scale_study"
OPEN_PACKS = 1000
"""Packs that are open at once, over all workers."""

_WAITING = 4
"""Orders that lie ready for the workers: the driver holds no more of them."""
_PATIENCE_S = 120.0


def memory_bytes(entry: str = "VmRSS") -> int:
    """What this process uses, or (``VmHWM``) the most it used since :func:`forget_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{entry}:"))
    return 1024 * int(line.split()[1])


def forget_peak() -> None:
    """Lets the most memory used be counted from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class Writing(Launcher):
    """Runs packs in processes that write made-up curves.

    Args:
        processes: Number of workers.
        halfway: Called when half of the packs are out, while the workers wait.

    Attributes:
        marks: Seconds since the first call of ``run``, and memory, at each quarter of the packs.
        times: What each pack took, of all workers.
    """

    name = "writing"

    def __init__(self, processes: int, halfway: Callable[[], None]) -> None:
        self._processes, self._halfway = processes, halfway
        self.marks: dict[str, Mapping[str, float]] = {}
        self.times = Times()
        self.paused_s = 0.0

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        """Hands out every order and passes every report on."""
        self._begun = time.perf_counter()
        self._mark("launched")
        context = multiprocessing.get_context("spawn")
        tasks, reports = context.Queue(maxsize=_WAITING), context.Queue()
        window = max(1, min(OPEN_PACKS, len(orders)) // self._processes)
        workers = [
            context.Process(target=_work, args=(tasks, reports, window)) for _ in range(self._processes)
        ]
        for worker in workers:
            worker.start()
        quarters = {len(orders) * quarter // 4: quarter for quarter in range(1, 5)}
        for number, order in enumerate(orders, start=1):
            tasks.put(order, timeout=_PATIENCE_S)
            self._drain(reports, on_report)
            if number in quarters:
                self._mark(f"quarter_{quarters[number]}")
                if quarters[number] == 2:
                    self._pause()
        for _ in workers:
            tasks.put(None, timeout=_PATIENCE_S)
        for _ in workers:
            while (item := reports.get(timeout=_PATIENCE_S)) and not isinstance(item, Times):
                on_report(item)
            self._add(item)
        for worker in workers:
            worker.join()
        self._mark("committed")

    def _drain(self, reports: Any, on_report: OnReport) -> None:
        while True:
            try:
                on_report(reports.get_nowait())
            except queue.Empty:
                return

    def _pause(self) -> None:
        begun = time.perf_counter()
        self._halfway()
        self.paused_s = time.perf_counter() - begun

    def _add(self, times: Times) -> None:
        for name, taken in vars(times).items():
            getattr(self.times, name).extend(taken)

    def _mark(self, name: str) -> None:
        elapsed = time.perf_counter() - self._begun - self.paused_s
        self.marks[name] = {"seconds": round(elapsed, 3), "rss_bytes": memory_bytes()}


def _work(tasks: Any, reports: Any, window: int) -> None:
    torch.set_num_threads(1)
    worker = PackingWorker(window)
    while (order := tasks.get()) is not None:
        for report in worker.take(order):
            reports.put(report)
    for report in worker.finish():
        reports.put(report)
    reports.put(worker.times)


@contextmanager
def _planned(marks: dict[str, Any]) -> Iterator[None]:
    """Notes time and memory around the making of the plan; the most memory is counted from its end."""
    plan_study = runner.plan_study

    def measured(*given: Any, **named: Any) -> Any:
        before, begun = memory_bytes(), time.perf_counter()
        planned = plan_study(*given, **named)
        planned.check_claims()  # a run does so next, and imports statistics for it
        marks["plan_s"] = round(time.perf_counter() - begun, 3)
        marks["imports_bytes"], marks["planned_bytes"] = before, memory_bytes()
        forget_peak()
        return planned

    with patch.object(runner, "plan_study", measured):
        yield


def run(trials: int, store: Path, processes: int, halfway: Callable[[], None]) -> dict[str, Any]:
    """Runs one size; returns what it took, ready to be a line of the results."""
    launcher = Writing(processes, halfway)
    marks: dict[str, Any] = {}
    begun = time.perf_counter()
    with patch.object(runner, "make_launcher", lambda *_, **__: launcher), _planned(marks):
        summary = gradlaw.run(
            STUDY, preset=f"trials_{trials}", store=store, on_progress=lambda _: None, say=lambda _: None
        )
    total = time.perf_counter() - begun - launcher.paused_s
    assert summary.complete, summary
    committed = launcher.marks["committed"]["seconds"]
    packs = len(launcher.times.commit_s)
    return {
        "case": "run",
        "trials": trials,
        "packs": packs,
        "open_packs": min(OPEN_PACKS, packs),
        "processes": processes,
        **marks,
        "total_s": round(total, 3),
        "writing_s": committed,
        "beside_s": round(total - committed - marks["plan_s"], 3),
        **{name: _quantiles(taken) for name, taken in vars(launcher.times).items()},
        "marks": launcher.marks,
        "peak_beyond_plan_bytes": memory_bytes("VmHWM") - marks["planned_bytes"],
    }


def _quantiles(taken: Sequence[float]) -> dict[str, float]:
    found = np.quantile(taken, (0.5, 0.99, 1.0))
    return dict(zip(("median", "p99", "max"), (round(float(item), 6) for item in found), strict=True))


def main() -> None:
    """``_scale_driver.py TRIALS STORE PROCESSES``: one size; a line of JSON.

    Halfway, with as many packs open as ever, a process of its own is asked for the status.
    """
    trials, store, processes = sys.argv[1:4]
    halfway: dict[str, Any] = {}
    command = gradlaw_command("status", store)
    record = run(int(trials), Path(store), int(processes), lambda: halfway.update(asked(command)))
    running = re.search(r"committed, ([\d,]+) running", halfway.pop("said"))
    halfway["packs_running"] = int(running[1].replace(",", "")) if running else 0
    print(json.dumps({**record, "status_halfway": halfway}))
    os._exit(0)  # the plan of a million trials takes seconds to be let go of


if __name__ == "__main__":
    main()
