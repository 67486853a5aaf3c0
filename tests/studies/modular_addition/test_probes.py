"""The probe of solutions, on networks whose answer is known and on random ones counted by hand."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pandas as pd
import pytest
import torch

from gradlaw.errors import ConfigurationError
from gradlaw.probe import Snapshot
from gradlaw.random import streams_of
from gradlaw.tasks.digits import DigitsSoftmax
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition import probes
from gradlaw_studies.modular_addition.algebra.constructions import drawn_phases, order_four_six, order_six
from gradlaw_studies.modular_addition.probes import Solutions, before_decay


def snapshot_of(weights, *, seed=3, step=8, steps=8, **options):
    _, modulus, width = weights.shape
    task = ModularAddition(modulus=modulus, width=width, **options)
    return Snapshot(
        task=task.to(torch.device("cpu"), torch.float32),
        params={
            name: torch.tensor(value) for name, value in zip(("W_a", "W_b", "W_c"), weights, strict=True)
        },
        buffers={},
        split=task.split(streams_of(seed)),
        hyperparameters={},
        seed=seed,
        step=step,
        steps=steps,
    )


def frames_of(snapshot, probe=None):
    probe = probe or Solutions()
    found = {name: pd.DataFrame(columns) for name, columns in probe.rows(snapshot).items()}
    for table in probe.tables():
        frame = found[table.name]
        assert list(frame.columns) == [column.name for column in table.columns]
        missing = frame.columns[frame.isna().any()]
        assert set(missing) <= {column.name for column in table.columns if column.nullable}
    return found


def random_weights(modulus=7, width=10, seed=0):
    return np.random.default_rng(seed).normal(size=(3, modulus, width)) * 0.3


def brute_force(weights, rows):
    """Loss and accuracy over rows of the addition table, pair by pair."""
    modulus = weights.shape[1]
    losses, hits = [], []
    for first, second in (divmod(int(row), modulus) for row in rows):
        output = weights[2] @ (weights[0][first] + weights[1][second]) ** 2
        error = output - np.eye(modulus)[(first + second) % modulus]
        losses.append(np.sum((error - error.mean()) ** 2))
        hits.append(output.argmax() == (first + second) % modulus)
    return np.mean(losses), np.mean(hits)


def amplitude(column, frequency):
    """|z_k| of one node by its sum."""
    modulus = len(column)
    terms = [value * cmath.exp(-2j * math.pi * frequency * x / modulus) for x, value in enumerate(column)]
    return abs(sum(terms)) / modulus


def test_a_construction_is_told_as_what_it_is():
    weights = order_six(11, free=drawn_phases(11, np.random.default_rng(5)))
    frames = frames_of(snapshot_of(weights))
    frequencies = frames["frequencies"]
    assert list(frequencies["frequency"]) == [1, 2, 3, 4, 5]
    assert set(frequencies["order_absolute"]) == set(frequencies["order_relative"]) == {6}
    assert frequencies["factorable"].all()
    assert set(frequencies["kind"]) == {"nu*syn"}
    # r_kkk = 1 / (2 d) of six nodes of one amplitude
    np.testing.assert_allclose(frequencies["dominant_amplitude"], (2 * 11 * 6) ** (-1 / 3), rtol=1e-9)
    (network,) = frames["networks"].to_dict("records")
    assert (network["num_order_4"], network["num_order_6"], network["num_other_orders"]) == (0, 5, 0)
    assert network["num_live_nodes"] == 30
    assert network["top_share"] == pytest.approx(1.0, abs=1e-12)
    assert max(network[name] for name in ("train_loss", "test_loss", "loss_all", "mean_residual")) < 1e-12
    assert network["train_accuracy"] == network["test_accuracy"] == 1.0
    assert network["converged"] is True


def test_orders_four_and_six_are_counted_apart():
    frames = frames_of(snapshot_of(order_four_six(11, 2)))
    assert list(frames["frequencies"]["order_absolute"]) == [4, 6, 4, 4, 4]
    assert set(frames["frequencies"]["kind"].iloc[[0, 2, 3, 4]]) == {"nu_i*xi"}
    (network,) = frames["networks"].to_dict("records")
    assert (network["num_order_4"], network["num_order_6"], network["num_other_orders"]) == (4, 1, 0)
    assert network["converged"]


def test_a_random_network_is_measured_as_by_hand():
    weights = random_weights()
    snapshot = snapshot_of(weights, step=2, train_share=0.6)
    frames = frames_of(snapshot)
    amplitudes = np.array([[amplitude(node, k) for node in weights[0].T] for k in (1, 2, 3)])
    frequencies = frames["frequencies"]
    assert list(frequencies["order_absolute"]) == list((amplitudes > 0.05).sum(axis=1))
    np.testing.assert_allclose(frequencies["dominant_amplitude"], amplitudes.max(axis=1), rtol=1e-12)
    (network,) = frames["networks"].to_dict("records")
    assert network["step"] == 2
    assert network["weight_norm2"] == pytest.approx((weights**2).sum(), rel=1e-12)
    for name, rows in zip(("train", "test"), snapshot.split, strict=True):
        loss, accuracy = brute_force(weights, rows)
        assert network[f"{name}_loss"] == pytest.approx(loss, rel=1e-10)
        assert network[f"{name}_accuracy"] == pytest.approx(accuracy, abs=1e-12)
    assert not network["converged"]
    whole, _ = brute_force(weights, range(49))
    assert network["loss_all"] == pytest.approx(whole, rel=1e-10)
    parts = ("signal", "conjugate", "mixed", "constant", "squares")
    assert sum(network[f"loss_{name}"] for name in parts) == pytest.approx(whole, rel=1e-10)


def test_thresholds_count_what_lies_above_them():
    weights = random_weights(modulus=11, width=9, seed=4) * 0.3
    found = frames_of(snapshot_of(weights))["order_sensitivity"]
    amplitudes = np.array(
        [[[amplitude(node, k) for node in side.T] for k in range(1, 6)] for side in weights]
    )
    balanced = amplitudes.prod(axis=0) ** (1 / 3)
    assert len(found) == 12
    for row in found.to_dict("records"):
        if row["relative"]:
            orders = (balanced > row["threshold"] * balanced.max()).sum(axis=1)
        else:
            orders = (amplitudes[0] > row["threshold"]).sum(axis=1)
        four, six = (orders == 4).sum(), (orders == 6).sum()
        assert (row["num_order_4"], row["num_order_6"], row["num_other"]) == (four, six, 5 - four - six)
    assert found["num_order_4"].nunique() > 1  # the threshold matters here


def test_the_settings_are_those_it_measures_with():
    weights = random_weights(modulus=11, width=9, seed=4) * 0.3
    by_default, high = (frames_of(snapshot_of(weights), probe) for probe in (None, Solutions(threshold=0.1)))
    sensitivity = by_default["order_sensitivity"].query("not relative and threshold == 0.1")
    assert list(high["networks"]["num_order_4"]) == list(sensitivity["num_order_4"])
    assert high["frequencies"]["order_absolute"].sum() < by_default["frequencies"]["order_absolute"].sum()
    assert Solutions(threshold=0.1).digest != Solutions().digest


def test_where_no_pair_is_held_out_the_rest_decides():
    frames = frames_of(snapshot_of(order_six(5), train_share=1.0))
    (network,) = frames["networks"].to_dict("records")
    assert network["test_loss"] is None
    assert network["test_accuracy"] is None
    assert network["converged"] is True


def test_a_network_that_only_memorises_has_not_converged():
    """Right on all pairs but those of one sum that are held out: trained on 80%, it gets 100% and less."""
    weights = order_six(11)
    task = ModularAddition(modulus=11, width=30, train_share=0.8)
    split = task.split(streams_of(3))
    sums = (split.test // 11 + split.test % 11) % 11
    snapshot = snapshot_of(weights, train_share=0.8)
    spoilt = snapshot.task.table.clone()
    spoilt[split.test[sums == sums[0]], 2] = (sums[0] + 1) % 11
    snapshot.task.table = spoilt
    (network,) = frames_of(snapshot)["networks"].to_dict("records")
    wrong = int((sums == sums[0]).sum())
    assert network["train_accuracy"] == 1.0
    assert network["test_accuracy"] == pytest.approx(1 - wrong / len(split.test), abs=1e-12)
    assert network["converged"] is False


def test_shuffled_labels_are_those_of_the_trial():
    weights, labels = random_weights(), []
    snapshot = snapshot_of(weights, labels="shuffled")
    for part in snapshot.split:
        first, second, label = snapshot.task.batch(part, streams_of(3))
        outputs = ((weights[0][first] + weights[1][second]) ** 2) @ weights[2].T
        labels.append(float((outputs.argmax(axis=1) == label.numpy()).mean()))
    (network,) = frames_of(snapshot)["networks"].to_dict("records")
    assert [network["train_accuracy"], network["test_accuracy"]] == pytest.approx(labels, abs=1e-12)


def test_pairs_are_evaluated_alike_in_pieces(monkeypatch):
    snapshot = snapshot_of(random_weights())
    whole = probes.evaluated(snapshot)
    monkeypatch.setattr(probes, "_CHUNK_NUMBERS", 40)
    assert probes.evaluated(snapshot) == pytest.approx(whole, rel=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_network_that_is_not_finite_is_a_row_all_the_same():
    weights = random_weights()
    weights[1, 2, 3] = np.nan
    found = Solutions().rows(snapshot_of(weights))
    assert found["frequencies"]["dominant_amplitude"] == [None, None, None]
    assert found["networks"]["converged"] == [False]
    assert np.isnan(found["networks"]["loss_all"]).all()
    assert found["networks"]["top_share"] == [None]


def test_a_network_of_zeros_has_no_shares_and_the_loss_of_silence():
    (network,) = frames_of(snapshot_of(np.zeros((3, 7, 4))))["networks"].to_dict("records")
    assert (network["mean_residual"], network["top_share"], network["num_live_nodes"]) == (None, None, 0)
    assert network["loss_all"] == pytest.approx(1 - 1 / 7, rel=1e-12)


def test_it_measures_before_training_where_the_lr_begins_to_fall_and_at_the_end():
    assert list(Solutions().at(10_000)) == [0, 9000, 10_000]
    assert list(Solutions(steps=(500, 9000, 20_000)).at(10_000)) == [0, 500, 9000, 10_000]
    assert list(Solutions().at(5)) == [0, 4, 5]
    assert list(Solutions().at(0)) == [0]
    assert before_decay(20) == 18


def test_impossible_settings_are_named_all_at_once():
    with pytest.raises(ConfigurationError) as raised:
        Solutions(threshold=0.0, tolerance=math.nan, relative_threshold=1.0, rule="mine")  # type: ignore[arg-type]
    assert [fault.split(":")[1].strip() for fault in raised.value.faults] == [
        "threshold",
        "tolerance",
        "relative_threshold",
        "rule",
    ]


def test_what_it_cannot_measure_it_refuses_before_anything_runs():
    assert Solutions().faults(ModularAddition(modulus=23)) == []
    (even,) = Solutions().faults(ModularAddition(modulus=24))
    assert even.startswith("modulus: got 24, allowed odd numbers >= 5")
    (small,) = Solutions().faults(ModularAddition(modulus=3))
    assert small.startswith("modulus: got 3, allowed odd numbers >= 5")
    (other,) = Solutions().faults(DigitsSoftmax())
    assert other.startswith("got task digits_softmax, allowed modular_addition")
