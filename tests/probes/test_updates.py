"""Probes of the latest update: its norm, its angle to the gradient, effective learning rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from torch import Tensor, nn

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.probes import EffectiveLR, ParameterMax, ParameterNorm, UpdateNorm
from gradlaw.probes.update_norm import angle_between
from gradlaw.random import streams_of
from gradlaw.rule import Hyper, Oracle, Rule
from gradlaw.rules import SGD, AdamW, HeavyBall
from gradlaw.task import Params, Pytree, Taps, Task
from gradlaw.tasks.modular_addition import ModularAddition

STEPS = 6
PROBES = (UpdateNorm(), ParameterNorm(), ParameterMax(), EffectiveLR())
TASK = ModularAddition(modulus=5, width=3)


class Step(NamedTuple):
    """One step of a trial in numpy: parameters before, update and full gradient by tensor."""

    params: dict[str, np.ndarray]
    update: dict[str, np.ndarray]
    gradient: dict[str, np.ndarray]

    def flat(self, of: str) -> np.ndarray:
        return np.concatenate([part.reshape(-1) for part in getattr(self, of).values()])


def _steps(path: np.ndarray, seed: int) -> Iterator[Step]:
    """Steps of full-batch training from the recorded weights, [steps + 1, n]; gradients by autograd."""
    start = TASK.init(streams_of(seed))[0]
    batch = TASK.batch(TASK.split(streams_of(seed)).train, streams_of(seed))

    def named(flat: np.ndarray) -> dict[str, Tensor]:
        parts = torch.split(torch.from_numpy(flat), [part.numel() for part in start.values()])
        return {name: part.reshape(start[name].shape) for name, part in zip(start, parts, strict=True)}

    for before, after in pairwise(path):
        params = {name: part.clone().requires_grad_() for name, part in named(before).items()}
        TASK.loss(params, {}, batch, None, Taps()).loss.backward()
        gradient = {name: part.grad.numpy() for name, part in params.items() if part.grad is not None}
        arrays = {name: part.detach().numpy() for name, part in params.items()}
        yield Step(arrays, {n: p.numpy() - arrays[n] for n, p in named(after).items()}, gradient)


@pytest.mark.parametrize(
    ("rule", "arms"),
    [
        (HeavyBall(), ({"lr": 0.05, "momentum": 0.9}, {"lr": 0.02, "weight_decay": 0.3})),
        (AdamW(), ({"lr": 0.05}, {"lr": 0.01, "beta1": 0.5})),
    ],
)
def test_against_the_recorded_path(train: Callable[..., Any], weights: Any, rule: Any, arms: Any) -> None:
    """The row of step s shows the step from s-1 to s, also where only every other step is logged."""
    probes, seeds = (*PROBES, weights(at_steps=tuple(range(STEPS + 1)))), (1, 2)
    trained = train(TASK, rule, arms, seeds=seeds, steps=STEPS, log_every=2, probes=probes)
    for member, seed in enumerate(np.repeat(seeds, len(arms))):
        path = trained.weights(member).reshape(STEPS + 1, -1)
        norms = np.linalg.norm(path[::2], axis=1)
        np.testing.assert_allclose(trained.metrics(member, "parameter_norm"), norms, rtol=1e-12)
        assert np.array_equal(trained.metrics(member, "parameter_max"), abs(path[::2]).max(axis=1))
        for row, step in enumerate(list(_steps(path, int(seed)))[1::2], start=1):
            update, gradient = step.flat("update"), step.flat("gradient")
            expected = {
                "update_norm": np.linalg.norm(update),
                "update_angle": np.arccos(1.0 - cosine(update, -gradient)),
            }
            for name, w in step.params.items():
                delta, g = step.update[name].reshape(-1), step.gradient[name].reshape(-1)
                projected = np.linalg.lstsq(-g[:, None], delta, rcond=None)[0][0]
                expected[f"effective_lr_{name.lower()}"] = projected
                expected[f"invariant_lr_{name.lower()}"] = projected / np.linalg.norm(w) ** 2
                expected[f"relative_update_{name.lower()}"] = np.linalg.norm(delta) / np.linalg.norm(w)
            for column, value in expected.items():
                found = trained.metrics(member, column)
                assert np.isnan(found[0]), column
                np.testing.assert_allclose(found[row], value, rtol=1e-7, err_msg=column)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_gradient_descent_goes_down_the_gradient(
    train: Callable[..., Any], least_squares: Any, dtype: str, tolerance: float
) -> None:
    """On mini-batches: the gradient is that of the step's own batch. lr is as given, the angle zero."""
    arms = ({"lr": 0.05}, {"lr": 0.2})
    trained = train(least_squares(), SGD(), arms, steps=STEPS, batch_size=2, probes=PROBES, dtype=dtype)
    for member, arm in enumerate(arms):
        np.testing.assert_allclose(trained.metrics(member, "effective_lr_w")[1:], arm["lr"], rtol=tolerance)
        angle = trained.metrics(member, "update_angle")[1:]
        assert (angle >= 0.0).all()
        assert (angle <= tolerance).all()


def _scale_invariant() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3, affine=False))


def test_invariant_lr_turns_a_scale_invariant_layer(train: Callable[..., Any]) -> None:
    """Weights c times as large at lr c^2 times as large turn alike: only invariant_lr says so."""
    drawn = torch.from_numpy(np.random.default_rng(2).normal(size=(30, 7)))
    data = drawn[:, :4], drawn[:, 4:]
    scaled: dict[float, Any] = {}
    for scale in (1.0, 10.0):
        task = Task.from_module(f"scaled_{scale:.0f}", _scale_invariant, nn.functional.mse_loss, data)
        start = task.init

        def init(streams: Any, start: Any = start, scale: float = scale) -> Any:
            params, buffers = start(streams)
            return {name: scale * part for name, part in params.items()}, buffers

        task.init = init  # type: ignore[method-assign]
        scaled[scale] = train(task, SGD(), ({"lr": 0.01 * scale**2},), steps=STEPS, probes=(EffectiveLR(),))
    one, ten = (trained.metrics(0, "invariant_lr_0_weight")[1:] for trained in scaled.values())
    np.testing.assert_allclose(one, ten, rtol=1e-3)  # batch norm's own eps is not scale-invariant
    np.testing.assert_allclose(scaled[10.0].metrics(0, "effective_lr_0_weight")[1:], 1.0, rtol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, np.pi / 2, np.pi - 1e-9, np.pi])
def test_angles_are_exact_at_both_ends(angle: float) -> None:
    left = torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64)
    right = 0.1 * torch.tensor([np.cos(angle), np.sin(angle), 0.0], dtype=torch.float64)
    np.testing.assert_allclose(angle_between(left, right), angle, rtol=1e-14, atol=1e-15)


def test_angle_with_nothing_is_nan() -> None:
    assert torch.isnan(angle_between(torch.ones(2), torch.zeros(2)))


class Blind(Rule):
    """Moves without a gradient."""

    name = "blind"

    def init(self, params: Params, streams: Any) -> Pytree:
        return ()

    def step(
        self, oracle: Oracle, params: Params, state: Pytree, hp: Hyper, t: Tensor
    ) -> tuple[Params, Pytree]:
        return {name: 0.5 * param for name, param in params.items()}, state


@pytest.mark.parametrize("probe", [UpdateNorm(), EffectiveLR()])
def test_a_rule_without_a_gradient_is_refused(
    train: Callable[..., Any], least_squares: Any, probe: Any
) -> None:
    with pytest.raises(UsageError, match=rf"probe {probe.name}: got a rule that takes no gradient"):
        train(least_squares(), Blind(), probes=(probe,))


def test_the_norm_alone_needs_no_gradient(train: Callable[..., Any], least_squares: Any) -> None:
    task = least_squares()
    trained = train(task, Blind(), steps=3, probes=(UpdateNorm(angle=False),))
    start = np.linalg.norm(task.init(streams_of(0))[0]["w"])
    np.testing.assert_allclose(trained.metrics(0, "update_norm")[1:], start / np.array([2, 4, 8]))
    assert [column.name for column in UpdateNorm(angle=False).columns(task)] == ["update_norm"]


def test_columns_are_named_for_tensors(least_squares: Any) -> None:
    names = [column.name for column in EffectiveLR().columns(TASK)]
    assert names[:4] == ["effective_lr_w_a", "invariant_lr_w_a", "relative_update_w_a", "effective_lr_w_b"]
    task = least_squares()
    task.init = lambda streams: ({"W.a": torch.ones(1), "w_a": torch.ones(1), "b": torch.ones(1)}, {})
    with pytest.raises(ConfigurationError, match=r"(?s)2 faults.*'W.a'.*'w_a'"):
        EffectiveLR().columns(task)
