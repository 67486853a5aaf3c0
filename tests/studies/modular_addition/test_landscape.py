"""Training from constructions, and the measurements of the landscape with the rows they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gradlaw.errors import ConfigurationError
from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra.fourier import spectrum
from gradlaw_studies.modular_addition.landscape.measurements import Barrier, ConnectingPath, HessianNullity
from gradlaw_studies.modular_addition.landscape.solutions import (
    CONSTRUCTIONS,
    num_nodes,
    order_six_nullity,
)
from gradlaw_studies.modular_addition.landscape.tables import (
    BARRIER,
    CONNECTING_PATH,
    HESSIAN_NULLITY,
)
from gradlaw_studies.modular_addition.tasks import Constructed


def _loss(task: ModularAddition, seed: int) -> tuple[float, float]:
    """Loss and accuracy on all pairs at the start."""
    streams = streams_of(seed)
    params, buffers = task.init(streams)
    batch = task.batch(torch.arange(task.modulus**2), streams)
    found = task.loss(params, buffers, batch, None, Taps())
    return float(found.loss), float(task.scores(found.outputs, batch)["accuracy"])


@pytest.mark.parametrize("block", ["nu*syn", "nu_i*syn_ab"])
@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize("modulus", [5, 9, 11])
def test_training_starts_at_a_solution(modulus: int, construction: str, block: str) -> None:
    width = num_nodes(construction, modulus) + 3
    task = Constructed(modulus=modulus, width=width, construction=construction, block=block)
    loss, accuracy = _loss(task, 1)
    assert loss < 1e-20
    assert accuracy == 1.0
    params, _ = task.init(streams_of(1))
    for values in params.values():
        assert values.shape == (modulus, width)
        assert values.dtype == torch.float64
        assert not values[:, -3:].any()
        assert values[:, :-3].any(dim=0).all()


def test_phases_are_the_seeds_own() -> None:
    task = Constructed(modulus=7, width=18)
    first, again, other = (task.init(streams_of(seed))[0]["W_a"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    moduli = [np.abs(spectrum(_stacked(task, seed))) for seed in (1, 2)]
    np.testing.assert_allclose(moduli[0], moduli[1], atol=1e-12)  # phases are all that differs


def _stacked(task: Constructed, seed: int) -> Any:
    return np.stack([values.numpy() for values in task.init(streams_of(seed))[0].values()])


def test_noise_has_the_size_asked_for_and_wakes_padded_nodes() -> None:
    clean = _stacked(Constructed(modulus=11, width=60), 3)
    noise = _stacked(Constructed(modulus=11, width=60, start_noise=0.1), 3) - clean
    own = np.sqrt(np.mean(clean[:, :, :30] ** 2))
    assert np.std(noise) == pytest.approx(0.1 * own, rel=0.05)
    assert np.all(np.any(noise[:, :, 30:], axis=1))
    assert _loss(Constructed(modulus=11, width=60, start_noise=0.1), 3)[0] > 1e-4


def test_the_random_start_is_the_ordinary_one() -> None:
    control, ordinary = Constructed(modulus=7, width=5, construction="random"), ModularAddition
    params = ordinary(modulus=7, width=5).init(streams_of(4))[0]
    for name, values in control.init(streams_of(4))[0].items():
        assert torch.equal(values, params[name])
    assert _loss(control, 4)[0] > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modulus": 8, "width": 99}, r"modulus: got 8, allowed odd numbers >= 5"),
        ({"modulus": 3, "width": 99}, r"modulus: got 3, allowed odd numbers >= 5"),
        ({"modulus": 7, "width": 17}, r"width: got 17, allowed >= 18 \(order_6 at modulus 7\)"),
        ({"modulus": 7, "width": 13, "construction": "order_4_6"}, r"width: got 13, allowed >= 14"),
        ({"modulus": 7, "width": 12, "construction": "order_4_constant"}, r"width: got 12, allowed >= 13"),
        ({"modulus": 7, "width": 48, "construction": "memorising"}, r"width: got 48, allowed >= 49"),
        ({"modulus": 6, "width": 5}, r"2 faults:\n.*modulus: got 6.*\n.*width: got 5, allowed >= 15"),
        ({"modulus": 7, "construction": "order_5"}, r"construction: got 'order_5', allowed one of 'order_6'"),
        ({"modulus": 7, "start_noise": -1.0}, r"start_noise: got -1, allowed >= 0"),
    ],
)
def test_impossible_starts_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Constructed(**settings)


def _nullity(seed: int = 1, **settings: Any) -> dict[str, Any]:
    values = {item.name: item.default for item in HessianNullity.hyperparameters} | settings
    rows = HessianNullity().measure(values, seed)[HESSIAN_NULLITY.name]
    assert set(rows) == {column.name for column in HESSIAN_NULLITY.columns}
    return {name: values[0] for name, values in rows.items()}


@pytest.mark.parametrize("block", ["nu*syn", "nu_i*syn_ab"])
@pytest.mark.parametrize("construction", CONSTRUCTIONS)
def test_known_directions_are_free_and_so_are_others(construction: str, block: str) -> None:
    found = _nullity(construction=construction, block=block)
    assert found["loss"] < 1e-20
    assert found["gap"] > 1e6
    assert found["nullity"] > found["predicted"]
    assert found["num_parameters"] == 15 * found["width"]
    if construction == "order_6":
        assert found["nullity"] == found["counted"]
        assert found["norm_flat"] == found["free_phases"]
        assert found["norm_down"] == 0
    elif construction == "order_4_6":
        assert found["norm_slope"] > 0.1
        assert found["norm_flat"] is None


@pytest.mark.parametrize(("modulus", "block"), [(7, "nu*syn"), (7, "nu_i*syn_ab"), (9, "nu*syn")])
def test_the_count_of_conditions_is_the_nullity(modulus: int, block: str) -> None:
    found = _nullity(modulus=modulus, block=block, padding=1)
    assert found["nullity"] == found["counted"] == order_six_nullity(block, modulus) + 3 * modulus
    assert found["norm_slope"] < 1e-9


@pytest.mark.parametrize("measurement", [HessianNullity, ConnectingPath, Barrier])
def test_what_no_construction_allows_is_refused(
    measurement: type[HessianNullity | ConnectingPath | Barrier],
) -> None:
    with pytest.raises(ConfigurationError, match="modulus: got 6, allowed odd numbers >= 5"):
        measurement(modulus=6)


def test_padding_adds_what_is_predicted() -> None:
    alone, beside = _nullity(), _nullity(padding=2)
    assert beside["padded"] == 30
    assert beside["nullity"] - alone["nullity"] == beside["predicted"] - alone["predicted"] == 30


def test_balance_flattens_the_slope() -> None:
    rough = _nullity(construction="order_4_6")
    smooth = _nullity(construction="order_4_6", balance=True)
    assert smooth["loss"] < 1e-20
    assert 0 < smooth["norm_slope"] < rough["norm_slope"]


def test_paths_between_constructions() -> None:
    rows = ConnectingPath().measure({"modulus": 7}, 1)[CONNECTING_PATH.name]
    assert set(rows) == {column.name for column in CONNECTING_PATH.columns}
    paths = np.array(rows["path"])
    for path, width in (("factor", 54), ("balance", 14), ("blend", 32), ("straight", 18)):
        here = paths == path
        loss, norm2 = np.asarray(rows["loss"])[here], np.asarray(rows["norm2"])[here]
        assert np.unique(np.asarray(rows["width"])[here]).tolist() == [width]
        assert np.asarray(rows["position"])[here][[0, -1]].tolist() == [0.0, 1.0]
        assert (loss.max() < 1e-20) == (path != "straight")
        assert np.all(np.diff(norm2) < 0) == (path in ("factor", "balance"))


def test_between_trained_networks() -> None:
    values = {"modulus": 7, "width": 21, "train_steps": 600, "weight_decay": 1e-4}
    rows = Barrier().measure(values, 1)[BARRIER.name]
    assert set(rows) == {column.name for column in BARRIER.columns}
    matching = np.array(rows["matching"])
    height, distance = {}, {}
    for name in dict.fromkeys(rows["matching"]):
        here = matching == name
        loss, chord = np.asarray(rows["loss"])[here], np.asarray(rows["chord"])[here]
        assert max(loss[0], loss[-1]) < 0.05  # both have learnt; the zero predictor has 6/7
        height[name], distance[name] = float(np.max(loss - chord)), np.asarray(rows["distance"])[here][0]
    assert list(height) == ["none", "nodes", "all", "copy_none", "copy_all", "side_by_side"]
    assert height["none"] > 0.1
    assert height["copy_none"] > 0.1
    assert height["copy_all"] < 1e-9
    assert height["side_by_side"] < 1e-9
    assert distance["all"] <= distance["nodes"] < distance["none"]
    assert distance["copy_all"] < 1e-6
