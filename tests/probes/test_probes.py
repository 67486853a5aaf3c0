"""Shipped probes against exact answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from gradlaw.errors import UsageError
from gradlaw.probes import PROBES, FullLoss, GradientNorm
from gradlaw.random import streams_of
from gradlaw.rules import SGD
from gradlaw.tasks.digits import DigitsMLPBatchNorm, DigitsSoftmax, load_digits_arrays

STEPS = 6


def _path(task: Any, lr: float) -> Any:
    """Parameters, split and data of gradient descent on least squares, in numpy."""
    split = task.split(streams_of(0))
    X, y = task.X.numpy(), task.y.numpy()
    w = task.init(streams_of(0))[0]["w"].numpy()
    rows = split.train.numpy()
    for _ in range(STEPS + 1):
        yield w, rows, split.test.numpy(), X, y
        w = w - lr * X[rows].T @ (X[rows] @ w - y[rows]) / len(rows)


def test_full_loss_and_gradient_norms_of_least_squares(train: Callable[..., Any], least_squares: Any) -> None:
    task = least_squares(12, num_test=4)
    probes = (FullLoss(), GradientNorm())
    arms = ({"lr": 0.05}, {"lr": 0.2})
    trained = train(task, SGD(), arms, steps=STEPS, probes=probes, batch_size=0)
    for member, arm in enumerate(arms):
        for step, (w, rows, held_out, X, y) in enumerate(_path(task, arm["lr"])):
            r, g = X[rows] @ w - y[rows], X[rows].T @ (X[rows] @ w - y[rows]) / len(rows)
            expected = {
                "train_loss": 0.5 * (r**2).mean(),
                "test_loss": 0.5 * ((X[held_out] @ w - y[held_out]) ** 2).mean(),
                "train_worst": abs(r).max(),
                "gradient_norm": np.sqrt((g**2).sum()),
                "gradient_one_norm": abs(g).sum(),
            }
            for column, value in expected.items():
                np.testing.assert_allclose(trained.metrics(member, column)[step], value, rtol=1e-12)


def test_full_loss_is_that_of_sklearn(train: Callable[..., Any], weights: Any) -> None:
    """Softmax regression's loss and accuracy on held-out digits, with the trained weights in sklearn."""
    task = DigitsSoftmax()
    trained = train(task, SGD(), ({"lr": 1.0},), steps=50, probes=(FullLoss(), weights()))
    images, classes = load_digits_arrays()
    split = task.split(streams_of(0))
    model = LogisticRegression().fit(images[:60], classes[:60])
    shapes = {name: p.shape for name, p in task.init(streams_of(0))[0].items()}
    flat = trained.weights(0)
    for shape in shapes.values():
        size = int(np.prod(shape))
        part, flat = flat[:size].reshape(shape), flat[size:]
        if len(shape) == 2:
            model.coef_ = part
        else:
            model.intercept_ = part
    for name, rows in (("train", split.train.numpy()), ("test", split.test.numpy())):
        probability = model.predict_proba(images[rows])[np.arange(len(rows)), classes[rows]]
        np.testing.assert_allclose(
            trained.metrics(0, f"{name}_loss")[-1], -np.log(probability).mean(), rtol=1e-9
        )
        accuracy = model.score(images[rows], classes[rows])
        np.testing.assert_allclose(trained.metrics(0, f"{name}_accuracy")[-1], accuracy)


def test_whole_sets_do_not_move_the_buffers(train: Callable[..., Any], weights: Any) -> None:
    watched = train(
        DigitsMLPBatchNorm(), SGD(), steps=8, batch_size=16, probes=(FullLoss(), GradientNorm(), weights())
    )
    bare = train(DigitsMLPBatchNorm(), SGD(), steps=8, batch_size=16)
    assert np.array_equal(watched.weights(0), bare.weights(0))


@pytest.mark.parametrize("probe", [FullLoss(), GradientNorm()])
def test_streams_have_no_whole_set(probe: Any, least_squares: Any) -> None:
    task = least_squares()
    task.num_rows = None
    with pytest.raises(UsageError, match="got the stream least_squares"):
        probe.columns(task)


def test_registry_and_digests() -> None:
    assert {name: probe.name for name, probe in PROBES.items()} == {name: name for name in PROBES}
    assert len({probe().digest for probe in PROBES.values()}) == len(PROBES)
