import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from gradlaw.errors import UsageError
from gradlaw.random_host import HostStreams
from gradlaw_studies.sqrt_b.draws import draw_with_replacement, draw_without_replacement, unit_projections

STREAMS = HostStreams(3, step=150, part=1001)


def test_draws_without_replacement_repeat_no_row_and_reach_all_orders():
    found = draw_without_replacement(STREAMS, 5, 24_000, 2)
    assert found.shape == (24_000, 2)
    counts = Counter(map(tuple, found.tolist()))
    assert set(counts) == set(itertools.permutations(range(5), 2))
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_a_full_draw_without_replacement_is_a_permutation():
    found = draw_without_replacement(STREAMS, 40, 50, 40)
    assert (np.sort(found, axis=1) == np.arange(40)).all()


def test_draws_with_replacement_are_uniform_and_independent():
    found = draw_with_replacement(STREAMS, 4, 16_000, 2)
    counts = Counter(map(tuple, found.tolist()))
    assert len(counts) == 16
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_draws_are_fixed_by_seed_step_and_part_alone():
    same = draw_without_replacement(HostStreams(3, step=150, part=1001), 30, 8, 10)
    assert (same == draw_without_replacement(STREAMS, 30, 8, 10)).all()
    for other in (HostStreams(4, 150, 1001), HostStreams(3, 151, 1001), HostStreams(3, 150, 1002)):
        assert (draw_without_replacement(other, 30, 8, 10) != same).any()


def test_more_than_all_rows_cannot_be_drawn_without_replacement():
    with pytest.raises(UsageError, match="length: got 6, allowed <= num_rows = 5"):
        draw_without_replacement(STREAMS, 5, 2, 6)


def test_projections_are_unit_vectors_in_no_preferred_direction():
    found = unit_projections(STREAMS, 2000, 3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-12)
    assert np.abs(found.mean(axis=0)).max() < 4 / np.sqrt(3 * 2000)
    np.testing.assert_allclose(found.T @ found / 2000, np.eye(3) / 3, atol=0.03)
