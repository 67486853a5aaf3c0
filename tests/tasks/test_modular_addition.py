import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch.func import grad

from gradlaw.errors import ConfigurationError
from gradlaw.planning.plan import make_plan
from gradlaw.probes import FullLoss
from gradlaw.random import streams_of
from gradlaw.rules import Adam
from gradlaw.study import Grid, Preset, Study
from gradlaw.task import Taps
from gradlaw.tasks.common import random_split
from gradlaw.tasks.modular_addition import ModularAddition, addition_table
from gradlaw.trial import Trial

torch.set_num_threads(1)
STREAMS = streams_of(11)


def brute_force_loss(weights, rows, modulus, labels=None):
    """The definition with one-hot vectors and the projection as a matrix; labels by number of the pair."""
    projection = np.eye(modulus) - np.ones((modulus, modulus)) / modulus
    losses = []
    for first, second in rows:
        one, two = np.eye(modulus)[first], np.eye(modulus)[second]
        output = weights["W_c"] @ (weights["W_a"].T @ one + weights["W_b"].T @ two) ** 2
        label = (first + second) % modulus if labels is None else labels[first * modulus + second]
        residual = projection @ (output - np.eye(modulus)[label])
        losses.append(residual @ residual)
    return np.mean(losses)


def test_the_table_holds_every_pair_and_its_sum():
    table = addition_table(5)
    assert sorted(map(tuple, table[:, :2].tolist())) == [(a, b) for a in range(5) for b in range(5)]
    assert all(c == (a + b) % 5 for a, b, c in table.tolist())


def test_the_loss_is_that_of_the_definition():
    task = ModularAddition(modulus=7, width=9)
    params, _ = task.init(STREAMS)
    rows = torch.tensor([0, 3, 17, 17, 48])
    out = task.loss(params, {}, task.batch(rows, STREAMS), None, Taps())
    pairs = [divmod(row, 7) for row in rows.tolist()]
    weights = {name: value.numpy() for name, value in params.items()}
    assert out.loss.item() == pytest.approx(brute_force_loss(weights, pairs, 7), rel=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    task = ModularAddition(modulus=5, width=4)
    params, _ = task.init(STREAMS)
    batch = task.batch(torch.arange(25), STREAMS)
    pairs = [divmod(row, 5) for row in range(25)]
    grads = grad(lambda p: task.loss(p, {}, batch, None, Taps()).loss)(params)
    for name in params:
        weights = {key: value.numpy().copy() for key, value in params.items()}
        values = []
        for shift in (1e-5, -1e-5):
            weights[name][1, 2] = params[name][1, 2].item() + shift
            values.append(brute_force_loss(weights, pairs, 5))
        assert grads[name][1, 2].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_the_zero_predictor_has_the_published_loss():
    task = ModularAddition(modulus=23, width=3)
    params = {name: torch.zeros_like(value) for name, value in task.init(STREAMS)[0].items()}
    out = task.loss(params, {}, task.batch(torch.arange(529), STREAMS), None, Taps())
    assert out.loss.item() == pytest.approx(1 - 1 / 23, rel=1e-12)


def test_a_memorizing_network_solves_it():
    # One node a pair: h is 4 where both residues match, 1 where one does, 0 elsewhere; W_c inverts that.
    d, task = 3, ModularAddition(modulus=3, width=9)
    table = addition_table(d)
    hidden = ((table[:, None, 0] == table[None, :, 0]) * 1.0 + (table[:, None, 1] == table[None, :, 1])) ** 2
    params = {
        "W_a": torch.tensor((table[:, :1] == np.arange(d)) * 1.0).T,
        "W_b": torch.tensor((table[:, 1:2] == np.arange(d)) * 1.0).T,
        "W_c": torch.tensor(np.linalg.lstsq(hidden, np.eye(d)[table[:, 2]], rcond=None)[0].T),
    }
    batch = task.batch(torch.arange(9), STREAMS)
    out = task.loss(params, {}, batch, None, Taps())
    assert out.loss.item() < 1e-20
    assert task.scores(out.outputs, batch)["accuracy"].item() == 1.0


def test_shapes_and_ranges_of_the_initial_weights():
    task = ModularAddition()
    params, buffers = task.init(STREAMS)
    assert buffers == {}
    assert {name: tuple(value.shape) for name, value in params.items()} == {
        "W_a": (23, 512), "W_b": (23, 512), "W_c": (23, 512),
    }  # fmt: skip
    for name, fan_in in (("W_a", 23), ("W_b", 23), ("W_c", 512)):
        largest = params[name].abs().max().item() * math.sqrt(fan_in)
        assert 0.999 < largest <= 1.0


def test_a_tenth_of_the_pairs_is_held_out():
    split = ModularAddition().split(STREAMS)
    assert (len(split.train), len(split.test)) == (476, 53)
    assert sorted(torch.cat(split).tolist()) == list(range(529))


def test_the_digest_differs_between_moduli_and_faults_are_named():
    assert ModularAddition(modulus=5).data_digest() != ModularAddition(modulus=7).data_digest()
    with pytest.raises(ConfigurationError, match=r"(?s)2 faults.*modulus: got 1.*width: got 0"):
        ModularAddition(modulus=1, width=0)


@pytest.mark.parametrize("modulus", [2, 3, 5, 7, 15, 23, 25, 35, 71])
def test_by_default_the_tenth_is_held_out_to_the_row(modulus):
    """Half a row is rounded as the share held out is: 0.1 of 25 or 225 rows, where 1 - 0.9 is no 0.1."""
    split = ModularAddition(modulus=modulus).split(STREAMS)
    expected = random_split(STREAMS, modulus**2, 0.1)
    assert all(map(torch.equal, split, expected))


@pytest.mark.parametrize(("share", "num_train"), [(0.4, 20), (1.0, 49), (1, 49), (0.02, 1)])
def test_the_train_share_is_free(share, num_train):
    split = ModularAddition(modulus=7, train_share=share).split(STREAMS)
    assert (len(split.train), len(split.test)) == (num_train, 49 - num_train)


def test_impossible_options_are_named_all_at_once():
    with pytest.raises(ConfigurationError) as raised:
        ModularAddition(train_share=0.0, activation="tanh", criterion="mse", labels="none")
    assert [fault.split(":")[0] for fault in raised.value.faults] == [
        "train_share",
        "activation",
        "criterion",
        "labels",
    ]
    with pytest.raises(
        ConfigurationError, match=r"train_share: got 0\.001, allowed more: none of the 49 pairs"
    ):
        ModularAddition(modulus=7, train_share=0.001)


def test_options_at_their_defaults_leave_the_identity_alone():
    study = Study(
        name="toy",
        question="?",
        source="",
        presets={"p": Preset(doc="", grids=(Grid(task=ModularAddition, rule=Adam),), seeds=1)},
    )
    given = {"train_share": 0.9, "activation": "square", "criterion": "projected_mse", "labels": "sum"}
    (member,) = make_plan(study, "p", overrides=given).members
    digest = ModularAddition().data_digest()
    plain = Trial(
        task="modular_addition@1",
        rule="adam@1",
        schedule="constant@1",
        hyperparameters={},
        seed=0,
        dtype="float32",
        data_digest=digest,
        loss_bound=1e6,
        log_every=1,
    )
    assert member.trial == plain
    (other,) = make_plan(study, "p", overrides={"train_share": 0.4}).members
    assert other.trial.hyperparameters == {"train_share": 0.4}


def dealt_labels(task, split):
    """Label of each pair, by its number, as the batches of one trial show them."""
    found = np.full(task.num_rows, -1)
    for rows in split:
        first, second, label = (part.numpy() for part in task.batch(rows, STREAMS))
        found[first * task.modulus + second] = label
    return found


def test_shuffled_labels_are_the_sums_dealt_anew_by_each_seed():
    task, plain = ModularAddition(modulus=11, labels="shuffled"), ModularAddition(modulus=11)
    sums = addition_table(11)[:, 2]
    dealt = {seed: dealt_labels(task, task.split(streams_of(seed))) for seed in (1, 2)}
    for seed, labels in dealt.items():
        assert Counter(labels.tolist()) == Counter(sums.tolist())
        # a deal that knows nothing of the sums agrees in one of 11: 11 of 121, with a deviation of 3.2
        assert (labels == sums).sum() < 26
        rows, own = task.split(streams_of(seed)), plain.split(streams_of(seed))
        for part, whole in zip(rows, own, strict=True):
            assert torch.equal(part % 121, whole)
        assert torch.equal(torch.cat(task.split(streams_of(seed))), torch.cat(rows))
    assert (dealt[1] == dealt[2]).sum() < 26


@pytest.mark.parametrize("mode", ["never", pytest.param("always", marks=pytest.mark.slow)])
def test_every_member_of_a_pack_has_its_own_shuffled_labels(train, weights, mode):
    task = ModularAddition(modulus=5, width=6, labels="shuffled", train_share=0.8)
    arms = ({"lr": 0.01}, {"lr": 0.03})
    settings = {"steps": 60, "log_every": 20, "probes": (FullLoss(), weights()), "compile": mode}
    packed = train(task, Adam(), arms, seeds=(3, 8, 5), **settings)
    for place, seed in ((0, 3), (2, 8), (4, 5)):
        split = task.split(streams_of(seed))
        labels = dealt_labels(task, split)
        params, _ = task.init(streams_of(seed))
        numbers = {name: value.numpy() for name, value in params.items()}
        for name, rows in zip(("train", "test"), split, strict=True):
            pairs = [divmod(int(row) % 25, 5) for row in rows]
            measured = packed.metrics(place, f"{name}_loss")[0]
            assert measured == pytest.approx(brute_force_loss(numbers, pairs, 5, labels), rel=1e-10)
    alone = train(task, Adam(), arms[1:], seeds=(5,), **settings)
    np.testing.assert_allclose(alone.weights(0), packed.weights(5), rtol=1e-9, atol=1e-12)
    for column in ("loss", "train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(alone.metrics(0, column), packed.metrics(5, column), rtol=1e-9)


def test_relu_and_cross_entropy_are_those_of_the_definition():
    task = ModularAddition(modulus=7, width=9, activation="relu", criterion="cross_entropy")
    params, _ = task.init(STREAMS)
    rows = torch.tensor([0, 3, 17, 17, 48])
    out = task.loss(params, {}, task.batch(rows, STREAMS), None, Taps())
    weights = {name: value.numpy() for name, value in params.items()}
    losses = []
    for first, second in (divmod(row, 7) for row in rows.tolist()):
        output = weights["W_c"] @ np.maximum(weights["W_a"][first] + weights["W_b"][second], 0.0)
        losses.append(np.log(np.exp(output).sum()) - output[(first + second) % 7])
    assert out.loss.item() == pytest.approx(np.mean(losses), rel=1e-12)


def test_training_is_that_of_one_hot_vectors_under_torchs_adam(train, weights):
    """The definition in torch's own words, weight decay in the gradient, for thirty steps of all rows."""
    task, seed = ModularAddition(modulus=7, width=12), 4
    arm = {"lr": 0.01, "weight_decay": 5e-3}
    trained = train(task, Adam(), (arm,), seeds=(seed,), steps=30, probes=(weights(),), compile="never")
    params = {name: value.requires_grad_() for name, value in task.init(streams_of(seed))[0].items()}
    optimizer = torch.optim.Adam(params.values(), lr=arm["lr"], weight_decay=arm["weight_decay"])
    rows = task.split(streams_of(seed)).train
    one_hot = torch.eye(7, dtype=torch.float64)
    projection = one_hot - torch.full((7, 7), 1 / 7, dtype=torch.float64)
    for _ in range(30):
        hidden = (one_hot[rows // 7] @ params["W_a"] + one_hot[rows % 7] @ params["W_b"]) ** 2
        error = hidden @ params["W_c"].T - one_hot[(rows // 7 + rows % 7) % 7]
        loss = ((error @ projection) ** 2).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    expected = torch.cat([value.detach().reshape(-1) for value in params.values()]).numpy()
    np.testing.assert_allclose(trained.weights(0), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", ["square", "relu"])
@pytest.mark.parametrize("criterion", ["projected_mse", "cross_entropy"])
def test_every_option_learns_its_rows(train, activation, criterion):
    task = ModularAddition(modulus=5, width=40, activation=activation, criterion=criterion)
    settings = {"steps": 200, "log_every": 200, "probes": (FullLoss(),), "compile": "never"}
    trained = train(task, Adam(), ({"lr": 0.03},), **settings)
    assert list(trained.metrics(0, "train_accuracy")) == [pytest.approx(0.2, abs=0.2), 1.0]
