"""Symmetries of trained networks, matched: against exhaustive search, and on disguised copies."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
import torch

from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra.fourier import Weights
from gradlaw_studies.modular_addition.algebra.potentials import brute_force_loss
from gradlaw_studies.modular_addition.landscape.barrier import (
    Relabelling,
    match_all,
    match_nodes,
    relabelled,
    units,
)
from gradlaw_studies.modular_addition.landscape.network import trained


def _drawn(seed: int, modulus: int, width: int) -> Weights:
    return np.random.default_rng(seed).normal(size=(3, modulus, width)) / np.sqrt(modulus)


def _shuffled(weights: Weights, seed: int) -> Weights:
    """Nodes permuted, signs of W_a and W_b flipped together."""
    draw = np.random.default_rng(seed)
    moved = weights[:, :, draw.permutation(weights.shape[2])]
    moved[:2] *= draw.choice((-1.0, 1.0), size=weights.shape[2])
    return moved


def test_relabelled_networks_have_the_same_loss() -> None:
    weights = _drawn(0, 9, 6)
    before = brute_force_loss(weights)
    for unit, exchanged in product(units(9), (False, True)):
        moved = relabelled(weights, Relabelling(unit, 2, 7, exchanged))
        assert not np.allclose(moved, weights)
        assert brute_force_loss(moved) == pytest.approx(before, rel=1e-12)
    assert brute_force_loss(relabelled(weights, Relabelling(3, 0, 0))) != pytest.approx(before, rel=1e-3)


def test_nodes_find_their_partners() -> None:
    weights = _drawn(1, 7, 12)
    found = match_nodes(weights, _shuffled(weights, 2))
    np.testing.assert_allclose(found.weights, weights)
    assert found.similarity == pytest.approx(np.sum(weights**2))


@pytest.mark.parametrize("change", [Relabelling(3, 2, 5, True), Relabelling(6, 0, 4), Relabelling()])
def test_a_disguised_network_is_recognized(change: Relabelling) -> None:
    weights = _drawn(3, 7, 8)
    disguised = relabelled(_shuffled(weights, 4), change)
    np.testing.assert_allclose(match_all(weights, disguised).weights, weights, atol=1e-12)


def test_the_match_is_the_best_of_all() -> None:
    first, second = _drawn(5, 5, 3), _drawn(6, 5, 3)
    changes = [Relabelling(*each) for each in product(units(5), range(5), range(5), (False, True))]
    best = -np.inf
    for change in changes:
        moved = relabelled(second, change)
        for nodes in permutations(range(3)):
            products = (first * moved[:, :, nodes]).sum(axis=1)
            best = max(best, float((np.abs(products[0] + products[1]) + products[2]).sum()))
    found = match_all(first, second)
    assert found.similarity == pytest.approx(best, rel=1e-12)
    assert found.similarity == pytest.approx(np.sum(first * found.weights), rel=1e-12)


def test_training_is_torchs_adam_with_a_late_fall_of_the_lr() -> None:
    steps, decay, streams = 20, 1e-2, streams_of(3)
    task = ModularAddition(modulus=5, width=4)
    params = {name: value.requires_grad_() for name, value in task.init(streams)[0].items()}
    batch = task.batch(torch.arange(25), streams)
    optimizer = torch.optim.Adam(params.values(), weight_decay=decay)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.005 if step == steps - 1 else 0.01  # two steps fall: 2/2 and 1/2
        optimizer.zero_grad()
        torch.autograd.backward(task.loss(params, {}, batch, None, Taps()).loss)
        optimizer.step()
    found = trained(5, 4, streams, steps=steps, weight_decay=decay)
    expected = np.stack([value.detach().numpy() for value in params.values()])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
