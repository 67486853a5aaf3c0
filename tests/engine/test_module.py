"""Tasks from ordinary modules: batch norm, dropout, hidden randomness, what vmap refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.probes import FullLoss
from gradlaw.random import Streams, streams_of
from gradlaw.rules import SGD, HeavyBall
from gradlaw.task import Taps, Task

ROWS, NUM_FEATURES, NUM_CLASSES = 40, 6, 3
_drawn = np.random.default_rng(1).normal(size=(ROWS, NUM_FEATURES + 1))
POINTS = torch.from_numpy(_drawn[:, :-1]).float()
CLASSES = torch.from_numpy(np.digitize(_drawn[:, -1] + _drawn[:, 0], [-0.7, 0.7]))
CROSS_ENTROPY = nn.functional.cross_entropy


def _norm() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def _dropout(p: float = 0.5) -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 32), nn.Dropout(p), nn.ReLU(), nn.Sequential(nn.Dropout(p), nn.Linear(32, 3))
    )


def _task(build: Callable[[], nn.Module], **settings: Any) -> Any:
    return Task.from_module("toy", build, CROSS_ENTROPY, (POINTS, CLASSES), **settings)


def _squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs - nn.functional.one_hot(targets, 3)) ** 2).mean()


@pytest.mark.parametrize("build", [_norm, _dropout])
@pytest.mark.parametrize("batch_size", [0, 7])
def test_alone_as_in_a_pack(
    train: Callable[..., Any], build: Callable[[], nn.Module], batch_size: int
) -> None:
    settings = {"steps": 60, "batch_size": batch_size}
    arms = ({"lr": 0.1}, {"lr": 0.3})
    packed = train(_task(build), SGD(), arms, seeds=(1, 2), **settings)
    alone = train(_task(build), SGD(), ({"lr": 0.3},), seeds=(2,), **settings)
    np.testing.assert_allclose(alone.weights(0), packed.weights(3), rtol=1e-9, atol=1e-12)
    assert not np.allclose(packed.weights(1), packed.weights(3))


def test_batch_norm_trains_as_in_torch(train: Callable[..., Any]) -> None:
    """Weights and running statistics after 30 full-batch steps, against an ordinary loop."""
    task = _task(_norm)
    trained = train(task, HeavyBall(), ({"lr": 0.2, "momentum": 0.9},), seeds=(4,), steps=30)
    params, buffers = task.init(streams_of(4))
    module = _norm().double()
    module.load_state_dict(params | buffers)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9)
    losses = []
    for _ in range(30):
        loss = CROSS_ENTROPY(module(POINTS.double()), CLASSES)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(trained.metrics(0)[:-1], losses, rtol=1e-9)
    left = [*module.parameters(), *module.buffers()]
    flat = torch.cat([part.detach().double().reshape(-1) for part in left])
    np.testing.assert_allclose(trained.weights(0), flat, rtol=1e-8, atol=1e-11)


def test_evaluation_takes_the_running_statistics_and_drops_nothing(train: Callable[..., Any]) -> None:
    for build in (_norm, _dropout):
        task = _task(build)
        params, buffers = task.init(streams_of(4))
        module = build().double()
        module.load_state_dict(params | buffers)
        module.eval()
        logits = module(POINTS.double())
        trained = train(task, SGD(), seeds=(4,), steps=1, probes=(FullLoss(),))
        np.testing.assert_allclose(trained.metrics(0, "train_loss")[0], CROSS_ENTROPY(logits, CLASSES).item())
        share = (logits.argmax(1) == CLASSES).double().mean().item()
        np.testing.assert_allclose(trained.metrics(0, "train_accuracy")[0], share)


def test_masks_drop_the_declared_share_and_keep_the_mean() -> None:
    task = _task(lambda: _dropout(0.3)).to(torch.device("cpu"), torch.float64)
    streams = Streams(torch.tensor(3), torch.tensor(0))
    kept = []
    for step in range(60):
        masks = task.noise(task.batch(torch.arange(ROWS), streams), streams.at(step=torch.tensor(step)))
        assert set(masks) == {"1.keep", "3.0.keep"}
        assert not torch.equal(*masks.values())
        kept += [mask.double().mean().item() for mask in masks.values()]
    assert abs(np.mean(kept) - 0.7) < 5 * np.sqrt(0.21 / (120 * ROWS * 32))
    ones = torch.ones(1, 1, dtype=torch.float64)
    layer = next(part for part in task._train_module.modules() if type(part).__name__ == "MaskedDropout")
    layer.keep = torch.ones(1, 1, dtype=torch.bool)
    assert layer(ones).item() == pytest.approx(1 / 0.7)


def test_whole_channels_are_dropped_together() -> None:
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(9, 1, 5, 5)))

    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(36, 3))

    task = Task.from_module("images", build, CROSS_ENTROPY, (images, torch.arange(9) % 3))
    streams = streams_of(0)
    assert task.noise(task.batch(torch.arange(9), streams), streams)["1.keep"].shape == (9, 4, 1, 1)
    assert task.vmappable


def test_init_is_the_module_s_own_by_seed() -> None:
    task = _task(_norm)
    before = torch.get_rng_state()
    first, again, other = (task.init(streams_of(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
    assert first["0.weight"].abs().max() <= 1 / np.sqrt(6)  # nn.Linear's own bound


class _Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return 2.0 * out if out.mean().item() > 0.0 else out


def test_what_vmap_refuses_runs_one_at_a_time(train: Callable[..., Any]) -> None:
    with pytest.warns(UserWarning, match=r"module toy runs one trial at a time.*\.item\(\)"):
        task = _task(_Branches)
    assert not task.vmappable
    trained = train(task, SGD(), ({"lr": 0.1}, {"lr": 0.5}), steps=25)
    for member, lr in enumerate((0.1, 0.5)):
        execution = trained.results[member].execution
        assert (execution.mode, execution.width) == ("loop", 1)
        assert "cannot be vmapped" in execution.reason
        module = _Branches().double()
        module.load_state_dict(task.init(streams_of(0))[0])
        optimizer = torch.optim.SGD(module.parameters(), lr=lr)
        for _ in range(25):
            optimizer.zero_grad()
            CROSS_ENTROPY(module(POINTS.double()), CLASSES).backward()
            optimizer.step()
        flat = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        np.testing.assert_allclose(trained.weights(member), flat, rtol=1e-9)


class _Reader(nn.Module):
    """Reads the six features as three steps of two: torch has no vmap rule for an LSTM without gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.layer = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.lstm(x.reshape(-1, 3, 2))[0][:, -1])
        return out


def test_what_vmap_refuses_in_evaluation_alone_runs_one_at_a_time(train: Callable[..., Any]) -> None:
    with pytest.warns(UserWarning, match=r"module toy runs one trial at a time.*lstm"):
        task = _task(_Reader)
    trained = train(task, SGD(), ({"lr": 0.5},), steps=4, probes=(FullLoss(),))
    losses = trained.metrics(0, "train_loss")
    assert trained.results[0].state == "done"
    assert losses[-1] < losses[0]


def test_a_norm_without_running_statistics_is_measured(train: Callable[..., Any]) -> None:
    task = _task(lambda: nn.Sequential(nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)))
    trained = train(task, SGD(), ({"lr": 0.5},), steps=2, probes=(FullLoss(),))
    assert np.isfinite(trained.metrics(0, "train_loss")).all()


def test_frozen_parameters_stay_and_the_others_train_as_in_torch(train: Callable[..., Any]) -> None:
    def build() -> nn.Module:
        module = _norm()
        module[0].weight.requires_grad_(requires_grad=False)
        return module

    task = _task(build)
    assert task.data_digest() != _task(_norm).data_digest()
    trained = train(task, SGD(), ({"lr": 0.5},), steps=10)
    module = build().double()
    params, buffers = task.init(streams_of(0))
    module.load_state_dict({**params, **buffers})
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.5)
    for _ in range(10):
        optimizer.zero_grad()
        CROSS_ENTROPY(module(POINTS.double()), CLASSES).backward()
        optimizer.step()
    state = module.state_dict()
    flat = torch.cat([state[name].reshape(-1).double() for name in (*params, *buffers)])
    moved_twice = len(flat) - 1  # num_batches_tracked: also counts the evaluation after the last step
    np.testing.assert_allclose(trained.weights(0)[:moved_twice], flat[:moved_twice], rtol=1e-9)


@pytest.mark.parametrize(
    ("build", "fault"),
    [
        (nn.Flatten, "got 0 parameters, none of which requires a gradient"),
        (lambda: nn.LazyLinear(3), "got parameters without a size"),
    ],
)
def test_a_module_with_nothing_to_train_is_refused(build: Any, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        _task(build)


def test_hidden_randomness_is_refused() -> None:
    with pytest.raises(UsageError, match=r"draw from torch's generator.*allowed: random\s+layers nn.Dropout"):
        _task(lambda: nn.Sequential(nn.Linear(6, 3), nn.RReLU()))


def test_a_dropout_layer_used_twice_is_refused() -> None:
    def build() -> nn.Module:
        twice = nn.Dropout()
        return nn.Sequential(nn.Linear(6, 3), twice, nn.Linear(3, 3), twice)

    with pytest.raises(UsageError, match="give each use a layer of its own"):
        _task(build)


@pytest.mark.parametrize(
    ("targets", "test_share", "num_faults"),
    [(CLASSES[1:], 0.0, 1), (CLASSES, 1.0, 1), (CLASSES[:0], -0.1, 2)],
)
def test_impossible_data_are_refused(targets: Tensor, test_share: float, num_faults: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Task.from_module("toy", _norm, CROSS_ENTROPY, (POINTS, targets), test_share=test_share)
    assert len(caught.value.faults) == num_faults


def test_held_out_rows_follow_the_split_stream() -> None:
    task = _task(_norm, test_share=0.25)
    split = task.split(streams_of(7))
    assert (len(split.train), len(split.test)) == (30, 10)
    assert torch.equal(torch.cat(split).sort().values, torch.arange(ROWS))
    assert not torch.equal(split.test, task.split(streams_of(8)).test)


def test_digest_names_data_structure_and_loss() -> None:
    def digest(build: Any = _norm, loss: Any = CROSS_ENTROPY, points: Tensor = POINTS) -> str:
        return Task.from_module("toy", build, loss, (points, CLASSES)).data_digest()

    variants = [
        digest(),
        digest(build=_dropout),
        digest(build=lambda: _dropout(0.4)),
        digest(loss=_squared),
        digest(loss=partial(CROSS_ENTROPY, label_smoothing=0.1)),
        digest(loss=partial(CROSS_ENTROPY, label_smoothing=0.2)),
        digest(loss=nn.CrossEntropyLoss()),
        digest(loss=nn.CrossEntropyLoss(label_smoothing=0.1)),
        digest(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))),
        digest(points=POINTS + 1.0),
        _task(_norm, test_share=0.1).data_digest(),
    ]
    assert len(set(variants)) == len(variants)
    assert digest() == variants[0]


def test_it_survives_pickling() -> None:
    task = _task(_dropout)
    shipped = cloudpickle.loads(cloudpickle.dumps(task))
    assert shipped.data_digest() == task.data_digest()
    streams = streams_of(1)
    for own in (task, shipped):
        params, buffers = own.init(streams)
        task64 = own.to(torch.device("cpu"), torch.float64)
        batch = task64.batch(torch.arange(5), streams)
        out = task64.loss(params, buffers, batch, task64.noise(batch, streams), Taps())
        if own is task:
            first = out.loss
    assert torch.equal(first, out.loss)
