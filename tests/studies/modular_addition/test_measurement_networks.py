"""Orders by hand, controls that are no constructions, trained networks, bad input."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch

from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.random import streams_of
from gradlaw.task import Taps
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra.constructions import memorising, order_four_six, order_six
from gradlaw_studies.modular_addition.measurement.kinds import OTHER
from gradlaw_studies.modular_addition.measurement.networks import describe_networks
from gradlaw_studies.modular_addition.measurement.orders import measure_networks


def uniform(rng, num, modulus, width, scale=1.0):
    """Networks as the task initializes them, times a scale."""
    bounds = np.array([modulus, modulus, width])[:, None, None] ** -0.5
    return scale * bounds * rng.uniform(-1, 1, (num, 3, modulus, width))


# Orders


def wave(values, k):
    return sum(value * cmath.exp(-2j * cmath.pi * k * x / 7) for x, value in enumerate(values)) / 7


@pytest.mark.parametrize("threshold", [0.02, 0.05, 0.1])
def test_orders_are_counts_of_a_plain_fourier_sum(threshold):
    given = uniform(np.random.default_rng(1), 2, 7, 9, scale=2.0)
    found = measure_networks(given, threshold=threshold, relative_threshold=threshold * 5)
    for network, (a, b, c) in enumerate(given):
        z = [[[abs(wave(w[:, j], k)) for w in (a, b, c)] for j in range(9)] for k in (1, 2, 3)]
        means = [[(p * q * r) ** (1 / 3) for p, q, r in row] for row in z]
        most = max(map(max, means))
        for k in range(3):
            assert found.order_absolute[network, k] == sum(node[0] > threshold for node in z[k])
            assert found.order_relative[network, k] == sum(mean > threshold * 5 * most for mean in means[k])
            assert found.dominant_amplitude[network, k] == pytest.approx(max(node[0] for node in z[k]))


def test_a_node_belongs_to_its_largest_frequency_alone():
    given = order_six(11)[None]
    shared = given.copy()
    shared[:, 0, :, 0] += 0.9 * given[:, 0, :, 12]  # node 0, of frequency 1, also holds some of frequency 3
    found = measure_networks(shared)
    assert found.order_absolute.tolist() == [[6, 6, 7, 6, 6]]
    assert found.factorable.all()
    np.testing.assert_allclose(found.residual, measure_networks(given).residual, atol=1e-6)
    constant = given.copy()
    constant[:, 0, :, 0] += 1.0  # and now it is a constant most of all, as no frequency 1 .. n is
    assert np.isnan(measure_networks(constant).residual).tolist() == [[True, False, False, False, False]]


def test_the_absolute_order_depends_on_scale_and_the_relative_does_not():
    given = order_four_six(127)[None]
    for scale in (0.4, 1.0):
        found = measure_networks(given * scale)
        assert found.order_relative[0].tolist() == [6] + [4] * 62
        assert found.order_absolute[0].tolist() == ([0] * 63 if scale == 0.4 else [6] + [4] * 62)


# Controls


@pytest.mark.parametrize("scale", [0.3, 1.0, 30.0])
@pytest.mark.parametrize(("modulus", "width"), [(5, 12), (23, 48), (23, 512), (127, 256), (127, 512)])
@pytest.mark.parametrize("rule", ["theory", "published"])
def test_random_weights_are_no_constructions(modulus, width, scale, rule):
    given = uniform(np.random.default_rng(modulus + width), 8, modulus, width, scale)
    found = measure_networks(given, rule=rule)
    assert (found.kind == OTHER).all()
    assert describe_networks(given).top_share.max() < (0.9 if modulus == 5 else 0.4)


def test_few_random_sets_of_the_right_size_are_products():
    given = uniform(np.random.default_rng(4), 60, 127, 300, scale=30.0)  # 4.7 nodes to a frequency
    found = measure_networks(given)
    sized = np.isfinite(found.residual)
    assert sized.sum() > 500  # so the test can fail
    assert found.factorable[sized].mean() < 0.01
    assert (found.kind == OTHER).all()


@pytest.mark.parametrize("modulus", [5, 11, 23])
def test_a_memorising_network_is_a_lookup(modulus):
    given = memorising(modulus)[None]
    found, whole = measure_networks(given, threshold=1e-3), describe_networks(given)
    assert (found.order_absolute == modulus**2).all()
    assert (found.order_relative == modulus**2).all()
    assert (found.kind == OTHER).all()
    assert whole.top_share[0] == pytest.approx(2 / (modulus - 1))


def trained(labels, steps=1000):
    """Two networks of width 64 at d = 13, trained by Adam with coupled weight decay; the lr falls late."""
    task = ModularAddition(modulus=13, width=64, labels=labels)
    found = []
    for seed in (0, 1):
        streams = streams_of(seed)
        drawn, buffers = task.init(streams)
        params = {name: value.clone().requires_grad_() for name, value in drawn.items()}
        batch = task.batch(task.split(streams).train, streams)
        optimizer = torch.optim.Adam(params.values(), lr=0.01, weight_decay=5e-4)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 0.01 * min(1.0, 5 * (1 - step / steps))
            optimizer.zero_grad()
            task.loss(params, buffers, batch, None, Taps(train=True)).loss.backward()
            optimizer.step()
        found.append(np.stack([params[name].detach().numpy() for name in ("W_a", "W_b", "W_c")]))
    return np.stack(found)


def test_trained_networks_hold_constructions_and_those_of_shuffled_labels_none():
    taught, shuffled = trained("sum"), trained("shuffled")
    found = measure_networks(taught)  # 12 frequencies: 11 of order 4 or 6, 7 constructions
    assert np.isin(found.order_absolute, (4, 6)).mean() > 0.6
    assert (found.kind != OTHER).mean() > 0.3
    assert describe_networks(taught).top_share.min() > 0.9
    assert (measure_networks(shuffled).kind == OTHER).all()
    assert describe_networks(shuffled).top_share.max() < 0.5


# Networks as a whole


def test_norm_means_and_live_nodes():
    given = order_four_six(23)[None]
    given = np.pad(given, [(0, 0)] * 3 + [(0, 14)])
    given[0, 1, :, 3] += 0.01
    found = describe_networks(given)
    assert found.norm2[0] == pytest.approx((given**2).sum())
    rms = np.sqrt((given[0, :2] ** 2).mean(axis=1)).max()
    assert found.mean_residual[0] == pytest.approx(0.01 / rms)
    assert found.num_live_nodes[0] == 46
    assert describe_networks(given, threshold=0.17).num_live_nodes[0] == 40  # order six is smaller
    assert describe_networks(given * 5).mean_residual[0] == pytest.approx(found.mean_residual[0])


def test_top_share_is_all_of_pure_waves_and_less_with_constants_to_carry():
    assert describe_networks(order_six(23)[None]).top_share[0] == pytest.approx(1.0)
    given = order_four_six(23)
    carried = sum(
        (np.abs(np.fft.fft(given[2, :, j])) ** 2)[[k for k in range(23) if k not in (1, 22)]].sum() / 23
        for j in range(6)  # the carriers, at frequency 1
    )
    expected = 1 - carried / (given**2).sum()
    assert describe_networks(given[None]).top_share[0] == pytest.approx(expected)


# Bad input


def test_a_network_that_is_not_finite_is_no_construction_and_spares_the_others():
    good = order_six(11)
    bad = good.copy()
    bad[0, 0, 0] = np.nan
    found, whole = measure_networks(np.stack((bad, good))), describe_networks(np.stack((bad, good)))
    assert found.order_absolute.tolist() == [[0] * 5, [6] * 5]
    assert found.factorable.tolist() == [[False] * 5, [True] * 5]
    assert np.isnan(found.dominant_amplitude[0]).all()
    assert np.isnan(whole.norm2).tolist() == [True, False]


@pytest.mark.parametrize("zero", [(0,), (1,), (2,), (0, 1, 2)])
def test_nodes_with_a_row_of_zeros_have_no_factors(zero):
    given = order_six(11)
    for row in zero:
        given[row, :, :3] = 0.0
    found = measure_networks(given[None], rule="theory")
    assert found.kind[0, 0] == OTHER
    assert not found.factorable[0, 0]
    assert found.factorable[0, 1:].all()


def test_zero_weights_and_no_networks():
    found, whole = measure_networks(np.zeros((1, 3, 7, 4))), describe_networks(np.zeros((1, 3, 7, 4)))
    assert found.order_relative.tolist() == found.order_absolute.tolist() == [[0, 0, 0]]
    assert whole.norm2[0] == 0.0
    assert math.isnan(whole.top_share[0])
    assert measure_networks(np.zeros((0, 3, 7, 4))).kind.shape == (0, 3)
    assert describe_networks(np.zeros((0, 3, 7, 4))).norm2.shape == (0,)
    assert measure_networks(np.zeros((1, 3, 7, 0))).order_absolute.tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("measure", [measure_networks, describe_networks])
def test_shapes_that_are_no_networks_are_refused(measure):
    for shape in ((3, 7, 4), (1, 2, 7, 4)):
        with pytest.raises(UsageError, match="allowed \\[networks, 3, modulus, width\\]"):
            measure(np.zeros(shape))
    for modulus in (4, 3):
        with pytest.raises(ConfigurationError, match=f"modulus: got {modulus}"):
            measure(np.zeros((1, 3, modulus, 4)))


def test_settings_out_of_range_are_named_together():
    with pytest.raises(ConfigurationError) as caught:
        measure_networks(
            np.zeros((1, 3, 7, 4)), threshold=0.0, tolerance=math.nan, relative_threshold=1.0, rule="best"
        )
    names = [fault.partition(":")[0] for fault in caught.value.faults]
    assert names == ["threshold", "tolerance", "relative_threshold", "rule"]
