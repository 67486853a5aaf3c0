"""Which rows a step sees, against the same draws made in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gradlaw.engine.sampling import sampler_of
from gradlaw.errors import ConfigurationError
from gradlaw.pack import Training
from gradlaw.random import Streams, streams_of
from gradlaw.rules import SGD
from gradlaw.schedules import Constant

N, B = 25, 4


def _sampler(task: Any, **settings: Any) -> Any:
    training = Training(task=task, rule=SGD(), schedule=Constant(), steps=1, **settings)
    return sampler_of(training, task, task.num_rows)


def _rows(sampler: Any, task: Any, seed: torch.Tensor, step: int, number: int = 0) -> Any:
    """The rows of one step, as a trial sees them."""
    streams = Streams(seed, torch.tensor(step))
    block = torch.zeros(0, dtype=torch.int64)
    if sampler.block_steps:
        block = sampler.block(streams, torch.tensor(step // sampler.block_steps), N)
    return sampler.draw(streams, task.split(streams), block, number).batch[2]


ORDER_STREAM, ORDER_USER, EPOCH_USER = 2, 1, 2  # written out: to change one changes every trial


def _words(seed: int, step: int, user: int, count: int) -> list[int]:
    """Philox4x32-10 of stream "order" in Python's own integers, as Salmon et al. write it."""
    words: list[int] = []
    for block in range((count + 3) // 4):
        c0, c1, c2, c3, k0, k1 = block, step, 0, user, seed, ORDER_STREAM
        for _ in range(10):
            p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
            c0, c1 = (p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF
            c2, c3 = (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF
            k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
        words += [c0, c1, c2, c3]
    return words[:count]


@pytest.mark.parametrize("step", [0, 7, 63, 64, 1000])
def test_rows_with_replacement_are_the_order_stream_s(least_squares: Any, step: int) -> None:
    task = least_squares(N)
    sampler = _sampler(task, batch_size=B)
    packed = torch.vmap(lambda seed: _rows(sampler, task, seed, step))(torch.arange(3))
    for seed in range(3):
        expected = [word * N >> 32 for word in _words(seed, step, ORDER_USER, B)]
        assert packed[seed].tolist() == expected
        assert torch.equal(packed[seed], _rows(sampler, task, torch.tensor(seed), step))


@pytest.mark.parametrize("step", [0, 5, 6, 20])
def test_rows_by_epochs_are_the_order_stream_s(least_squares: Any, step: int) -> None:
    task = least_squares(N)
    sampler = _sampler(task, batch_size=B, sampling="epoch")
    epoch, position = divmod(step, N // B)
    words = _words(11, epoch, EPOCH_USER, 2 * N)
    keys = [((words[2 * i] & 0x3FFFFFFF) << 32) | words[2 * i + 1] for i in range(N)]
    order = sorted(range(N), key=keys.__getitem__)
    rows = _rows(sampler, task, torch.tensor(11), step)
    assert rows.tolist() == order[B * position : B * position + B]


def test_draws_are_spread_evenly_and_fresh_ones_differ(least_squares: Any) -> None:
    task = least_squares(N)
    sampler = _sampler(task, batch_size=B)
    seed = torch.tensor(3)
    own, fresh, other = (
        torch.cat([_rows(sampler, task, seed, step, number) for step in range(150)]) for number in (0, 1, 2)
    )
    for drawn in (own, fresh, other):
        assert abs(torch.bincount(drawn, minlength=N) - 24).max() < 5 * np.sqrt(24)
    for left, right in ((own, fresh), (fresh, other), (own, other)):
        assert abs((left == right).double().mean() - 1 / N) < 5 * np.sqrt(1 / N / len(own))


def test_an_epoch_meets_every_row_once_and_drops_the_partial_batch(least_squares: Any) -> None:
    task = least_squares(N)
    sampler = _sampler(task, batch_size=B, sampling="epoch")
    assert sampler.block_steps == 6
    seed, seen = torch.tensor(3), []
    for epoch in range(3):
        steps = range(6 * epoch, 6 * epoch + 6)
        rows = torch.cat([_rows(sampler, task, seed, step) for step in steps])
        assert len(rows.unique()) == len(rows) == 24
        seen.append(tuple(rows.tolist()))
    assert len(set(seen)) == 3


def test_training_by_epochs_uses_a_fresh_order_each_epoch(
    train: Callable[..., Any], least_squares: Any
) -> None:
    """With batches of one row, the weights give the row away: each epoch uses each row once."""
    num_rows = 5
    trained = train(least_squares(num_rows), SGD(), ({"lr": 0.01},), batch_size=1, sampling="epoch", steps=10)
    task = least_squares(num_rows)
    w = task.init(streams_of(0))[0]["w"].numpy()
    X, y = task.X.numpy(), task.y.numpy()
    epochs: list[list[int]] = [[], []]
    for step, loss in enumerate(trained.metrics(0)[:10]):
        row = int(np.argmin(abs(0.5 * (X @ w - y) ** 2 - loss)))
        epochs[step // num_rows].append(row)
        w = w - 0.01 * (X[row] @ w - y[row]) * X[row]
    np.testing.assert_allclose(trained.weights(0), w, rtol=1e-12)
    assert [sorted(epoch) for epoch in epochs] == [list(range(num_rows))] * 2
    assert epochs[0] != epochs[1]


def test_full_batch_is_all_rows_in_order_and_its_fresh_draws_are_not(least_squares: Any) -> None:
    task = least_squares(N)
    sampler = _sampler(task)
    assert torch.equal(_rows(sampler, task, torch.tensor(1), 3), torch.arange(N))
    fresh = _rows(sampler, task, torch.tensor(1), 3, 1)
    assert len(fresh) == N
    assert len(fresh.unique()) < N


class _Stream:
    name, num_rows = "flow", None


@pytest.mark.parametrize(
    ("task", "settings", "num_faults"),
    [
        ("rows", {"batch_size": 26, "sampling": "epoch"}, 1),
        ("stream", {"batch_size": 0}, 1),
        ("stream", {"batch_size": 2, "sampling": "epoch"}, 1),
    ],
)
def test_impossible_batches_are_refused(
    least_squares: Any, task: str, settings: dict[str, Any], num_faults: int
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _sampler(least_squares(N) if task == "rows" else _Stream(), **settings)
    assert len(caught.value.faults) == num_faults


def test_no_training_rows_are_refused(train: Callable[..., Any], least_squares: Any) -> None:
    with pytest.raises(ConfigurationError, match="no training rows"):
        train(least_squares(4, num_test=4), SGD())
