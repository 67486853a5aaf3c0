"""The probe at crossings against plain torch: autograd, a dense Hessian, and predictions counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gradlaw.ending import Target
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.errors import ConfigurationError
from gradlaw.planning.grid import expand
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
PROBE = MatchedLoss(thresholds=(2.5, 2.4), eps=EPS, num_iterations=60)


def plain_network(task, params):
    """tanh network of the digits, written once more."""
    w1, b1, w2, b2 = (params[name] for name in ("weight1", "bias1", "weight2", "bias2"))
    return lambda x: torch.tanh(x @ w1.T + b1) @ w2.T + b2


def snapshot_of(seed, level):
    """The digits' network as it starts."""
    task = DigitsMLP(width=2, test_share=0.5).to(torch.device("cpu"), torch.float64)
    params, buffers = task.init(streams_of(seed))
    return Snapshot(
        task=task,
        params=params,
        buffers=buffers,
        split=task.split(streams_of(seed)),
        hyperparameters={},
        seed=seed,
        step=7,
        steps=9,
        crossing=Target(metric="train_loss", value=level),
    )


def dense(snapshot):
    """Gradient and Hessian of the mean loss over the training rows, all entries."""
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
    return gradient, torch.autograd.functional.hessian(loss, flat)


@pytest.fixture(scope="module")
def measured():
    snapshot = snapshot_of(3, 2.5)
    (columns,) = PROBE.rows(snapshot).values()
    return snapshot, {name: values[0] for name, values in columns.items()}


def test_norms_and_sharpness_are_those_of_the_full_training_loss(measured):
    snapshot, row = measured
    gradient, hessian = dense(snapshot)
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
    (again,) = PROBE.rows(snapshot).values()
    assert all(np.array_equal(values, [row[name]]) for name, values in again.items())


def test_rows_taken_in_parts_give_the_same(measured, monkeypatch):
    """As of networks whose training rows do not fit in memory at once; parts of unequal length."""
    snapshot, row = measured
    monkeypatch.setattr(probes, "ROWS_AT_ONCE", 200)
    (again,) = PROBE.rows(snapshot).values()
    assert len(snapshot.split.train) % 200
    assert {name: values[0] for name, values in again.items()} == pytest.approx(row, rel=1e-9)


@pytest.mark.parametrize("limit", [{}, {"ROWS_TOGETHER": 1800}, {"PARAMETERS_TOGETHER": 400}])
def test_trials_measured_together_are_measured_as_each_by_itself(monkeypatch, limit):
    """All five as one program, and two by two with one left over: each against its own dense Hessian."""
    for name, value in limit.items():
        monkeypatch.setattr(probes, name, value)
    widths = []
    vmap = torch.vmap
    monkeypatch.setattr(
        torch, "vmap", lambda function: lambda item: widths.append(len(item.seed)) or vmap(function)(item)
    )
    snapshots = [snapshot_of(seed, 2.5 - 0.1 * (seed % 2)) for seed in range(3, 8)]
    found = list(PROBE.rows_together(iter(snapshots)))
    assert widths == ([2, 2] if limit else [5])
    for snapshot, tables in zip(snapshots, found, strict=True):
        row, alone = (
            {name: values[0] for name, values in item["matched_loss"].items()}
            for item in (tables, PROBE.rows(snapshot))
        )
        assert row == pytest.approx(alone, rel=1e-9)
        gradient, hessian = dense(snapshot)
        assert row["sharpness"] == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-9)
        assert row["grad_l1"] == pytest.approx(gradient.abs().sum().item(), rel=1e-10)
    assert len({tables["matched_loss"]["sharpness"][0] for tables in found}) == 5


def test_what_vmap_cannot_run_is_measured_one_by_one(monkeypatch):
    monkeypatch.setattr(DigitsMLP, "vmappable", False)
    monkeypatch.delattr(torch, "vmap")
    snapshots = [snapshot_of(seed, 2.5) for seed in (3, 4)]
    assert [tables["matched_loss"]["threshold"] for tables in PROBE.rows_together(snapshots)] == [[2.5]] * 2
