"""At which steps a trial is measured again: those at which the engine measured it, however it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from gradlaw.ending import Halving, Target
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.pack import Member, Pack, Training
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.rules.sgd import SGD
from gradlaw.running.measurable import due_of
from gradlaw.schedules import Constant
from gradlaw.table import Column, Table
from gradlaw.trial import State, Trial

STEPS = 24
LOOKS = Table(name="looks", grain="One look.", columns=(Column(name="step", type="int64"),))


@dataclass(frozen=True, kw_only=True)
class Looks(TableProbe):
    """Says when it was asked."""

    name = "looks"
    every: int

    def tables(self) -> tuple[Table, ...]:
        return (LOOKS,)

    def at(self, steps: int) -> Sequence[int]:
        return sorted({*range(0, steps + 1, self.every), steps})

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        return {"looks": {"step": [snapshot.step]}}


@pytest.mark.parametrize("every", [1, 3, 5, STEPS])
@pytest.mark.parametrize(
    ("ends", "states"),
    [
        ({}, {State.DONE, State.DIVERGED}),
        ({"target": Target(metric="loss", value=0.44)}, {State.DONE, State.DIVERGED, State.REACHED_TARGET}),
        ({"halving": Halving(metric="loss", first=4, factor=2)}, {State.DONE, State.DIVERGED, State.STOPPED}),
    ],
)
def test_as_the_engine_measured(
    every: int,
    ends: dict[str, object],
    states: set[State],
    least_squares: type,
    finish: Callable[..., object],
) -> None:
    """Rates from so small that nothing moves to so large that trials diverge at steps of their own."""
    probe = Looks(every=every)
    training = Training(
        task=least_squares(),
        rule=SGD(),
        schedule=Constant(),
        probes=(probe,),
        steps=STEPS,
        dtype="float64",
        **ends,
    )
    rates = [1e-5, 0.003, 0.03, 0.1, 0.2, 0.3, 0.4, 3.0, 4.0, 6.0, 9.0, 20.0, 1e3, 1e6, 1e200]
    members = []
    for rate in rates:
        trial = Trial(task="t@1", hyperparameters={"lr": rate}, seed=3, steps=STEPS)
        members.append(
            Member(
                trial=trial,
                hyperparameters={"lr": rate, "weight_decay": 0.0, "batch_size": 0, "sampling": "iid"},
            )
        )
    recorder = MemoryRecorder()
    pack = Pack(pack_id="p", study="s", program=training, members=tuple(members))
    trained = finish(run_pack(pack, recorder, width=8, compile="never"), recorder)
    assert {result.state for result in trained.results} == states
    ended = {(result.state, result.steps_done) for result in trained.results}
    assert len(ended) >= 6, "ends at many steps"
    for member, result in zip(members, trained.results, strict=True):
        found = recorder.rows("looks", result.trial_id)
        expected = sorted(found["step"].tolist()) if found else []
        row = {"steps_done": result.steps_done, "state": str(result.state)}
        due = due_of(training, member, row, (probe,))
        assert list(due) == expected, (result.state, result.steps_done)
        assert all(probes == [probe] for probes in due.values())
