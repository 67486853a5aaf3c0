"""The rule that carries the twins, against trajectories that the general builder makes without it."""

import math

import pytest
import torch
from study_parts import results_of
from torch.func import grad, vjp

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.errors import UsageError
from gradlaw.planning.plan import make_plan
from gradlaw.probe import Snapshot
from gradlaw.random import streams_of
from gradlaw.rules.memoryless import FORMS
from gradlaw.study import Preset, Study
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw.trial import State
from gradlaw_studies.memory_identity import builder
from gradlaw_studies.memory_identity.probes import TrajectoryGap
from gradlaw_studies.memory_identity.study import halved, twins
from gradlaw_studies.memory_identity.twins import MemoryTwins, distance

LR, STEPS = 0.05, 7
HP = {"momentum": 0.6, "beta1": 0.7, "beta2": 0.8, "eps": 1e-2, "weight_decay": 0.1, "momentum_decay": 4e-3}


def loss(params):
    """Smooth, not quadratic, of two tensors."""
    return (
        torch.cosh(params["a"]).log().sum()
        + (params["a"].sum() * params["b"] - 0.3).square()
        + params["b"].sin()
    )


START = {
    "a": torch.tensor([0.4, -0.9, 1.3], dtype=torch.float64),
    "b": torch.tensor(0.7, dtype=torch.float64),
}


class Oracle:
    """Gradient and Hessian-vector product by torch alone."""

    def grad(self, params, **_):
        return grad(loss)(params)

    def hvp(self, params, vector, **_):
        return vjp(grad(loss), params)[1](vector)[0]


def heavy_ball(past, n):
    """F of heavy ball: coupled weight decay, powers of the momentum."""
    grads = [grad(loss)(params) for params in past]
    return {
        name: sum(
            HP["momentum"] ** k * (grads[k][name] + HP["weight_decay"] * past[k][name]) for k in range(n + 1)
        )
        for name in past[0]
    }


def adamw(past, n):
    """F of AdamW, eps inside, weights normalised by their sum."""
    grads = [grad(loss)(params) for params in past]

    def mean(beta, name, power):
        weights = [beta**k for k in range(n + 1)]
        return sum(w * g[name] ** power for w, g in zip(weights, grads, strict=True)) / sum(weights)

    return {
        name: mean(HP["beta1"], name, 1) / torch.sqrt(mean(HP["beta2"], name, 2) + HP["eps"])
        + HP["weight_decay"] * past[0][name]
        for name in past[0]
    }


@pytest.mark.parametrize(("name", "optimizer"), [("heavy_ball", heavy_ball), ("adamw", adamw)])
def test_the_gaps_are_those_of_trajectories_made_by_the_general_builder(name, optimizer):
    rule = MemoryTwins(optimizer=name)
    hp = {key: torch.tensor(value, dtype=torch.float64) for key, value in {**HP, "lr": LR}.items()}
    params, state = START, rule.init(START, streams_of(0))
    for t in range(STEPS):
        params, state = rule.step(Oracle(), params, state, hp, torch.tensor(t))
    path = builder.memory(optimizer, START, lr=LR, num_steps=STEPS)
    assert distance(params, path[-1]) < 1e-12
    for share, end, gap in ((0.0, state.plain, state.gap_plain), (1.0, state.corrected, state.gap_corrected)):
        twin = builder.memoryless(optimizer, START, lr=LR, num_steps=STEPS, share=share)
        assert distance(end, twin[-1]) < 1e-12
        largest = max(float(distance(left, right)) for left, right in zip(path, twin, strict=True))
        assert float(gap) == pytest.approx(largest, rel=1e-9)


def gaps(points, optimizer="heavy_ball", **settings):
    """(gap without, gap with) of one seed by lr, trained as one pack."""
    values = {"modulus": 5, "width": 4, "optimizer": optimizer, "weight_decay": 0.1}
    (grid,) = twins((optimizer,), points, (ModularAddition,))
    grid = type(grid)(**{**vars(grid), "values": values})
    study = Study(name="t", question="?", source="", presets={"demo": Preset(doc="", grids=(grid,), seeds=1)})
    (pack,) = make_plan(study, "demo", explore=True).packs
    recorder = MemoryRecorder()
    results = results_of(pack, recorder, compile="never", **settings)
    assert {result.state for result in results} == {State.DONE}
    found = {}
    for member in pack.members:
        rows = recorder.rows("trajectory_gap", member.trial.trial_id)
        assert list(rows["corrected"]) == [False, True]
        assert list(rows["optimizer"]) == [optimizer] * 2
        assert list(rows["lr"]) == [member.hyperparameters["lr"]] * 2
        found[member.hyperparameters["lr"]] = tuple(rows["gap_max"])
    return found


POINTS = halved(0.25, {"momentum": 0.5}, fewest=16, octaves=3)


@pytest.fixture(scope="module")
def together():
    return gaps(POINTS)


def test_a_trial_s_gaps_are_its_own_alone_and_among_longer_ones(together):
    assert gaps(POINTS[:1])[POINTS[0]["lr"]] == pytest.approx(together[POINTS[0]["lr"]], rel=1e-9)
    (longest,) = gaps(POINTS[-1:], width=1).values()
    assert longest == pytest.approx(together[POINTS[-1]["lr"]], rel=1e-9)


def test_heavy_ball_s_gaps_fall_with_order_one_and_two(together):
    lrs = sorted(together, reverse=True)
    for kind, order in ((0, 1.0), (1, 2.0)):
        fall = math.log(together[lrs[-2]][kind] / together[lrs[-1]][kind], 2)
        assert fall == pytest.approx(order, abs=0.05)


def test_points_halve_the_lr_over_one_horizon():
    assert [point["lr"] * point["steps"] for point in POINTS] == [0.25] * 4
    assert [point["steps"] for point in POINTS] == [16, 32, 64, 128]


def test_every_form_runs_and_reads_only_declared_hyperparameters():
    names = {item.name for item in MemoryTwins.hyperparameters}
    assert names == {"optimizer", "lr", *HP}
    for name in FORMS:
        point = {"lr": 1e-3, "steps": 3, "eps": 1e-3, "beta1": 0.5, "beta2": 0.6}
        ((plain, corrected),) = gaps([point], optimizer=name).values()
        assert 0 < corrected < 1e-3
        assert 0 < plain < 1e-3


def test_the_probe_refuses_another_rule_s_state():
    snapshot = Snapshot(
        task=ModularAddition(modulus=5, width=4), params={}, buffers={}, split=None,
        hyperparameters={"lr": 1.0, "optimizer": "adamw"}, seed=0, step=1, steps=1, state=(),
    )  # fmt: skip
    with pytest.raises(UsageError, match="got a state of type tuple; allowed: that of the rule memory_twins"):
        TrajectoryGap().rows(snapshot)


def test_a_gap_that_is_not_finite_is_missing():
    rule = MemoryTwins(optimizer="heavy_ball")
    state = rule.init(START, streams_of(0))._replace(gap_corrected=torch.tensor(torch.nan))
    snapshot = Snapshot(
        task=ModularAddition(modulus=5, width=4), params={}, buffers={}, split=None,
        hyperparameters={"lr": 1.0, "optimizer": "heavy_ball"}, seed=0, step=1, steps=1, state=state,
    )  # fmt: skip
    assert TrajectoryGap().rows(snapshot)["trajectory_gap"]["gap_max"] == [0.0, None]
