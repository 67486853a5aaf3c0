"""Memory of a driver: bounded by its plan, and no more for packs that have reported."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

import gradlaw
from gradlaw.launch.base import Launcher, OnReport, Order, Report
from gradlaw.running import runner
from gradlaw.trial import State

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "planning.py"
STUDY = """
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.modular_addition import ModularAddition
RATES = tuple(0.001 * i for i in range(1, 101))
GRID = Grid(task=ModularAddition, values={"lr": RATES}, steps=9, pack_width=2)
STUDY = Study(name="many", question="?", source="", presets={"demo": Preset(doc="", grids=(GRID,), seeds=40)})
"""


class ReportingError(Exception):
    """All packs have reported."""


class Reporting(Launcher):
    """Reports packs as done without running them: what grows then is the driver."""

    name = "reporting"

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        tracemalloc.start()
        for number in range(len(orders)):
            order = orders[number]
            pack_id, width = order.pack.pack_id, len(order.pack.members)
            on_report(Report(pack_id=pack_id, trials_done=1, steps_done=width))
            done = {str(State.DONE): width}
            on_report(Report(pack_id=pack_id, trials_done=width, states=done, finished=True))
            if number % 500 == 499:
                gc.collect()
                self.bytes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        raise ReportingError


def test_nothing_is_kept_of_packs_that_have_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "study.py").write_text(STUDY)
    launcher = Reporting()
    monkeypatch.setattr(runner, "make_launcher", lambda *_, **__: launcher)
    with pytest.raises(ReportingError):
        gradlaw.run(tmp_path / "many", store=tmp_path / "store", on_progress=lambda _: None)
    assert len(launcher.bytes) == 4
    per_pack = (launcher.bytes[-1] - launcher.bytes[0]) / 1500
    assert per_pack < 4, "a pointer a pack would be 8 bytes"


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "allowed"), [("seeds", 600), ("combinations", 1600)])
def test_memory_to_the_first_pack(shape: str, allowed: int, tmp_path: Path) -> None:
    """Bytes a trial, in a process of its own; a million at 1,600 and imports of 300 MiB fill 1.8 GiB."""
    command = [sys.executable, str(BENCHMARK), "run", shape, "100000", str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = {line["phase"]: line for line in map(json.loads, done.stdout.splitlines())}
    used = lines["to_first_pack"]["peak_bytes"] - lines["imports"]["peak_bytes"]
    assert used < allowed * 100_000 + 64 * 2**20, "and what pandas takes, which pyarrow imports"
    assert lines["quarter_4"]["rss_bytes"] - lines["quarter_1"]["rss_bytes"] < 2**20
