"""Alone and packed, in any order, and again: the same trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch import nn

from gradlaw.random import streams_of
from gradlaw.rules import SGD, Adam, HeavyBall
from gradlaw.schedules import LinearWarmup
from gradlaw.tasks.digits import DigitsMLP

ARMS = ({"lr": 0.02, "beta2": 0.99}, {"lr": 0.003}, {"lr": 0.1, "beta1": 0.5}, {"lr": 0.0})
SETTINGS = {"steps": 200, "batch_size": 16, "log_every": 20}


@pytest.mark.parametrize("sampling", ["iid", "epoch"])
def test_alone_as_in_a_pack(train: Callable[..., Any], sampling: str) -> None:
    packed = train(DigitsMLP(), Adam(), ARMS, seeds=(5, 9), sampling=sampling, **SETTINGS)
    for member, (seed, arm) in enumerate((seed, arm) for seed in (5, 9) for arm in ARMS):
        if member % 3:  # three of the eight are enough
            continue
        alone = train(DigitsMLP(), Adam(), (arm,), seeds=(seed,), sampling=sampling, **SETTINGS)
        np.testing.assert_allclose(alone.weights(0), packed.weights(member), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(alone.metrics(0), packed.metrics(member), rtol=1e-9)


def test_order_of_members_does_not_matter_and_a_rerun_is_bitwise_equal(train: Callable[..., Any]) -> None:
    first, again, turned = (train(DigitsMLP(), Adam(), arms, **SETTINGS) for arms in (ARMS, ARMS, ARMS[::-1]))
    for member in range(len(ARMS)):
        assert np.array_equal(first.weights(member), again.weights(member))
        there = turned.weights(len(ARMS) - 1 - member)
        np.testing.assert_allclose(first.weights(member), there, rtol=1e-9, atol=1e-12)


def test_a_narrow_width_runs_everyone(train: Callable[..., Any]) -> None:
    settings = {"steps": 30, "batch_size": 8}
    wide = train(DigitsMLP(), Adam(), ARMS, seeds=(1,), **settings)
    narrow = train(DigitsMLP(), Adam(), ARMS, seeds=(1,), width=3, **settings)
    assert [result.execution.width for result in narrow.results] == [3] * 4
    assert [result.execution.width for result in wide.results] == [4] * 4
    for member in range(4):
        np.testing.assert_allclose(wide.weights(member), narrow.weights(member), rtol=1e-9, atol=1e-12)


def test_a_full_run_is_that_of_torch(train: Callable[..., Any]) -> None:
    """Full batch, momentum, warm-up and weight decay, against a plain loop with torch.optim."""
    task = DigitsMLP().to(torch.device("cpu"), torch.float64)
    arms = (
        {"lr": 0.3, "momentum": 0.9, "warmup_steps": 20},
        {"lr": 0.05, "momentum": 0.0, "weight_decay": 0.01},
    )
    trained = train(DigitsMLP(), HeavyBall(), arms, seeds=(3,), schedule=LinearWarmup(), steps=60)
    streams = streams_of(3)
    images, classes = task.batch(task.split(streams).train, streams)[:2]
    for member, arm in enumerate(arms):
        params = {name: value.clone().requires_grad_() for name, value in task.init(streams)[0].items()}
        warmup = arm.get("warmup_steps", 0)
        torch_own = {name: value for name, value in arm.items() if name in ("momentum", "weight_decay")}
        optimizer = torch.optim.SGD(list(params.values()), lr=arm["lr"], **torch_own)
        losses = []
        for t in range(60):
            optimizer.param_groups[0]["lr"] = arm["lr"] * min(1.0, (t + 1) / max(warmup, 1))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(_forward(params, images), classes)
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
        np.testing.assert_allclose(trained.metrics(member)[:-1], losses, rtol=1e-9)
        flat = torch.cat([p.detach().reshape(-1) for p in params.values()]).numpy()
        np.testing.assert_allclose(trained.weights(member), flat, rtol=1e-8, atol=1e-11)


def _forward(params: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    W1, b1, W2, b2 = params.values()
    return torch.tanh(images @ W1.T + b1) @ W2.T + b2


def test_a_pack_survives_the_way_to_a_worker(train: Callable[..., Any], finish: Callable[..., Any]) -> None:
    from gradlaw.engine.recorder import MemoryRecorder
    from gradlaw.engine.run import run_pack
    from gradlaw.pack import Member, Pack, Training
    from gradlaw.schedules import Constant
    from gradlaw.trial import Trial

    trial = Trial(
        task="t", rule="r", schedule="s", hyperparameters={}, seed=1, steps=3, dtype="float32", data_digest=""
    )
    training = Training(task=DigitsMLP(), rule=Adam(), schedule=Constant(), steps=3, batch_size=4)
    hp = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "sampling": "iid"}
    pack = Pack(pack_id="p", study="s", program=training, members=(Member(trial=trial, hyperparameters=hp),))
    shipped = cloudpickle.loads(cloudpickle.dumps(pack))
    here, there = MemoryRecorder(), MemoryRecorder()
    finish(run_pack(pack, here), here)
    finish(run_pack(shipped, there), there)
    assert np.array_equal(here.rows("metrics")["loss"], there.rows("metrics")["loss"])
    assert here.rows("metrics")["loss"].dtype == np.float32


def test_training_leaves_torch_s_generator_alone(train: Callable[..., Any]) -> None:
    before = torch.get_rng_state()
    train(DigitsMLP(), SGD(), steps=5, batch_size=4)
    assert torch.equal(before, torch.get_rng_state())
