"""Early ends inside a pack: targets, own lengths and shared budgets, each against a run without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw.ending import Halving, Target
from gradlaw.engine.wave import LOOK_STEPS
from gradlaw.probe import Columns, MetricProbe, TrialView
from gradlaw.probes import FullLoss, ParameterNorm
from gradlaw.rules import SGD, HeavyBall
from gradlaw.schedules import CosineDecay
from gradlaw.table import Column
from gradlaw.task import Pytree, Task
from gradlaw.trial import State

Train = Callable[..., Any]
LRS = tuple({"lr": lr} for lr in (0.003, 0.02, 0.006, 0.01))
RISING = tuple({"lr": lr} for lr in (0.1, 4.0, 1.9, 2.2))


@dataclass(frozen=True, kw_only=True)
class Score(MetricProbe):
    """A column that the trial was given: not a number where it is negative."""

    name = "score"

    def columns(self, task: Task) -> tuple[Column, ...]:
        return (Column(name="score", type="float64"),)

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        score = view.hp["score"]
        return {"score": torch.where(score < 0, torch.nan, score)}


@pytest.mark.parametrize(
    ("metric", "direction", "arms"),
    [("loss", "below", LRS), ("train_worst", "below", LRS), ("loss", "above", RISING)],
)
def test_a_target_ends_a_trial_at_the_first_logged_step_past_it(
    train: Train, least_squares: Any, weights: Any, metric: str, direction: str, arms: Any
) -> None:
    """With the rows and, to the last bit, the parameters of a run without a target."""
    settings = {"steps": 61, "log_every": 3, "loss_bound": np.inf}
    everywhere = (weights(at_steps=tuple(range(62))), FullLoss())
    full = train(least_squares(), SGD(), arms, probes=everywhere, **settings)
    value = full.metrics(3, metric)[10] if direction == "below" else 50.0 * full.metrics(0)[0]
    target = Target(metric=metric, value=float(value), direction=direction)
    trained = train(least_squares(), SGD(), arms, probes=(weights(), FullLoss()), target=target, **settings)
    ended = []
    for member, result in enumerate(trained.results):
        rows = full.rows(member, "metrics")
        there = rows[metric] <= value if direction == "below" else rows[metric] >= value
        last = int(rows["step"][there][0]) if there.any() else 61
        ended.append(last)
        assert (result.state, result.steps_done) == ("reached_target" if there.any() else "done", last)
        sign = "<=" if direction == "below" else ">="
        assert result.reason == (f"{metric} {sign} {value:g} at step {last}" if there.any() else "")
        for name, column in trained.rows(member, "metrics").items():
            assert np.array_equal(column, rows[name][rows["step"] <= last])
        assert trained.rows(member, "weights")["step"].tolist() == [last] * 3
        assert np.array_equal(trained.weights(member), full.weights(member).reshape(62, 3)[last])
    assert len(set(ended)) > 2


@pytest.mark.parametrize("last", [0, 6, 20])
def test_a_probe_that_is_due_where_the_trial_ends_measures_once(
    train: Train, least_squares: Any, weights: Any, last: int
) -> None:
    losses = train(least_squares(), SGD(), ({"lr": 0.1},), steps=20).metrics(0)
    probe = weights(at_steps=(0, 6, 20))
    trained = train(
        least_squares(), SGD(), ({"lr": 0.1},), steps=20, probes=(probe,),
        target=Target(metric="loss", value=float(losses[last])),
    )  # fmt: skip
    assert (trained.results[0].state, trained.results[0].steps_done) == (State.REACHED_TARGET, last)
    expected = [step for step in (0, 6, 20) if step <= last]
    assert trained.rows(0, "weights")["step"].tolist() == np.repeat(expected, 3).tolist()


def test_trials_of_different_lengths_are_what_they_are_alone(train: Train, least_squares: Any) -> None:
    """The schedule's horizon is the trial's own, and so are its last row and its probe at the end."""
    arms = tuple({"lr": 0.1, "momentum": 0.5, "steps": steps} for steps in (0, 33, 7, 140, 20))
    settings = {"schedule": CosineDecay(), "log_every": 5}
    packed = train(least_squares(), HeavyBall(), arms, width=3, **settings)
    for member, arm in enumerate(arms):
        alone = train(least_squares(), HeavyBall(), (arm,), **settings)
        assert alone.results[0].trial_id == packed.results[member].trial_id
        assert (packed.results[member].state, packed.results[member].steps_done) == ("done", arm["steps"])
        logged = sorted({*range(0, arm["steps"], 5), arm["steps"]})
        assert packed.rows(member, "metrics")["step"].tolist() == logged
        np.testing.assert_allclose(packed.metrics(member), alone.metrics(0), rtol=1e-9)
        assert packed.rows(member, "weights")["step"].tolist() == [arm["steps"]] * 3
        np.testing.assert_allclose(packed.weights(member), alone.weights(0), rtol=1e-9)


def _survivors(curves: Mapping[str, NDArray[Any]], halving: Halving, steps: int) -> dict[str, int]:
    """Algorithm 1 of arXiv 1502.07943 on curves of full length: the steps that each trial is given."""
    left, given = sorted(curves), dict.fromkeys(curves, steps)
    rung = halving.first
    while rung < steps:
        sign = 1.0 if halving.direction == "below" else -1.0
        values = {one: sign * curves[one][rung] for one in left}
        left.sort(key=lambda one: (math.isnan(values[one]), values[one], one))
        keep = -(-len(left) // halving.factor)
        given.update(dict.fromkeys(left[keep:], rung))
        left, rung = left[:keep], rung * halving.factor
    return given


@pytest.mark.parametrize("width", [None, 4])
@pytest.mark.parametrize(
    "halving",
    [
        Halving(metric="loss", first=2, factor=2),
        Halving(metric="loss", first=3, factor=3, direction="above"),
        Halving(metric="parameter_norm", first=30, factor=2),
    ],
)
def test_halving_keeps_the_best(
    train: Train, least_squares: Any, weights: Any, halving: Halving, width: int | None
) -> None:
    """Who survives is told by a run without halving; and what is recorded are its curves, cut."""
    arms, settings = tuple({"lr": 0.02 * k} for k in (3, 1, 9, 7, 5, 2, 11, 8, 4, 10)), {"width": width}
    everywhere = (weights(at_steps=tuple(range(41))), ParameterNorm())
    full = train(least_squares(), SGD(), arms, probes=everywhere, steps=40)
    cut = train(
        least_squares(), SGD(), arms, probes=(weights(), ParameterNorm()), steps=40, halving=halving,
        **settings,
    )  # fmt: skip
    curves = {one.trial_id: full.metrics(place, halving.metric) for place, one in enumerate(full.results)}
    given = _survivors(curves, halving, 40)
    assert {one.trial_id: one.steps_done for one in cut.results} == given
    for place, one in enumerate(cut.results):
        stopped = one.steps_done < 40
        reason = f"not among the best by {halving.metric} at step {one.steps_done}" if stopped else ""
        assert (one.state, one.reason) == (State.STOPPED if stopped else State.DONE, reason)
        assert cut.rows(place, "metrics")["step"].tolist() == list(range(one.steps_done + 1))
        np.testing.assert_allclose(cut.metrics(place), full.metrics(place)[: one.steps_done + 1], rtol=1e-9)
        assert cut.rows(place, "weights")["step"].tolist() == [one.steps_done] * 3
        there = full.weights(place).reshape(41, 3)[one.steps_done]
        np.testing.assert_allclose(cut.weights(place), there, rtol=1e-9)


@pytest.mark.parametrize("direction", ["below", "above"])
def test_in_halving_ties_go_by_trial_id_and_what_is_not_a_number_is_last(
    train: Train, least_squares: Any, direction: Any
) -> None:
    scores = (-1.0, 2.0, 2.0, -2.0, 2.0, -3.0, 2.0, 2.0, -4.0)
    arms = tuple({"lr": 0.01 * (k + 1), "score": score} for k, score in enumerate(scores))
    trained = train(
        least_squares(), SGD(), arms, probes=(Score(),), steps=9, width=2,
        halving=Halving(metric="score", first=4, factor=3, direction=direction),
    )  # fmt: skip
    tied = sorted(one.trial_id for one, score in zip(trained.results, scores, strict=True) if score > 0)
    assert {one.trial_id for one in trained.results if one.state == State.DONE} == set(tied[:3])


def test_in_halving_only_those_that_run_are_counted(train: Train, least_squares: Any) -> None:
    """Two diverge, one is done and one is at the target before the ranking: of six left, three go on."""
    good = [{"lr": 0.1 + 0.001 * k, "score": float(k)} for k in range(6)]
    gone = [{"lr": 1e150, "score": 0.0}, {"lr": 1e150, "score": 0.5}, {"lr": 0.2, "score": 0.0, "steps": 8}]
    trained = train(
        least_squares(), SGD(), (*gone, *good, {"lr": 0.1, "score": 10.0}), probes=(Score(),), steps=15,
        width=4, halving=Halving(metric="score", first=8, factor=2),
        target=Target(metric="score", value=10.0, direction="above"),
    )  # fmt: skip
    states = [str(one.state) for one in trained.results]
    assert states == ["diverged"] * 2 + ["done"] * 4 + ["stopped"] * 3 + ["reached_target"]
    assert [one.steps_done for one in trained.results[2:]] == [8, 15, 15, 15, 8, 8, 8, 0]


def test_packs_shrink_as_members_end(train: Train, watched: Any) -> None:
    """Every batch is as wide as a halving of the first width that still holds all; none is empty."""
    task = watched()
    arms = tuple({"lr": 0.01 * k, "steps": 30 - 10 * (k > 2) - 10 * (k > 4)} for k in range(1, 9))
    train(task, SGD(), arms, compile="never", probes=())
    assert task.widths == [8] * 11 + [4] * 10 + [2] * 10


def test_halving_shrinks_packs_across_chunks(train: Train, watched: Any) -> None:
    task = watched()
    arms = tuple({"lr": 0.01 * k} for k in range(1, 17))
    train(
        task, SGD(), arms, steps=40, width=4, compile="never", probes=(),
        halving=Halving(metric="loss", first=4, factor=4),
    )  # fmt: skip
    # four chunks to step 4, then one of four members to step 16, then one member, padded to two
    assert task.widths == [4] * 4 * 5 + [4] * 12 + [2] * 24


@pytest.mark.parametrize("steps_each", [3, 200])
def test_where_all_have_ended_no_further_step_is_computed(
    train: Train, watched: Any, steps_each: int
) -> None:
    """But for those up to the next look at who has ended."""
    losses = train(watched(), SGD(), ({"lr": 0.01},), steps=200, compile="never").metrics(0)
    task = watched()
    trained = train(
        task, SGD(), ({"lr": 0.01}, {"lr": 0.02}), steps=10**6, compile="never", probes=(),
        target=Target(metric="loss", value=float(losses[steps_each])),
    )  # fmt: skip
    assert [one.state for one in trained.results] == [State.REACHED_TARGET] * 2
    assert trained.results[0].steps_done == steps_each
    looks = -(-(steps_each + 1) // LOOK_STEPS)
    assert len(task.widths) == looks * LOOK_STEPS


def test_halving_after_memory_did_not_suffice(train: Train, least_squares: Any, watched: Any) -> None:
    arms = tuple({"lr": 0.01 * k} for k in (3, 7, 5, 1, 8, 2, 6, 4))
    settings = {"steps": 20, "halving": Halving(metric="loss", first=5, factor=2), "compile": "never"}
    roomy = train(least_squares(), SGD(), arms, **settings)
    tight = train(watched(limit=3), SGD(), arms, **settings)
    assert {one.execution.width for one in tight.results} == {2}
    for place, one in enumerate(roomy.results):
        other = tight.results[place]
        assert (other.state, other.steps_done) == (one.state, one.steps_done)
        assert tight.rows(place, "metrics")["step"].tolist() == list(range(one.steps_done + 1))
        np.testing.assert_allclose(tight.weights(place), roomy.weights(place), rtol=1e-9)


def test_the_time_limit_ends_all_chunks_of_a_shared_budget(train: Train, least_squares: Any) -> None:
    trained = train(
        least_squares(), SGD(), LRS, steps=10**9, log_every=64, time_limit_s=2.0, width=2, probes=(),
        halving=Halving(metric="loss", first=64 * 10**6),
    )  # fmt: skip
    assert [one.state for one in trained.results] == [State.TIMED_OUT] * 4
    done = [one.steps_done for one in trained.results]
    assert min(done) > 0
    assert max(done) - min(done) <= LOOK_STEPS
    for place, one in enumerate(trained.results):
        assert f"after {one.steps_done} of" in one.reason
        assert trained.rows(place, "metrics")["step"].tolist() == list(range(0, one.steps_done, 64))


def test_early_ends_that_run_again_record_no_row_twice(
    train: Train, least_squares: Any, weights: Any
) -> None:
    """Memory runs out after some have reached the target and some were stopped, with rows recorded."""

    class Late(weights):
        def rows(self, snapshot: Any) -> Mapping[str, Columns]:
            if snapshot.step == 150 and not failed:
                failed.append(snapshot.step)
                msg = "tried to allocate"
                raise torch.OutOfMemoryError(msg)
            return super().rows(snapshot)

    failed: list[int] = []
    arms = tuple({"lr": 0.1 + 0.001 * k, "score": float(score)} for k, score in enumerate((0, 1, 2, 9, 3, 4)))
    trained = train(
        least_squares(), SGD(), arms, steps=160, probes=(Late(at_steps=(2, 150, 160)), Score()), width=4,
        flush_s=0.0, halving=Halving(metric="score", first=10, factor=20),
        target=Target(metric="score", value=9.0, direction="above"),
    )  # fmt: skip
    assert failed
    ends = {place: _recorded(trained, place) for place in range(6)}
    assert ends == {0: [2, 150, 160], 1: [2, 10], 2: [2, 10], 3: [0], 4: [2, 10], 5: [2, 10]}
    for place, one in enumerate(trained.results):
        assert trained.rows(place, "metrics")["step"].tolist() == list(range(one.steps_done + 1))


def _recorded(trained: Any, place: int) -> Sequence[int]:
    """Steps at which the weights were recorded; each thrice, since there are three."""
    steps = trained.rows(place, "weights")["step"].tolist()
    assert steps == np.repeat(steps[::3], 3).tolist()
    return steps[::3]


def test_progress_never_falls_as_members_end(train: Train, least_squares: Any) -> None:
    arms = tuple({"lr": 0.01 * k} for k in range(1, 8))
    halving = Halving(metric="loss", first=5, factor=2)
    trained = train(least_squares(), SGD(), arms, steps=20, width=2, flush_s=0.0, halving=halving)
    for counted in ("steps_done", "trials_done"):
        counts = [getattr(progress, counted) for progress in trained.progress]
        assert counts == sorted(counts)
    assert trained.progress[-1].trials_done == 7
