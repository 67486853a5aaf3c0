"""The probe at crossings against plain torch: autograd, a dense Hessian, and predictions counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradlaw.ending import Target
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.errors import ConfigurationError
from gradlaw.grid import expand
from gradlaw.probe import Snapshot
from gradlaw.probes.losses import FullLoss
from gradlaw.random import streams_of
from gradlaw.rules.adam import AdamW
from gradlaw.study import Grid
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.lion_adamw import probes
from gradlaw_studies.lion_adamw.probes import MatchedLoss

EPS = 1e-4


def plain_network(task, params):
    """tanh network of the digits, written once more."""
    w1, b1, w2, b2 = (params[name] for name in ("weight1", "bias1", "weight2", "bias2"))
    return lambda x: torch.tanh(x @ w1.T + b1) @ w2.T + b2


@pytest.fixture(scope="module")
def measured():
    task = DigitsMLP(width=2, test_share=0.5).to(torch.device("cpu"), torch.float64)
    params, buffers = task.init(streams_of(3))
    snapshot = Snapshot(
        task=task,
        params=params,
        buffers=buffers,
        split=task.split(streams_of(3)),
        hyperparameters={},
        seed=3,
        step=7,
        steps=9,
        crossing=Target(metric="train_loss", value=2.5),
    )
    (columns,) = MatchedLoss(thresholds=(2.5,), eps=EPS, num_iterations=60).rows(snapshot).values()
    return snapshot, {name: values[0] for name, values in columns.items()}


def test_norms_and_sharpness_are_those_of_the_full_training_loss(measured):
    snapshot, row = measured
    task, rows = snapshot.task, snapshot.split.train
    sizes = [value.numel() for value in snapshot.params.values()]
    flat = torch.cat([value.reshape(-1) for value in snapshot.params.values()])

    def loss(vector):
        parts = zip(snapshot.params.items(), vector.split(sizes), strict=True)
        params = {name: part.reshape(value.shape) for (name, value), part in parts}
        return torch.nn.functional.cross_entropy(
            plain_network(task, params)(task.images[rows]), task.classes[rows]
        )

    gradient = torch.autograd.functional.jacobian(loss, flat)
    hessian = torch.autograd.functional.hessian(loss, flat)
    assert row["grad_l1"] == pytest.approx(gradient.abs().sum().item(), rel=1e-10)
    assert row["grad_l1_perturbed"] == pytest.approx(torch.sqrt(gradient**2 + EPS).sum().item(), rel=1e-10)
    assert row["sharpness"] == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-6)


def test_held_out_scores_are_those_of_the_held_out_rows(measured):
    snapshot, row = measured
    task, rows = snapshot.task, snapshot.split.test
    out = plain_network(task, snapshot.params)(task.images[rows])
    loss = -torch.log_softmax(out, dim=1)[range(len(rows)), task.classes[rows]].mean()
    assert row["test_loss"] == pytest.approx(loss.item(), rel=1e-12)
    assert row["test_accuracy"] == (out.argmax(dim=1) == task.classes[rows]).double().mean().item()
    assert (row["step"], row["threshold"]) == (7, 2.5)


def test_a_grid_measures_each_threshold_once_at_the_first_logged_loss_below_it():
    values = {"width": 4, "test_share": 0.5, "lr": (0.003, 0.03), "eps_inside": True, "eps": EPS}
    measured_by = (FullLoss(), MatchedLoss(thresholds=(2.2, 1.8, 1e-9), eps=EPS, num_iterations=1))
    grid = Grid(task=DigitsMLP, rule=AdamW, values=values, steps=40, log_every=3, probes=measured_by)
    (pack,), _ = expand("study", (grid,), (0,))
    recorder = MemoryRecorder()
    for _ in run_pack(pack, recorder, compile="never"):
        pass
    counts = []
    for member in pack.members:
        curve, rows = (recorder.rows(name, member.trial.trial_id) for name in ("metrics", "matched_loss"))
        expected = [
            (level, curve["step"][curve["train_loss"] <= level][0])
            for level in (2.2, 1.8, 1e-9)
            if (curve["train_loss"] <= level).any()
        ]
        assert list(zip(rows.get("threshold", ()), rows.get("step", ()), strict=True)) == expected
        counts.append(len(expected))
        for step, loss in zip(rows["step"], rows["test_loss"], strict=True):
            assert loss == pytest.approx(curve["test_loss"][curve["step"] == step][0], rel=1e-5)
    assert counts == [1, 2], "the last threshold is reached by none"


def test_settings_out_of_range_are_refused_together():
    with pytest.raises(ConfigurationError) as caught:
        MatchedLoss(thresholds=(0.5, 1.0), eps=0.0, num_iterations=0)
    assert [fault.split("got ")[1].split()[0] for fault in caught.value.faults] == [
        "thresholds",
        "eps",
        "num_iterations",
    ]


def test_a_task_without_held_out_rows_is_refused():
    assert MatchedLoss().faults(ModularAddition(modulus=5, width=4, train_share=1.0)) == [
        "got modular_addition with no row held out; allowed: one or more"
    ]
    assert MatchedLoss().faults(DigitsMLP()) == []


def test_what_a_probe_draws_is_a_pure_function_of_seed_and_step(measured):
    snapshot, row = measured
    (again,) = MatchedLoss(thresholds=(2.5,), eps=EPS, num_iterations=60).rows(snapshot).values()
    assert all(np.array_equal(values, [row[name]]) for name, values in again.items())


def test_rows_taken_in_parts_give_the_same(measured, monkeypatch):
    """As of networks whose training rows do not fit in memory at once; parts of unequal length."""
    snapshot, row = measured
    monkeypatch.setattr(probes, "ROWS_AT_ONCE", 200)
    (again,) = MatchedLoss(thresholds=(2.5,), eps=EPS, num_iterations=60).rows(snapshot).values()
    assert len(snapshot.split.train) % 200
    assert {name: values[0] for name, values in again.items()} == pytest.approx(row, rel=1e-9)
