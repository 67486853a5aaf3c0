import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.func import functional_call, grad

from gradlaw.errors import ConfigurationError
from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw.tasks import TASKS
from gradlaw.tasks.digits import DigitsMLP, DigitsMLPBatchNorm, DigitsSoftmax, load_digits_arrays

torch.set_num_threads(1)
STREAMS = streams_of(7)


def loss_of(task, params, buffers, batch, *, train=True):
    return task.loss(params, buffers, batch, None, Taps(train=train))


def test_the_images_are_real_and_scaled_to_one():
    images, classes = load_digits_arrays()
    assert images.shape == (1797, 64)
    assert images.min() == 0.0
    assert images.max() == 1.0
    assert list(classes[:10]) == list(range(10))  # the file starts with the ten digits in order


def test_the_softmax_has_the_textbook_loss_and_gradient():
    task = DigitsSoftmax(l2=0.3)
    params, buffers = task.init(STREAMS)
    rows = torch.arange(5, 45)
    batch = task.batch(rows, STREAMS)
    out = loss_of(task, params, buffers, batch)
    weight, bias = params["weight"].numpy(), params["bias"].numpy()
    images, classes = (array[5:45] for array in load_digits_arrays())
    logits = images @ weight.T + bias
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    penalty = 0.15 * ((weight**2).sum() + (bias**2).sum())
    expected = -np.log(share[np.arange(40), classes]).mean() + penalty
    assert out.loss.item() == pytest.approx(expected, rel=1e-12)
    error = (share - np.eye(10)[classes]) / 40
    grads = grad(lambda p: loss_of(task, p, buffers, batch).loss)(params)
    np.testing.assert_allclose(grads["weight"], error.T @ images + 0.3 * weight, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(grads["bias"], error.sum(axis=0) + 0.3 * bias, rtol=1e-10, atol=1e-14)


def test_the_softmax_gradient_vanishes_at_the_minimum_scikit_learn_finds():
    # scikit-learn does not penalize the intercept, so it gets the bias as a column of ones instead.
    task = DigitsSoftmax(test_share=0.0, l2=0.5)
    images, classes = load_digits_arrays()
    model = LogisticRegression(C=1 / (0.5 * len(images)), fit_intercept=False, tol=1e-10, max_iter=5000)
    model.fit(np.hstack((images, np.ones((len(images), 1)))), classes)
    params = {"weight": torch.tensor(model.coef_[:, :64]), "bias": torch.tensor(model.coef_[:, 64])}
    batch = task.batch(torch.arange(1797), STREAMS)
    grads = grad(lambda p: loss_of(task, p, {}, batch).loss)(params)
    assert max(g.abs().max().item() for g in grads.values()) < 1e-6
    assert task.scores(loss_of(task, params, {}, batch).outputs, batch)["accuracy"].item() == pytest.approx(
        model.score(np.hstack((images, np.ones((len(images), 1)))), classes), abs=1e-12
    )


def test_the_mlp_equals_a_torch_module():
    task = DigitsMLP(width=12)
    params, buffers = task.init(STREAMS)
    batch = task.batch(torch.arange(30), STREAMS)
    module = nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10)).double()
    names = {"0.weight": "weight1", "0.bias": "bias1", "2.weight": "weight2", "2.bias": "bias2"}
    logits = functional_call(module, {theirs: params[ours] for theirs, ours in names.items()}, (batch[0],))
    out = loss_of(task, params, buffers, batch)
    torch.testing.assert_close(out.outputs, logits, rtol=1e-12, atol=1e-12)
    assert out.loss.item() == pytest.approx(nn.functional.cross_entropy(logits, batch[1]).item(), rel=1e-12)


def test_batch_norm_equals_torch_in_training_and_in_evaluation():
    task = DigitsMLPBatchNorm(width=6)
    params, buffers = task.init(STREAMS)
    params["scale"], params["shift"] = params["scale"] * 1.3, params["shift"] + 0.2
    module = nn.Sequential(
        nn.Linear(64, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 10)
    ).double()
    names = {"0.weight": "weight1", "1.weight": "scale", "1.bias": "shift"}
    names |= {"3.weight": "weight2", "3.bias": "bias2"}
    with torch.no_grad():
        for theirs, ours in names.items():
            module.get_parameter(theirs).copy_(params[ours])
        for first in (0, 40, 90):
            batch = task.batch(torch.arange(first, first + 25), STREAMS)
            out = loss_of(task, params, buffers, batch)
            torch.testing.assert_close(out.outputs, module(batch[0]), rtol=1e-10, atol=1e-12)
            buffers = out.buffers
        module.eval()
        out = loss_of(task, params, buffers, batch, train=False)
        torch.testing.assert_close(out.outputs, module(batch[0]), rtol=1e-10, atol=1e-12)
    assert out.buffers is buffers  # evaluation moves nothing


def test_batch_norm_of_one_sample_is_finite():
    task = DigitsMLPBatchNorm()
    params, buffers = task.init(STREAMS)
    out = loss_of(task, params, buffers, task.batch(torch.tensor([3]), STREAMS))
    assert torch.isfinite(out.loss)
    assert all(torch.isfinite(value).all() for value in out.buffers.values())


@pytest.mark.parametrize("task", [DigitsSoftmax(), DigitsMLP(width=40), DigitsMLPBatchNorm(width=40)])
def test_initial_weights_fill_their_interval_evenly(task):
    params, _ = task.init(streams_of(3))
    for name in ("weight", "weight1", "weight2"):
        if name in params:
            scaled = params[name] * math.sqrt(params[name].shape[1])
            assert scaled.abs().max().item() <= 1.0
            assert scaled.abs().max().item() > 0.97
            assert abs(scaled.mean().item()) < 4 / math.sqrt(3 * scaled.numel())
    assert torch.equal(
        task.init(streams_of(3))[0]["weight2" if "weight2" in params else "weight"],
        params["weight2" if "weight2" in params else "weight"],
    )


def test_the_split_has_the_stated_sizes_and_depends_on_the_seed_alone():
    softmax, mlp = DigitsSoftmax().split(streams_of(5)), DigitsMLP(width=3).split(streams_of(5))
    assert (len(softmax.train), len(softmax.test)) == (1617, 180)
    assert sorted(torch.cat(softmax).tolist()) == list(range(1797))
    assert torch.equal(softmax.train, mlp.train)
    assert not torch.equal(softmax.train, DigitsSoftmax().split(streams_of(6)).train)
    everything = DigitsSoftmax(test_share=0.0).split(streams_of(5))
    assert (len(everything.train), len(everything.test)) == (1797, 0)


def test_the_split_is_the_same_under_vmap():
    def train_rows(seed):
        return DigitsSoftmax().split(streams_of(0).__class__(seed, torch.tensor(0))).train

    packed = torch.vmap(train_rows)(torch.tensor([5, 6]))
    assert torch.equal(packed[0], DigitsSoftmax().split(streams_of(5)).train)


def test_every_fault_of_the_settings_is_named_at_once():
    with pytest.raises(ConfigurationError, match=r"(?s)test_share: got 1, .*l2: got -1"):
        DigitsSoftmax(test_share=1.0, l2=-1.0)


def test_the_digest_is_of_the_data_and_to_casts_only_floats():
    assert DigitsSoftmax().data_digest() == DigitsMLP().data_digest() != ""
    moved = DigitsMLP().to(torch.device("cpu"), torch.float32)
    assert moved.images.dtype == torch.float32
    assert moved.classes.dtype == torch.int64


def test_the_registry_names_each_task_once():
    assert all(name == task.name for name, task in TASKS.items())
    assert set(TASKS) >= {
        "digits_softmax",
        "digits_mlp",
        "digits_mlp_batchnorm",
        "digits_conv",
        "modular_addition",
    }
