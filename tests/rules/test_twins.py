"""The twins against what they are made of; the penalty against a loss written by hand in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradlaw.errors import ConfigurationError
from gradlaw.planning.plan import make_plan
from gradlaw.random import streams_of
from gradlaw.rules import RULES, AdamW, Lion
from gradlaw.rules.memoryless import AdamWMemoryless
from gradlaw.rules.twins import AdamWTwin, LionPenalized
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.digits import DigitsMLP, load_digits_arrays

SHARED = {"lr": 0.003, "beta1": 0.8, "beta2": 0.95, "eps": 1e-4, "weight_decay": 0.1}
ARMS = (
    SHARED | {"memory": 1.0},
    SHARED | {"memory": 0.0},
    SHARED | {"memory": 0.0, "correction": 1.0},
    SHARED | {"memory": 0.0, "correction": -2.0, "beta1": 0.9},
)
SETTINGS = {"steps": 25, "batch_size": 16, "compile": "never"}
Train = Callable[..., Any]


@pytest.fixture
def packed(train: Train) -> Any:
    """All arms in one pack."""
    return train(DigitsMLP(width=4), AdamWTwin(), ARMS, seeds=(5,), **SETTINGS)


def test_with_memory_it_is_adamw(train: Train, packed: Any) -> None:
    adamw = train(DigitsMLP(width=4), AdamW(eps_inside=True), (SHARED,), seeds=(5,), **SETTINGS)
    np.testing.assert_allclose(packed.weights(0), adamw.weights(0), rtol=1e-11, atol=1e-14)


def test_without_memory_it_is_the_memoryless_rule(train: Train, packed: Any) -> None:
    changes = ({"correction": 0.0}, {"correction": 1.0}, {"correction": -2.0, "beta1": 0.9})
    arms = tuple(SHARED | change for change in changes)
    twins = train(DigitsMLP(width=4), AdamWMemoryless(), arms, seeds=(5,), **SETTINGS)
    for number in range(3):
        np.testing.assert_allclose(packed.weights(number + 1), twins.weights(number), rtol=1e-11, atol=1e-14)


def test_arms_of_a_pack_are_what_they_are_alone(train: Train, packed: Any) -> None:
    for number, arm in enumerate(ARMS):
        alone = train(DigitsMLP(width=4), AdamWTwin(), (arm,), seeds=(5,), **SETTINGS)
        np.testing.assert_allclose(packed.weights(number), alone.weights(0), rtol=1e-9, atol=1e-12)
    ends = [packed.weights(number) for number in range(len(ARMS))]
    gaps = [abs(left - right).max() for place, left in enumerate(ends) for right in ends[:place]]
    assert min(gaps) > 1e-6


def test_the_corrected_twin_is_nearer_to_adamw_by_an_order_of_the_lr(
    train: Train, least_squares: Any
) -> None:
    """Full batch over a fixed horizon: halving the lr halves the plain gap and quarters the corrected one."""
    kinds: tuple[dict[str, float], ...] = ({}, {"memory": 0.0}, {"memory": 0.0, "correction": 1.0})
    horizons = ((2e-3, 200), (1e-3, 400), (5e-4, 800))
    arms = [
        SHARED | {"eps": 0.1, "lr": lr, "steps": steps} | kind for lr, steps in horizons for kind in kinds
    ]
    run = train(least_squares(), AdamWTwin(), arms, compile="never")
    ends = [run.weights(number) for number in range(9)]
    gaps = np.array([[abs(ends[i] - ends[i + kind]).max() for i in (0, 3, 6)] for kind in (1, 2)])
    orders = np.log2(gaps[:, 1] / gaps[:, 2])
    assert orders == pytest.approx([1.0, 2.0], abs=0.15)
    assert (gaps[1] < gaps[0]).all()


def _penalized(penalty: float, eps: float, hp: dict[str, float], steps: int) -> list[float]:
    """Losses of Lion with plain autograd: the penalized loss is written down and differentiated twice."""
    images, classes = (torch.tensor(part) for part in load_digits_arrays())
    task = DigitsMLP(width=4, test_share=0.0)
    start, _ = task.init(streams_of(0))
    params = {name: value.clone().requires_grad_() for name, value in start.items()}
    means = {name: torch.zeros_like(value) for name, value in start.items()}
    losses = []
    for _ in range(steps):
        hidden = torch.tanh(images @ params["weight1"].T + params["bias1"])
        logits = hidden @ params["weight2"].T + params["bias2"]
        loss = nn.functional.cross_entropy(logits, classes)
        slopes = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        norm = torch.stack([torch.sqrt(slope**2 + eps).sum() for slope in slopes]).sum()
        (loss + penalty * norm).backward()
        losses.append(float(loss.detach()))
        with torch.no_grad():
            for name, value in params.items():
                g = value.grad
                assert isinstance(g, Tensor)
                step = torch.sign(hp["beta1"] * means[name] + (1 - hp["beta1"]) * g)
                value -= hp["lr"] * (step + hp["weight_decay"] * value)
                means[name] = hp["beta2"] * means[name] + (1 - hp["beta2"]) * g
                value.grad = None
    return [*losses, *torch.cat([value.detach().reshape(-1) for value in params.values()]).tolist()]


@pytest.mark.parametrize("penalty", [0.02, -0.02])
def test_the_penalty_is_that_of_a_loss_written_by_hand(train: Train, penalty: float) -> None:
    hp = {"lr": 0.002, "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.05}
    arm = hp | {"penalty": penalty, "penalty_eps": 1e-5}
    task = DigitsMLP(width=4, test_share=0.0)
    ours = train(task, LionPenalized(), (arm, hp | {"penalty": 0.0}), steps=8, compile="never")
    by_hand = np.array(_penalized(penalty, 1e-5, hp, 8))
    np.testing.assert_allclose(ours.metrics(0)[:8], by_hand[:8], rtol=1e-10)
    np.testing.assert_allclose(ours.weights(0), by_hand[8:], rtol=1e-9, atol=1e-12)
    assert abs(ours.weights(0) - ours.weights(1)).max() > 1e-3


def test_without_a_penalty_it_is_lion(train: Train) -> None:
    hp = {"lr": 0.002, "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.05, "eps": 1e-6}
    ours = train(DigitsMLP(width=4), LionPenalized(), (hp,), **SETTINGS)
    lion = train(DigitsMLP(width=4), Lion(), (hp,), **SETTINGS)
    np.testing.assert_allclose(ours.weights(0), lion.weights(0), rtol=1e-12, atol=1e-15)


def _plan(**values: float) -> object:
    grid = Grid(task=DigitsMLP, rule=AdamWTwin, values=values, steps=1)
    study = Study(name="s", question="?", source="", presets={"demo": Preset(doc="", grids=(grid,), seeds=1)})
    return make_plan(study)


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"memory: got 0\.5, allowed 1 or 0"):
        _plan(memory=0.5)
    with pytest.raises(ConfigurationError, match=r"correction: got 1\.0 with memory = 1, allowed 0"):
        _plan(correction=1.0)
    with pytest.raises(ConfigurationError, match="eps: got 0, allowed > 0"):
        _plan(eps=0.0)
    assert _plan(memory=0.0, correction=1.0)


def test_both_are_registered() -> None:
    assert (RULES["adamw_twin"], RULES["lion_penalized"]) == (AdamWTwin, LionPenalized)
