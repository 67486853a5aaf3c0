import math

import numpy as np
import pytest
import torch
from torch.func import grad

from gradlaw.errors import ConfigurationError
from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw.tasks.modular_addition import ModularAddition, addition_table

torch.set_num_threads(1)
STREAMS = streams_of(11)


def brute_force_loss(weights, rows, modulus):
    """The definition with one-hot vectors and the projection as a matrix."""
    projection = np.eye(modulus) - np.ones((modulus, modulus)) / modulus
    losses = []
    for first, second in rows:
        one, two = np.eye(modulus)[first], np.eye(modulus)[second]
        output = weights["W_c"] @ (weights["W_a"].T @ one + weights["W_b"].T @ two) ** 2
        residual = projection @ (output - np.eye(modulus)[(first + second) % modulus])
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
