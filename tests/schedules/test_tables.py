"""Schedules against tables worked by hand, and against torch.optim.lr_scheduler where it has the same."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import lr_scheduler

from gradlaw.schedules import (
    SCHEDULES,
    Constant,
    CosineDecay,
    InverseSqrtDecay,
    InverseTimeDecay,
    LinearDecay,
    LinearWarmup,
    MomentWarmup,
    Schedule,
    StepDecay,
    WarmupStableDecay,
)

HALF = math.sqrt(0.5)


def _tensors(schedule: Schedule, values: Mapping[str, float], dtype: torch.dtype) -> dict[str, Tensor]:
    given = {item.name: item.default for item in schedule.hyperparameters} | {"lr": 1.0, **values}
    return {
        name: torch.tensor(value, dtype=torch.int64 if type(value) is int else dtype)
        for name, value in given.items()
    }


def _lrs(schedule: Schedule, last: int, dtype: torch.dtype = torch.float64, **values: float) -> list[float]:
    """The lr at steps 0 .. ``last``, which is the horizon where none is given."""
    hp = _tensors(schedule, {"steps": last, **values}, dtype)
    found = [schedule.lr(torch.tensor(t), hp) for t in range(last + 1)]
    assert {(lr.dtype, lr.shape) for lr in found} == {(dtype, torch.Size())}
    return [float(lr) for lr in found]


@pytest.mark.parametrize(
    ("schedule", "values", "table"),
    [
        (Constant(), {"lr": 0.3}, [0.3, 0.3, 0.3]),
        (LinearWarmup(), {"warmup_steps": 4}, [0.25, 0.5, 0.75, 1, 1, 1]),
        (LinearWarmup(), {}, [1, 1, 1]),
        (LinearDecay(), {}, [1, 0.75, 0.5, 0.25, 0]),
        (LinearDecay(), {"warmup_steps": 2, "final_share": 0.2}, [0.5, 1, 1, 0.8, 0.6, 0.4, 0.2]),
        # all of training is warm-up: there is nothing to decay in
        (LinearDecay(), {"warmup_steps": 2}, [0.5, 1, 1]),
        (LinearDecay(), {"lr": 3.0, "final_share": 1.0}, [3, 3, 3]),
        # cos of 0, 45, 90, 135 and 180 degrees
        (CosineDecay(), {}, [1, (1 + HALF) / 2, 0.5, (1 - HALF) / 2, 0]),
        # 0, 60, 120 and 180 degrees: halves of 2, 3/2, 1/2 and 0
        (CosineDecay(), {"lr": 4.0, "warmup_steps": 1}, [4, 4, 3, 1, 0]),
        (CosineDecay(), {"warmup_steps": 2, "final_share": 0.1}, [0.5, 1, 1, 0.775, 0.325, 0.1]),
        (InverseSqrtDecay(), {"timescale": 1}, [1, HALF, math.sqrt(1 / 3), 0.5, math.sqrt(0.2)]),
        (
            InverseSqrtDecay(),
            {"timescale": 4, "warmup_steps": 2},
            [0.5, 1, 1, math.sqrt(0.8), math.sqrt(2 / 3), math.sqrt(4 / 7), HALF],
        ),
        (InverseTimeDecay(), {"timescale": 1}, [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
        (
            InverseTimeDecay(),
            {"timescale": 4, "warmup_steps": 2, "lr": 3.0},
            [1.5, 3, 3, 2.4, 2, 12 / 7, 1.5],
        ),
        # 1 - beta2^n is 3/4, 15/16, 63/64; without memory the factor is 1
        (MomentWarmup(), {"beta2": 0.25, "lr": 2.0}, [3**0.5, 15**0.5 / 2, 63**0.5 / 4]),
        (MomentWarmup(), {"beta2": 0.0}, [1, 1, 1]),
        # a lr that rises to the end: all of training is warm-up
        (LinearWarmup(), {"warmup_steps": 4, "lr": 2.0, "steps": 4}, [0.5, 1, 1.5, 2, 2]),
        (StepDecay(), {"decay_every": 2}, [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001]),
        (
            StepDecay(),
            {"lr": 8.0, "decay_every": 3, "decay_factor": 0.5, "warmup_steps": 1},
            [8, 8, 8, 8, 4, 4, 4, 2],
        ),
        (StepDecay(), {"decay_every": 1, "decay_factor": 1.0}, [1, 1, 1]),
        (WarmupStableDecay(), {"decay_share": 0.0}, [1, 1, 1]),
        (WarmupStableDecay(), {}, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]),
        (WarmupStableDecay(), {"decay_share": 0.5, "lr": 2.0}, [2, 2, 2, 2, 2, 1.5, 1, 0.5, 0]),
        (
            WarmupStableDecay(),
            {"warmup_steps": 2, "decay_share": 0.4, "final_share": 0.2},
            [0.5, 1, 1, 1, 0.6, 0.2],
        ),
        # all of training is decay, or warm-up and decay
        (WarmupStableDecay(), {"decay_share": 1.0}, [1, 0.75, 0.5, 0.25, 0]),
        (WarmupStableDecay(), {"warmup_steps": 2, "decay_share": 0.5}, [0.5, 1, 1, 0.5, 0]),
        # it begins between two steps
        (WarmupStableDecay(), {"decay_share": 0.375}, [1, 1, 1, 2 / 3, 0]),
    ],
)
def test_table(schedule: Schedule, values: dict[str, float], table: list[float]) -> None:
    np.testing.assert_allclose(_lrs(schedule, len(table) - 1, **values), table, rtol=1e-14, atol=1e-16)
    single = _lrs(schedule, len(table) - 1, torch.float32, **values)
    np.testing.assert_allclose(single, table, rtol=3e-7, atol=1e-7)


def _torch_lrs(make: Callable[[Any], Any], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.7)
    with warnings.catch_warnings():
        # SequentialLR steps its parts with an argument that torch itself deprecates
        warnings.filterwarnings("ignore", message="The epoch parameter", category=UserWarning)
        schedule, found = make(optimizer), []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return found


def _warmed(then: Callable[[Any], Any], warmup: int) -> Callable[[Any], Any]:
    def make(optimizer: Any) -> Any:
        # the first steps have 1/W .. W/W of the lr
        first = lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
        return lr_scheduler.SequentialLR(optimizer, [first, then(optimizer)], milestones=[warmup])

    return make


_THEIRS: dict[str, tuple[Schedule, dict[str, float], Callable[[int], Callable[[Any], Any]]]] = {
    "constant": (Constant(), {}, lambda _: lambda o: lr_scheduler.ConstantLR(o, 1.0)),
    "linear": (
        LinearDecay(),
        {"final_share": 0.05},
        lambda horizon: lambda o: lr_scheduler.LinearLR(o, 1.0, 0.05, total_iters=horizon),
    ),
    "cosine": (
        CosineDecay(),
        {"final_share": 0.1},
        lambda horizon: lambda o: lr_scheduler.CosineAnnealingLR(o, horizon, eta_min=0.07),
    ),
    "step": (
        StepDecay(),
        {"decay_every": 7, "decay_factor": 0.3},
        lambda _: lambda o: lr_scheduler.StepLR(o, 7, gamma=0.3),
    ),
    "inverse_sqrt": (
        InverseSqrtDecay(),
        {"timescale": 9},
        lambda _: lambda o: lr_scheduler.LambdaLR(o, lambda step: (9 / (9 + step)) ** 0.5),
    ),
    "inverse_time": (
        InverseTimeDecay(),
        {"timescale": 9},
        lambda _: lambda o: lr_scheduler.LambdaLR(o, lambda step: 9 / (9 + step)),
    ),
}


@pytest.mark.parametrize("name", list(_THEIRS))
@pytest.mark.parametrize("warmup", [0, 5])
def test_against_torch(name: str, warmup: int) -> None:
    schedule, values, theirs = _THEIRS[name]
    make = theirs(40 - warmup)
    expected = _torch_lrs(_warmed(make, warmup) if warmup else make, 40)
    if warmup and name == "constant":
        schedule = LinearWarmup()
    given = {**values, "lr": 0.7, **({"warmup_steps": warmup} if warmup else {})}
    np.testing.assert_allclose(_lrs(schedule, 40, **given)[:-1], expected, rtol=1e-12)


def test_of_vaswani_one_step_late() -> None:
    """Equation 3 of 1706.03762 counts from 1: lr proportional to min(n^-0.5, n W^-1.5)."""
    found = _lrs(InverseSqrtDecay(), 30, warmup_steps=6, timescale=6, lr=0.2)
    by_equation = [0.2 * 6**0.5 * min(n**-0.5, n * 6**-1.5) for n in range(1, 31)]
    np.testing.assert_allclose(found[:6], by_equation[:6], rtol=1e-12)
    np.testing.assert_allclose(found[7:], by_equation[6:], rtol=1e-12)


@pytest.mark.parametrize("schedule", [kind() for kind in SCHEDULES.values()], ids=list(SCHEDULES))
def test_every_member_has_its_own(schedule: Schedule) -> None:
    """A pack whose members differ in everything, past the horizon of the shorter ones too."""
    members = [
        {"lr": 0.5, "steps": 9, "warmup_steps": 0, "final_share": 0.0, "decay_every": 2, "timescale": 3},
        {"lr": 0.1, "steps": 30, "warmup_steps": 4, "final_share": 0.3, "decay_every": 5, "timescale": 50},
        {"lr": 2.0, "steps": 4, "warmup_steps": 4, "final_share": 1.0, "decay_every": 1, "timescale": 1},
    ]
    shares = zip(members, (1.0, 0.2, 0.0), strict=True)
    members = [{**own, "decay_share": share, "beta2": 0.9 * share} for own, share in shares]
    alone = [_tensors(schedule, values, torch.float64) for values in members]
    pack = {name: torch.stack([own[name] for own in alone]) for name in alone[0]}
    batched = torch.vmap(schedule.lr, in_dims=(None, 0))
    for t in range(32):
        lrs = batched(torch.tensor(t), pack)
        expected = torch.stack([schedule.lr(torch.tensor(t), own) for own in alone])
        assert torch.equal(lrs, expected)
        assert bool(((lrs >= 0.0) & (lrs <= pack["lr"])).all())


@pytest.mark.parametrize("schedule", [kind() for kind in SCHEDULES.values()], ids=list(SCHEDULES))
def test_impossible_settings(schedule: Schedule) -> None:
    told = {"decay_every": 3, "timescale": 3}
    given = {item.name: item.default for item in schedule.hyperparameters} | told
    assert schedule.faults(given, 10) == []
    if "warmup_steps" not in given:
        return
    given |= {"decay_share": 0.0}
    assert schedule.faults({**given, "warmup_steps": 10}, 10) == []
    assert "warmup_steps: got 11" in schedule.faults({**given, "warmup_steps": 11}, 10)[0]


def test_warmup_and_decay_share_the_steps() -> None:
    given = {"warmup_steps": 4, "decay_share": 0.6, "final_share": 0.0}
    assert WarmupStableDecay().faults(given, 10) == []
    (fault,) = WarmupStableDecay().faults(given, 8)
    assert fault.startswith("decay_share: got 0.6, allowed at most 0.5 of 8 steps")
    assert len(WarmupStableDecay().faults(given, 3)) == 1
    assert WarmupStableDecay().faults({**given, "warmup_steps": 0}, 0) == []


def test_a_stable_lr_is_that_of_the_sequence_of_torchs_schedules() -> None:
    """Constant, then LinearLR over the last 15 of 40 steps."""

    def make(optimizer: Any) -> Any:
        parts = [
            lr_scheduler.ConstantLR(optimizer, 1.0),
            lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=15),
        ]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=[25])

    found = _lrs(WarmupStableDecay(), 40, lr=0.7, decay_share=0.375, final_share=0.05)
    np.testing.assert_allclose(found[:-1], _torch_lrs(make, 40), rtol=1e-12)


def test_step_decay_wants_to_be_told_when() -> None:
    given = {item.name: item.default for item in StepDecay.hyperparameters}
    faults = StepDecay().faults({**given, "warmup_steps": 3}, 2)
    assert [fault.split(":")[0] for fault in faults] == ["warmup_steps", "decay_every"]


def test_inverse_time_wants_to_be_told_its_timescale() -> None:
    faults = InverseTimeDecay().faults({"warmup_steps": 3, "timescale": 0}, 2)
    assert [fault.split(":")[0] for fault in faults] == ["warmup_steps", "timescale"]


@pytest.mark.parametrize("beta2", [0.9, 0.96, 0.999])
def test_moment_warmup_is_the_weight_a_running_mean_has(beta2: float) -> None:
    """Of ones, started at 0, the running mean is the weight; its root is what Adam divides by."""
    weights, mean = [], 0.0
    for _ in range(60):
        mean = beta2 * mean + (1.0 - beta2)
        weights.append(mean**0.5)
    np.testing.assert_allclose(_lrs(MomentWarmup(), 59, beta2=beta2), weights, rtol=1e-11)


def test_moment_warmup_leaves_out_what_the_matching_linear_one_does() -> None:
    """A linear warm-up of W steps leaves out (W - 1) / 2 whole steps."""
    left_out = sum(1.0 - lr for lr in _lrs(MomentWarmup(), 19_999, beta2=0.999))
    matching = 4.0 * (1.0 - math.log(2.0)) / (1.0 - 0.999)
    assert 2.0 * left_out + 1.0 == pytest.approx(matching, rel=2e-3)


def test_every_registered_schedule_is_known_by_its_name() -> None:
    assert {name: schedule.name for name, schedule in SCHEDULES.items()} == {name: name for name in SCHEDULES}
    for schedule in SCHEDULES.values():
        for item in schedule.hyperparameters:
            assert item.check(item.default) is None
