"""Shipped probes against exact answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from gradlaw.errors import UsageError
from gradlaw.probes import (
    PROBES,
    EffectiveLR,
    FullLoss,
    GradientNorm,
    NoiseScale,
    ParameterMax,
    ParameterNorm,
    PreconditionedSharpness,
    Sharpness,
    UpdateNorm,
)
from gradlaw.random import streams_of
from gradlaw.rules import SGD, HeavyBall
from gradlaw.tasks.digits import DigitsMLPBatchNorm, DigitsSoftmax, load_digits_arrays
from gradlaw.tasks.modular_addition import ModularAddition

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
    probes = (FullLoss(), GradientNorm(eps=0.3))
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
                "gradient_perturbed_norm": np.sqrt(g**2 + 0.3).sum(),
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


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan"), float("inf")])
def test_eps_of_the_perturbed_norm_is_positive(eps: float) -> None:
    with pytest.raises(UsageError, match="allowed: > 0 and finite"):
        GradientNorm(eps=eps)


WHOLE_SET = (FullLoss(), GradientNorm(), NoiseScale(), Sharpness(), PreconditionedSharpness())


@pytest.mark.parametrize("probe", WHOLE_SET)
def test_streams_have_no_whole_set(probe: Any, least_squares: Any) -> None:
    task = least_squares()
    task.num_rows = None
    with pytest.raises(UsageError, match="got the stream least_squares"):
        probe.columns(task)


def test_registry_and_digests() -> None:
    assert {name: probe.name for name, probe in PROBES.items()} == {name: name for name in PROBES}
    assert len({probe().digest for probe in PROBES.values()}) == len(PROBES)


def test_alone_as_in_a_pack(train: Callable[..., Any]) -> None:
    """Every column of every probe, of a member alone and among members of other settings and seeds."""
    task = ModularAddition(modulus=5, width=3)
    probes = (
        FullLoss(),
        GradientNorm(),
        UpdateNorm(),
        ParameterNorm(),
        ParameterMax(),
        EffectiveLR(),
        NoiseScale(),
        Sharpness(),
    )
    settings = {"steps": 12, "log_every": 4, "batch_size": 6, "probes": probes}
    arms = ({"lr": 0.02, "momentum": 0.9}, {"lr": 0.3})
    packed = train(task, HeavyBall(), arms, seeds=(1, 2), **settings)
    alone = train(task, HeavyBall(), arms[:1], seeds=(2,), **settings)
    names = [column.name for probe in probes for column in probe.columns(task)]
    assert len(set(names)) == 4 + 3 + 2 + 1 + 1 + 9 + 3 + 2
    for name in names:
        mine, other = packed.metrics(2, name), packed.metrics(1, name)
        np.testing.assert_allclose(alone.metrics(0, name), mine, rtol=1e-8, atol=1e-11, err_msg=name)
        assert np.isfinite(mine[1:]).all()
        assert not np.array_equal(mine, other)


def test_what_probes_draw_disturbs_nothing(train: Callable[..., Any], weights: Any) -> None:
    task = ModularAddition(modulus=5, width=3)
    drawing = (NoiseScale(), Sharpness(), weights())
    watched, bare = (
        train(task, SGD(), ({"lr": 0.1},), steps=9, batch_size=4, probes=probes)
        for probes in (drawing, (weights(),))
    )
    assert np.array_equal(watched.weights(0), bare.weights(0))
