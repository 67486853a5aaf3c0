"""The noise term: its weights, its gradient, and the paths, against sums and enumerations written out."""

from itertools import product

import numpy as np
import pytest

from gradlaw_studies.memory_identity import noise
from gradlaw_studies.memory_identity.measurements import CorrectionLimit, NoiseShare
from gradlaw_studies.memory_identity.noise import (
    Descent,
    LeastSquares,
    digits_least_squares,
    full_batch_end,
    full_batch_weight,
    mean_ends,
    noise_weight,
)

SMALL = LeastSquares(np.array([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]]), np.array([0.7, -0.4, 0.9]))
START = np.array([0.6, -1.2])
B = 0.7


def sample_gradient(row, theta):
    return SMALL.x[row] * (SMALL.x[row] @ theta - SMALL.y[row])


@pytest.mark.parametrize("n", [0, 1, 2, 5, 40])
def test_weights_are_the_double_sums(n):
    levels = [sum(B**j for j in range(s + 1)) for s in range(n + 1)]
    full = sum(B**k * sum(levels[n - k : n]) for k in range(1, n + 1))
    assert full_batch_weight(B, n) == pytest.approx(full)
    # of a pair of batches i = n - k and l = s - j, those with i = l
    pairs = sum(
        B**k * B**j for k in range(1, n + 1) for s in range(n - k, n) for j in range(s + 1) if s - j == n - k
    )
    assert noise_weight(B, n) == pytest.approx(pairs)


def test_weights_tend_to_their_limits():
    assert full_batch_weight(B, 400) == pytest.approx(B / (1 - B) ** 3)
    assert noise_weight(B, 400) == pytest.approx(B / ((1 - B) ** 2 * (1 + B)))
    ratio = noise_weight(B, 400) / full_batch_weight(B, 400)
    assert ratio == pytest.approx((1 - B) / (1 + B))  # what the claim's wrong constant is off by


@pytest.mark.parametrize("size", [1, 2])
def test_the_noise_s_gradient_is_that_of_its_variance_over_all_batches(size):
    def variance(theta):
        whole = SMALL.gradient(theta)
        batches = product(range(3), repeat=size)
        means = [np.mean([sample_gradient(row, theta) for row in batch], axis=0) for batch in batches]
        return np.mean([np.sum((mean - whole) ** 2) for mean in means])

    eye = 1e-5 * np.eye(2)
    slope = [(variance(START + step) - variance(START - step)) / 2e-5 for step in eye]
    assert SMALL.half_noise_gradient(START, size) == pytest.approx(np.array(slope) / 2, rel=1e-6)


class AllBatches:
    """In the place of streams: every sequence of ``steps`` rows once, as the paths."""

    def integers(self, stream, high, shape):
        assert (stream, high, shape[1:]) == ("order", 3, (3 ** shape[0], 1))
        return np.array(list(product(range(3), repeat=shape[0]))).T[:, :, None]


def by_hand(rows, lr, share):
    """Ends of heavy ball and of its memoryless twin on one sequence of batches of one row."""
    memory, twin, past = START, START, []
    for n, _ in enumerate(rows):
        past.append(memory)
        memory = memory - lr * sum(B**k * sample_gradient(rows[n - k], past[n - k]) for k in range(n + 1))
        velocity = sum(B**k * sample_gradient(rows[n - k], twin) for k in range(n + 1))
        correction = full_batch_weight(B, n) * SMALL.hessian @ SMALL.gradient(twin)
        correction = correction + share * noise_weight(B, n) * SMALL.half_noise_gradient(twin, 1)
        twin = twin - lr * (velocity + lr * correction)
    return memory, twin


def test_paths_over_all_batches_are_those_by_hand_and_heavy_ball_s_mean_is_the_full_batch_s():
    steps, lr = 5, 0.2
    descent = Descent(lr=lr, momentum=B, batch_size=1, steps=steps)
    ends = noise._ends(SMALL, descent, np.tile(START, (3**steps, 1)), AllBatches())
    for number in (0, 7, 100, 3**steps - 1):
        rows = np.unravel_index(number, (3,) * steps)
        for share, twin in ((0.0, ends.twin), (1.0, ends.noise_twin)):
            memory, expected = by_hand(rows, lr, share)
            assert ends.memory[number] == pytest.approx(memory, rel=1e-12)
            assert twin[number] == pytest.approx(expected, rel=1e-12)
    assert ends.memory.mean(axis=0) == pytest.approx(full_batch_end(SMALL, descent, START), rel=1e-12)


def test_the_noise_term_is_the_drift_over_all_batches_to_first_order():
    """Exact means, no sampling: the share tends to 1 in proportion to the lr, the number of steps fixed."""
    shares = []
    for lr in (2e-3, 2e-4):
        descent = Descent(lr=lr, momentum=B, batch_size=1, steps=5)
        ends = noise._ends(SMALL, descent, np.tile(START, (3**5, 1)), AllBatches())
        memory, twin, corrected = (end.mean(axis=0) for end in ends)
        moved = corrected - twin
        shares.append((memory - twin) @ moved / (moved @ moved))
    assert shares[1] == pytest.approx(1.0, abs=0.01)
    assert (shares[0] - 1) / (shares[1] - 1) == pytest.approx(10.0, rel=0.1)


def test_chunks_of_paths_have_batches_of_their_own(monkeypatch):
    descent, problem = Descent(lr=0.05, momentum=B, batch_size=2, steps=4), digits_least_squares()
    start = np.zeros(16)
    monkeypatch.setattr(noise, "_CHUNK", 8)
    two, one = (mean_ends(problem, descent, start, num, 3) for num in (16, 8))
    assert not np.allclose(two.memory, one.memory)
    again = mean_ends(problem, descent, start, 16, 3)
    assert np.array_equal(two.memory, again.memory)


def test_digits_are_scaled_and_centred():
    problem = digits_least_squares()
    assert problem.x.shape == (1797, 16)
    assert np.trace(problem.hessian) == pytest.approx(1.0)
    assert problem.y.mean() == pytest.approx(0.0, abs=1e-12)


def test_the_measurement_finds_the_share_on_digits():
    values = {"lr": 0.05, "momentum": 0.5, "batch_size": 1, "horizon": 4.0, "num_paths": 256}
    rows = NoiseShare().measure(values, 0)["noise_share"]
    assert list(rows["compared"]) == ["past_batches", "full_batch"]
    assert 0.7 < rows["share"][0] < 1.1
    assert rows["moved"][0] > 0


def test_adamw_s_correction_tends_to_lion_s_at_equal_betas_only():
    values = {"beta1": 0.5, "beta2": 0.5, "eps": 1e-4, "weight_decay": 0.1, "doublings": 7}
    rows = CorrectionLimit().measure(values, 0)["correction_limit"]
    assert list(rows["n"]) == [1, 2, 4, 8, 16, 32, 64, 128]
    assert rows["difference"][-1] < 1e-12 * rows["adamw_max"][-1]
    assert rows["difference"][0] > 0.1 * rows["adamw_max"][0]
    apart = CorrectionLimit().measure({**values, "beta2": 0.6}, 0)["correction_limit"]
    assert apart["difference"][-1] > 0.1 * apart["adamw_max"][-1]
