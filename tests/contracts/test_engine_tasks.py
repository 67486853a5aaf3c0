"""What every task promises the engine: shipped ones, and toys of the kinds a study may bring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch
from cifar_files import served_from, write_files
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from gradlaw.random import Streams, streams_of
from gradlaw.rules import SGD, HeavyBall
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Taps, Task
from gradlaw.tasks import TASKS
from gradlaw.tasks.resnet import CIFAR10ResNet

CPU, SIZE = torch.device("cpu"), 6
_numbers = np.random.default_rng(2).normal(size=(30, 6))
POINTS, TARGETS = torch.from_numpy(_numbers[:, :5]).float(), torch.from_numpy(_numbers[:, 5:]).float()


class Flow(Task):
    """A stream: y = sin(2 x) + noise, fresh at every step."""

    name = "flow"

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"a": streams.normal("init", (7,)), "b": streams.at(part=1).normal("init", (7,))}, {}

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        x = streams.uniform("order", tuple(indices.shape))
        return x, torch.sin(2.0 * x) + 0.1 * streams.at(part=1).normal("order", tuple(indices.shape))

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        x, y = (part.to(params["a"].dtype) for part in batch)
        out = torch.tanh(x[:, None] * params["a"]) @ params["b"]
        return LossOutput(((out - y) ** 2).mean(), out, {})


def _batch_norm() -> Task:
    return Task.from_module(
        "toy_batch_norm",
        lambda: nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)),
        nn.functional.mse_loss,
        (POINTS, TARGETS),
    )


def _dropout() -> Task:
    return Task.from_module(
        "toy_dropout",
        lambda: nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Dropout(0.4), nn.Linear(9, 1)),
        nn.functional.mse_loss,
        (POINTS, TARGETS),
        test_share=0.2,
    )


def _resnet() -> Task:
    return CIFAR10ResNet(depth=14, width=1, train_rows=10, test_rows=2)


MAKERS: dict[str, Callable[[], Task]] = {
    **TASKS,
    "cifar10_resnet": _resnet,
    "flow": Flow,
    "toy_batch_norm": _batch_norm,
    "toy_dropout": _dropout,
}


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("cifar10")
    write_files(folder, num=2, num_test=2)
    with served_from(folder):
        yield


@pytest.fixture(params=list(MAKERS))
def task(request: pytest.FixtureRequest) -> Task:
    return MAKERS[request.param]()


def _drawn(task: Task, seed: int = 4) -> tuple[Task, Params, Buffers, Batch, Noise]:
    """The task in float64, its start and a batch with noise."""
    streams = streams_of(seed)
    params, buffers = task.init(streams)
    task64 = task.to(CPU, torch.float64)
    rows = torch.arange(SIZE) if task.num_rows is None else task.split(streams).train[:SIZE]
    batch = task64.batch(rows, streams)
    return task64, params, buffers, batch, task64.noise(batch, streams)


def test_it_names_itself(task: Task) -> None:
    assert task.name in MAKERS
    assert task.version >= 1
    assert task.vmappable
    assert type(task.data_digest()) is str
    assert task.data_digest() == MAKERS[task.name]().data_digest()


def test_init_is_a_function_of_the_seed_in_float64(task: Task) -> None:
    first, again, other = (task.init(streams_of(seed)) for seed in (1, 1, 2))
    for left, right in zip(tree_leaves(first), tree_leaves(again), strict=True):
        assert torch.equal(left, right)
        assert left.dtype == torch.float64 or not left.is_floating_point()
    assert any(not torch.equal(first[0][name], other[0][name]) for name in first[0])


def test_split_is_a_partition_that_follows_the_seed(task: Task) -> None:
    if task.num_rows is None:
        with pytest.raises(TypeError, match="is a stream"):
            task.split(streams_of(1))
        return
    first, again, other = (task.split(streams_of(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.cat(first).sort().values, torch.arange(task.num_rows))
    assert torch.equal(first.train, again.train)
    assert len(first.test) == len(other.test)
    published = task.name == "cifar10_resnet"
    assert len(first.test) == 0 or torch.equal(first.test, other.test) == published


def test_batches_lead_with_their_rows_and_depend_on_the_trial_alone(task: Task) -> None:
    _, _, _, batch, noise = _drawn(task)
    again = _drawn(task)
    for left, right in zip(tree_leaves((batch, noise)), tree_leaves(again[3:]), strict=True):
        if isinstance(left, Tensor):
            assert left.shape[0] == SIZE
            assert torch.equal(left, right)


def test_loss_is_a_pure_mean(task: Task) -> None:
    task64, params, buffers, batch, noise = _drawn(task)
    copies = [leaf.clone() for leaf in tree_leaves((params, buffers, batch)) if isinstance(leaf, Tensor)]
    out = task64.loss(params, buffers, batch, noise, Taps())
    again = task64.loss(params, buffers, batch, noise, Taps())
    assert out.loss.shape == ()
    assert out.loss.dtype == torch.float64
    assert torch.equal(out.loss, again.loss)
    assert out.outputs.shape[0] == SIZE
    left = [leaf for leaf in tree_leaves((params, buffers, batch)) if isinstance(leaf, Tensor)]
    assert all(torch.equal(before, after) for before, after in zip(copies, left, strict=True))


def test_buffers_move_in_training_and_only_there(task: Task) -> None:
    task64, params, buffers, batch, noise = _drawn(task)
    trained = task64.loss(params, buffers, batch, noise, Taps()).buffers
    evaluated = task64.loss(params, buffers, batch, None, Taps(train=False)).buffers
    assert trained.keys() == evaluated.keys() == buffers.keys()
    for name, value in buffers.items():
        assert trained[name].shape == value.shape
        assert trained[name].dtype == value.dtype
        assert not torch.equal(trained[name], value)
        assert torch.equal(evaluated[name], value)


def test_evaluation_does_not_couple_samples(task: Task) -> None:
    """In evaluation an output depends on its own row: half a batch gives half the outputs."""
    task64, params, buffers, batch, _ = _drawn(task)
    half = tree_map(lambda leaf: leaf[: SIZE // 2], batch)
    whole = task64.loss(params, buffers, batch, None, Taps(train=False)).outputs
    part = task64.loss(params, buffers, half, None, Taps(train=False)).outputs
    torch.testing.assert_close(whole[: SIZE // 2], part, rtol=1e-10, atol=1e-12)


def test_gradient_is_that_of_finite_differences(task: Task) -> None:
    task64, params, buffers, batch, noise = _drawn(task)
    for seed in range(3):
        streams = streams_of(50 + seed)
        along = {
            name: streams.at(part=part).normal("noise", tuple(value.shape))
            for part, (name, value) in enumerate(params.items())
        }

        def at(h: Tensor, along: Params = along) -> Tensor:
            moved = {name: value + h * along[name] for name, value in params.items()}
            return task64.loss(moved, buffers, batch, noise, Taps()).loss

        exact = torch.func.grad(at)(torch.tensor(0.0, dtype=torch.float64))
        between_kinks = task.name == "cifar10_resnet"  # of its hundred thousand ReLUs
        h = torch.tensor(1e-8 if between_kinks else 2e-4, dtype=torch.float64)
        # fourth-order central difference: error of order h^4
        measured = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        assert abs(float(measured - exact)) <= 1e-6 * max(1.0, abs(float(exact)))


def test_scores_are_scalars_of_the_outputs(task: Task) -> None:
    task64, params, buffers, batch, _ = _drawn(task)
    outputs = task64.loss(params, buffers, batch, None, Taps(train=False)).outputs
    for value in task64.scores(outputs, batch).values():
        assert value.shape == ()
        assert bool(torch.isfinite(value))


@pytest.mark.parametrize("settings", [{"batch_size": 5}, {"batch_size": 5, "sampling": "epoch"}, {}])
def test_a_trial_is_the_same_alone_and_in_a_pack(
    train: Callable[..., Any], task: Task, settings: dict[str, Any]
) -> None:
    if task.num_rows is None and settings != {"batch_size": 5}:
        pytest.skip("a stream is drawn in independent batches")
    arms = ({"lr": 0.05}, {"lr": 0.01, "momentum": 0.9})
    packed = train(
        task, HeavyBall(), ({"lr": 0.05, "momentum": 0.0}, arms[1]), seeds=(1, 8), steps=25, **settings
    )
    alone = train(task, HeavyBall(), (arms[1],), seeds=(8,), steps=25, **settings)
    np.testing.assert_allclose(alone.metrics(0), packed.metrics(3), rtol=1e-9)
    np.testing.assert_allclose(alone.weights(0), packed.weights(3), rtol=1e-9, atol=1e-12)
    # arms of one seed start as one
    assert packed.metrics(0)[0] == packed.metrics(1)[0] != packed.metrics(2)[0]


def test_it_trains_in_float32(train: Callable[..., Any], task: Task) -> None:
    trained = train(task, SGD(), ({"lr": 0.02},), steps=5, batch_size=8, dtype="float32")
    assert trained.results[0].state == "done"
    single, double = trained.metrics(0), train(task, SGD(), ({"lr": 0.02},), steps=5, batch_size=8).metrics(0)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_it_survives_the_way_to_a_worker(task: Task) -> None:
    shipped = cloudpickle.loads(cloudpickle.dumps(task))
    first, second = (_drawn(own) for own in (task, shipped))
    assert torch.equal(first[0].loss(*first[1:], Taps()).loss, second[0].loss(*second[1:], Taps()).loss)
