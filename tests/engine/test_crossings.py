"""Table probes at crossings, each against the whole curve of a run that knows of none."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from gradlaw.ending import Direction, Target
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.wave import LOOK_STEPS
from gradlaw.errors import ConfigurationError
from gradlaw.planning.grid import expand
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.probes import FullLoss, ParameterNorm
from gradlaw.random import streams_of
from gradlaw.rules import SGD, Adam
from gradlaw.running.measurable import _beyond_weights
from gradlaw.study import Grid
from gradlaw.table import Column, Table
from gradlaw.tasks.digits import DigitsSoftmax

Train = Callable[..., Any]
LRS = tuple({"lr": lr} for lr in (0.003, 0.02, 0.006, 0.05, 0.01))
LEVELS = (2.0, 0.7, 0.4, -1.0)
# the loss begins at 0.874 and its minimum is 0.311
COLUMNS = tuple(Column(name=name, type="float64") for name in ("step", "level", "value", "momentum"))


@dataclass(frozen=True, kw_only=True)
class Seen(TableProbe):
    """The first parameter, and the first of the rule's state where it has one, at each level crossed."""

    name = "seen"
    needs_state = True
    metric: str = "train_loss"
    direction: Direction = "below"
    levels: tuple[float, ...] = LEVELS
    empty: bool = False

    def tables(self) -> tuple[Table, ...]:
        return (Table(name="seen", grain="One level crossed by one trial.", columns=COLUMNS),)

    def at(self, steps: int) -> Sequence[int]:
        return ()

    def crossings(self) -> tuple[Target, ...]:
        return tuple(
            Target(metric=self.metric, value=level, direction=self.direction) for level in self.levels
        )

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        assert snapshot.crossing is not None
        state = snapshot.state["w"].first[0].item() if snapshot.state["w"] else math.nan
        asked.append((snapshot.seed, snapshot.hyperparameters["lr"], snapshot.crossing.value, snapshot.step))
        if self.empty:
            return {}
        value = [snapshot.step], [snapshot.crossing.value], [snapshot.params["w"][0].item()], [state]
        return {"seen": dict(zip(("step", "level", "value", "momentum"), value, strict=True))}


asked: list[tuple[int, object, float, int]] = []
"""Who was measured, for probes that give no rows."""


class Keeper(MemoryRecorder):
    """Keeps checkpoints as the store does, as JSON and copied arrays, with the rows up to them."""

    every_s = 0.0

    def __init__(self, found: Any = None) -> None:
        super().__init__()
        self._found = found
        self.kept: list[Any] = []

    def find(self, refusal: Callable[[Any], str]) -> Any:
        if self._found is None:
            return None
        document, arrays, rows = copy.deepcopy(self._found)
        self._parts = rows
        assert refusal(json.loads(document)) == ""
        return json.loads(document), arrays

    def keep(self, document: Any, arrays: Any) -> None:
        self.kept.append(copy.deepcopy((json.dumps(document), dict(arrays), self._parts)))


@pytest.fixture(autouse=True)
def _forget() -> None:
    asked.clear()
    groups.clear()


def first_below(steps: Any, values: Any, level: float) -> int | None:
    there = np.flatnonzero(values <= level)
    return int(steps[there[0]]) if len(there) else None


@pytest.mark.parametrize(
    ("log_every", "settings"),
    [
        (1, {"width": 5, "compile": "never"}),
        (7, {"width": 2, "compile": "never"}),
        pytest.param(7, {"width": 5, "compile": "always"}, marks=pytest.mark.slow),
    ],
)
def test_each_level_is_measured_once_at_the_first_logged_step_past_it(
    train: Train, least_squares: Any, weights: Any, log_every: int, settings: dict[str, Any]
) -> None:
    """Packed, in chunks and compiled: the rows of each trial's own curve, taken alone."""
    steps = 150
    packed = train(
        least_squares(),
        Adam(),
        LRS,
        steps=steps,
        log_every=log_every,
        probes=(FullLoss(), Seen()),
        **settings,
    )
    counts = []
    for member, arm in enumerate(LRS):
        probes = (FullLoss(), weights(at_steps=tuple(range(steps + 1))))
        alone = train(
            least_squares(), Adam(), (arm,), steps=steps, log_every=log_every, probes=probes, compile="never"
        )
        curve, params = alone.rows(0, "metrics"), alone.weights(0).reshape(steps + 1, -1)
        rows = packed.rows(member, "seen")
        expected = {
            level: step
            for level in LEVELS
            if (step := first_below(curve["step"], curve["train_loss"], level)) is not None
        }
        assert dict(zip(rows.get("level", ()), rows["step"], strict=True)) == expected
        for step, value in zip(rows["step"], rows["value"], strict=True):
            np.testing.assert_allclose(value, params[int(step), 0], rtol=1e-9)
        counts.append(len(expected))
    assert len(set(counts)) > 1, "the arms must differ in what they cross"
    assert max(counts) < len(LEVELS), "a level that no trial crosses"


def test_the_state_is_the_rules_own_before_the_step(train: Train, least_squares: Any) -> None:
    """Adam's first moment after n full-batch steps, summed by hand from the gradients."""
    trained = train(
        least_squares(), Adam(), ({"lr": 0.02},), steps=120, probes=(FullLoss(), Seen(levels=(0.7,)))
    )
    (step,), (momentum,) = (trained.rows(0, "seen")[name] for name in ("step", "momentum"))
    task = least_squares()
    X, y = (torch.as_tensor(value, dtype=torch.float64) for value in (task.X, task.y))
    params = torch.nn.Parameter(task.init(streams_of(0))[0]["w"].clone())
    rows = task.split(streams_of(0)).train
    optimizer = torch.optim.Adam([params], lr=0.02)
    for _ in range(int(step)):
        optimizer.zero_grad()
        (0.5 * ((X[rows] @ params - y[rows]) ** 2).mean()).backward()
        optimizer.step()
    assert step > 3
    assert momentum == pytest.approx(optimizer.state[params]["exp_avg"][0].item(), rel=1e-9)


def test_closing_ranks_and_a_probe_without_rows_measure_nothing_twice(
    train: Train, least_squares: Any
) -> None:
    """Short trials leave, chunks are made anew, and what was crossed stays crossed."""
    arms = tuple(
        {"lr": 0.02, "steps": steps} for steps in (2, LOOK_STEPS // 2, 2 * LOOK_STEPS, 3 * LOOK_STEPS)
    )
    train(least_squares(), Adam(), arms, width=2, probes=(FullLoss(), Seen(empty=True, levels=(2.0, 0.4))))
    assert [level for _, _, level, _ in asked].count(2.0) == 4
    steps = [step for _, _, level, step in asked if level == 0.4]
    assert len(steps) == 3, "all but the one that ends at step 2"
    assert len(set(steps)) == 1


@dataclass(frozen=True, kw_only=True)
class Grouped(Seen):
    """Likewise, of two at most; ``groups`` has the learning rates of those that it was given together."""

    def rows_together(self, snapshots: Iterable[Snapshot]) -> Iterator[Mapping[str, Columns]]:
        given = list(snapshots)
        groups.append([snapshot.hyperparameters["lr"] for snapshot in given])
        yield from map(self.rows, given[:2])


groups: list[list[object]] = []


def test_members_that_cross_at_one_check_are_measured_together(train: Train, least_squares: Any) -> None:
    """Two learning rates as good as equal, and one that is faster: each with its own rows."""
    arms = tuple({"lr": lr} for lr in (0.02, 0.05, 0.02 * (1.0 + 1e-9)))
    given = {"steps": 60, "compile": "never"}
    packed = train(least_squares(), Adam(), arms, probes=(FullLoss(), Grouped(levels=(0.7,))), **given)
    assert groups == [[0.05], [0.02, 0.02 * (1.0 + 1e-9)]]
    for member, arm in enumerate(arms):
        alone = train(least_squares(), Adam(), (arm,), probes=(FullLoss(), Seen(levels=(0.7,))), **given)
        expected, found = (run.rows(at, "seen") for run, at in ((alone, 0), (packed, member)))
        for name, column in expected.items():
            assert found[name].tolist() == (
                column.tolist() if name == "trial_id" else pytest.approx(column, rel=1e-12)
            )


def test_a_probe_that_leaves_a_member_out_is_no_silent_loss(train: Train, least_squares: Any) -> None:
    arms = tuple({"lr": 0.02 * (1.0 + 1e-9 * number)} for number in range(3))
    with pytest.raises(ValueError, match="shorter"):
        train(least_squares(), Adam(), arms, steps=60, probes=(FullLoss(), Grouped(levels=(0.7,))))


def test_batches_halved_for_lack_of_memory_measure_once(train: Train, watched: Any) -> None:
    """Batches begin again: each crossing of each trial still has one row."""
    probe = Seen(metric="parameter_norm", direction="above", levels=(0.1, 1.0, 1e3))
    arms, probes = LRS[:3], (ParameterNorm(), probe)
    trained = train(watched(limit=2), SGD(), arms, steps=20, width=3, compile="never", probes=probes)
    for member in range(3):
        assert trained.rows(member, "seen")["level"].tolist() == [0.1, 1.0]


def test_what_was_crossed_before_a_checkpoint_is_not_measured_again(train: Train, least_squares: Any) -> None:
    """Killed after each checkpoint in turn: the rows are those of a run that nobody disturbed."""
    arms = ({"lr": 0.02}, {"lr": 0.003})
    given = {"steps": 2 * LOOK_STEPS, "probes": (FullLoss(), Seen()), "compile": "never"}
    whole = train(least_squares(), Adam(), arms, **given)
    keeper = Keeper()
    train(least_squares(), Adam(), arms, recorder=keeper, checkpoints=keeper, **given)
    assert len(keeper.kept) == 2
    for kept in keeper.kept:
        again = Keeper(kept)
        resumed = train(least_squares(), Adam(), arms, recorder=again, checkpoints=again, **given)
        for member in range(len(arms)):
            expected, found = (run.rows(member, "seen") for run in (whole, resumed))
            assert len(expected["step"]) >= 1
            assert {name: column.tolist() for name, column in found.items()} == {
                name: column.tolist() for name, column in expected.items()
            }


def test_a_trial_that_diverges_keeps_only_what_it_crossed_before(train: Train, least_squares: Any) -> None:
    arms = ({"lr": 0.02}, {"lr": 60.0})
    levels = (1e3, 1e-300)
    trained = train(least_squares(), SGD(), arms, steps=100, probes=(FullLoss(), Seen(levels=levels)))
    assert trained.results[1].state == "diverged"
    assert trained.rows(1, "seen")["step"].tolist() == [0.0]


@pytest.mark.parametrize("width", [1, 3])
def test_a_level_crossed_at_the_last_step_or_the_first_counts(
    train: Train, least_squares: Any, width: int
) -> None:
    """Each trial's last step is logged, whether or not its length is a multiple of ``log_every``."""
    lengths = (6, 10, 13)
    arms = tuple({"lr": 0.02, "steps": steps} for steps in lengths)
    given = {"log_every": 4, "compile": "never", "width": width}
    free = train(least_squares(), Adam(), arms, probes=(FullLoss(),), **given)
    last = [float(free.rows(member, "metrics")["train_loss"][-1]) for member in range(3)]
    levels = (10.0, *(level * (1.0 + 1e-9) for level in last))
    trained = train(least_squares(), Adam(), arms, probes=(FullLoss(), Seen(levels=levels)), **given)
    for member, steps in enumerate(lengths):
        rows = trained.rows(member, "seen")
        curve = trained.rows(member, "metrics")
        expected = [first_below(curve["step"], curve["train_loss"], level) for level in levels]
        assert rows["level"].tolist() == list(levels[: member + 2])
        assert rows["step"].tolist() == [step for step in expected if step is not None]
        assert (rows["step"][0], rows["step"][-1]) == (0, steps)


def test_a_target_and_a_crossing_at_one_step_are_both_kept(train: Train, least_squares: Any) -> None:
    target = Target(metric="train_loss", value=0.7)
    trained = train(
        least_squares(),
        SGD(),
        ({"lr": 0.05},),
        steps=150,
        target=target,
        probes=(FullLoss(), Seen(levels=(0.7, 0.1))),
    )
    assert trained.results[0].state == "reached_target"
    assert trained.rows(0, "seen")["step"].tolist() == [trained.results[0].steps_done]


@pytest.mark.parametrize(
    ("probes", "got", "allowed"),
    [
        ((FullLoss(), Seen(metric="loss")), "loss", "'train_loss', 'train_accuracy'"),
        ((FullLoss(), Seen(metric="tran_loss")), "tran_loss", "'train_loss', 'train_accuracy'"),
        ((Seen(),), "train_loss", "a metric probe's column"),
    ],
)
def test_a_metric_that_no_probe_gives_before_the_step_is_refused(probes: Any, got: str, allowed: str) -> None:
    grid = Grid(task=DigitsSoftmax, steps=3, probes=probes)
    with pytest.raises(ConfigurationError) as caught:
        expand("study", (grid,), (0,))
    assert len(caught.value.faults) == 1
    assert f"crossing's metric: got '{got}'" in str(caught.value)
    assert allowed in str(caught.value)


def test_weights_that_were_kept_are_not_enough_for_state_or_crossings() -> None:
    """The store keeps neither the state nor where a metric crossed: `gradlaw measure` says so."""
    both = _beyond_weights([Seen()])
    assert "seen: it reads the rule's state" in both
    assert "seen: it measures where a metric crosses a value" in both
    assert _beyond_weights([]) == ""
