"""What a person reads while a run goes on."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from rich.console import Console

from gradlaw.hyperparameter import Scalar
from gradlaw.launch.base import Report
from gradlaw.measurement import Measurement
from gradlaw.planning.plan import make_plan
from gradlaw.probe import Columns
from gradlaw.running import progress as module
from gradlaw.running.progress import ProgressDisplay, describe_rate
from gradlaw.running.tally import RunProgress, Tally
from gradlaw.study import Grid, Preset, Study
from gradlaw.table import Table


def at(**counts: float) -> RunProgress:
    fields = {
        "trials_planned": 10,
        "trials_held": 2,
        "trials_done": 4,
        "steps_planned": 8000,
        "steps_done": 2000,
        "share_done": 0.25,
        "packs_done": 1,
        "packs_planned": 2,
        "elapsed_s": 10.0,
    }
    return RunProgress(**{**fields, **counts})


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (at(), "200 trial-steps/s, 0:30 left"),
        (at(share_done=0.0, steps_done=0), ""),
        (at(elapsed_s=0.0), ""),
        (at(share_done=1.0, steps_done=8000), "800 trial-steps/s, 0:00 left"),
        (at(share_done=0.01, steps_done=20, steps_planned=2000), "2.0 trial-steps/s, 16:30 left"),
        (at(share_done=0.5, steps_planned=0, steps_done=0, trials_done=4), "0.4 trials/s, 0:10 left"),
    ],
)
def test_rate_and_time_left(progress: RunProgress, text: str) -> None:
    assert describe_rate(progress) == text


class Nothing(Measurement):
    """A measurement that is only planned."""

    name = "nothing"

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return ()

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        raise NotImplementedError


def test_measurements_that_run_are_counted_by_trials() -> None:
    preset = Preset(doc="", grids=(Grid(task=Nothing, pack_width=4),), seeds=8)
    plan = make_plan(Study(name="nothing", question="?", source="a test", presets={"demo": preset}), "demo")
    tally = Tally(8)
    tally.begin(plan.packs)
    tally.add(Report(pack_id=plan.packs[0].pack_id, trials_done=3))
    assert tally.progress().share_done == 3 / 8
    tally.add(Report(pack_id=plan.packs[0].pack_id, trials_done=4, states={"done": 4}, finished=True))
    assert tally.progress().share_done == 1 / 2


def test_plain_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    out = io.StringIO()
    with ProgressDisplay(Console(file=out)) as display:
        display.say("plan [red]x[/red]")
        for done in range(5):
            display.show(at(trials_done=done))
    lines = out.getvalue().splitlines()
    assert lines[0] == "plan [red]x[/red]", "markup is not read"
    assert lines[1:] == [
        "3/10 trials, 200 trial-steps/s, 0:30 left",
        "5/10 trials, 200 trial-steps/s, 0:30 left",
    ]
