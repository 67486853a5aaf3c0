"""A batch in parts: the answers of the oracle, and the trials, are those of the batch at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradlaw.engine.oracle import Draw, TrialOracle
from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.planning.plan import make_plan
from gradlaw.random import streams_of
from gradlaw.rules import HeavyBall
from gradlaw.study import Grid, Preset, Study
from gradlaw.task import LossOutput, Task
from gradlaw.tasks.digits import DigitsMLP, DigitsMLPBatchNorm

STREAMS = streams_of(3)


class Watched(DigitsMLP):
    """Notes the rows of each pass."""

    name = "watched"

    def __init__(self) -> None:
        super().__init__(width=4)
        self.rows: list[int] = []

    def loss(self, params: Any, buffers: Any, batch: Any, noise: Any, taps: Any) -> LossOutput:
        self.rows.append(len(batch[0]))
        return super().loss(params, buffers, batch, noise, taps)


def _oracles(task: Task, *counts: int) -> tuple[list[TrialOracle], dict[str, torch.Tensor]]:
    params, buffers = task.init(STREAMS)

    def draws(number: int) -> Draw:
        batch = task.batch(torch.arange(11) + 50 * number, STREAMS)
        return Draw(batch, task.noise(batch, STREAMS.at(part=number)))

    return [TrialOracle(task, params, buffers, draws, accumulate=count) for count in counts], params


def _close(left: Any, right: Any) -> None:
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("draw", [0, 2])
def test_every_answer_is_that_of_the_whole_batch(draw: int) -> None:
    """Eleven rows in three parts: 3, 4 and 4."""
    task = Watched()
    (whole, parted), params = _oracles(task, 1, 3)
    vector = {name: streams_of(9).normal("noise", tuple(p.shape)) for name, p in params.items()}
    feedback = {"output": torch.ones_like(params["weight2"])}
    for ask in (
        lambda oracle: oracle.value(params, draw=draw),
        lambda oracle: oracle.grad(params, draw=draw),
        lambda oracle: oracle.grad(params, draw=draw, feedback=feedback),
        lambda oracle: oracle.hvp(params, vector, draw=draw),
        lambda oracle: dict(oracle.layer_signals(params, draw=draw)),
    ):
        _close(ask(parted), ask(whole))
    assert set(task.rows) == {3, 4, 11}
    _close(parted.outcome()[0], whole.outcome()[0])
    if draw == 0:
        _close(parted.gradient, whole.gradient)


def test_masks_go_with_their_rows() -> None:
    numbers = torch.from_numpy(np.random.default_rng(2).normal(size=(120, 4))).float()
    task = Task.from_module(
        "toy",
        lambda: nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(0.4), nn.Linear(5, 1)),
        nn.functional.mse_loss,
        (numbers[:, :3], numbers[:, 3:]),
    ).to(torch.device("cpu"), torch.float64)
    (whole, parted), params = _oracles(task, 1, 4)
    _close(parted.grad(params), whole.grad(params))


@pytest.mark.parametrize("settings", [{"batch_size": 10}, {}])
def test_trials_in_parts_are_the_same_packed_and_alone(
    train: Callable[..., Any], settings: dict[str, Any]
) -> None:
    arms = ({"lr": 0.05, "momentum": 0.0}, {"lr": 0.01, "momentum": 0.9})
    at_once = train(DigitsMLP(width=4), HeavyBall(), arms, steps=25, **settings)
    parted = train(DigitsMLP(width=4), HeavyBall(), arms, steps=25, accumulate=3, **settings)
    alone = train(
        DigitsMLP(width=4),
        HeavyBall(),
        arms[1:],
        steps=25,
        accumulate=7,
        compile="never",
        width=1,
        **settings,
    )
    for member in (0, 1):
        np.testing.assert_allclose(parted.weights(member), at_once.weights(member), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(parted.metrics(member), at_once.metrics(member), rtol=1e-10)
    np.testing.assert_allclose(alone.weights(0), at_once.weights(1), rtol=1e-9, atol=1e-12)


def test_a_batch_in_parts_is_compiled_only_where_asked_for(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WARM_S", "COLD_S", "_HELD_S", "FEW_CALLS"):
        monkeypatch.setattr(f"gradlaw.engine.choice.{name}", 0)

    def refuse(*_: object) -> None:
        msg = "compiled"
        raise RuntimeError(msg)

    monkeypatch.setattr("gradlaw.engine.choice.Choice._compiled", refuse)
    arms = ({"lr": 0.1}, {"lr": 0.2})
    with pytest.warns(UserWarning, match="compiled"):
        train(DigitsMLP(width=4), arms=arms, steps=2)
    execution = train(DigitsMLP(width=4), arms=arms, steps=2, accumulate=2).results[0].execution
    assert (execution.mode, execution.reason) == ("eager", "batches are taken in parts")


def test_buffers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"accumulate: got 2 for digits_mlp_batchnorm.*running_mean"):
        _oracles(DigitsMLPBatchNorm(), 2)


def test_more_parts_than_rows_are_refused() -> None:
    (oracle,), params = _oracles(DigitsMLP(), 12)
    with pytest.raises(UsageError, match=r"accumulate: got 12 parts of a batch of 11; allowed: 1 \.\. 11"):
        oracle.value(params)


def _planned(**settings: Any) -> set[tuple[str, int]]:
    grid = Grid(task=DigitsMLP, steps=3, **settings)
    study = Study(name="s", question="?", source="", presets={"demo": Preset(doc="", grids=(grid,), seeds=1)})
    packs = make_plan(study).packs
    return {(member.trial.trial_id, pack.program.accumulate) for pack in packs for member in pack.members}


def test_a_grid_says_how_many_and_the_trials_are_the_same() -> None:
    ((trial_id, one),), ((same, four),) = _planned(), _planned(accumulate=4)
    assert (trial_id, one, four) == (same, 1, 4)


def test_impossible_numbers_are_refused_at_plan_time() -> None:
    with pytest.raises(ConfigurationError, match=r"accumulate: got 0, allowed >= 1"):
        _planned(accumulate=0)
    with pytest.raises(ConfigurationError, match=r"accumulate: got 9 parts, allowed 1 \.\. 8"):
        _planned(accumulate=9, values={"batch_size": 8})
    with pytest.raises(ConfigurationError, match=r"accumulate: got 1618 parts, allowed 1 \.\. 1617"):
        _planned(accumulate=1618)  # the full batch
