from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from gradlaw.engine.streams import User, streams_for
from gradlaw.random import STREAMS, Streams, philox4x32, streams_of
from gradlaw.random_host import HostStreams

# Known-answer vectors of Random123 (kat_vectors of its examples), philox4x32 with 10 rounds
KNOWN = [
    ("00000000 00000000 00000000 00000000 00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _words(text: str) -> list[torch.Tensor]:
    return [torch.tensor(int(word, 16)) for word in text.split()]


@pytest.mark.parametrize(("given", "expected"), KNOWN)
def test_known_answers(given: str, expected: str) -> None:
    c0, c1, c2, c3, k0, k1 = _words(given)
    assert [int(word) for word in philox4x32((c0, c1, c2, c3), (k0, k1))] == [
        int(word) for word in _words(expected)
    ]


def _pair(seed: int, step: int, part: int) -> tuple[Streams, HostStreams]:
    return Streams(torch.tensor(seed), torch.tensor(step), part), HostStreams(seed, step, part)


@pytest.mark.parametrize("stream", list(STREAMS))
@pytest.mark.parametrize(("seed", "step", "part"), [(0, 0, 0), (7, 3, 2), (2**32 - 1, 2**31 + 1, 1009)])
def test_host_and_torch_are_equal_to_the_last_bit(stream: str, seed: int, step: int, part: int) -> None:
    ours, host = _pair(seed, step, part)
    assert np.array_equal(ours.words(stream, 1001).numpy(), host.words(stream, 1001).astype(np.int64))
    assert np.array_equal(ours.uniform(stream, (7, 11)).numpy(), host.uniform(stream, (7, 11)))
    assert np.array_equal(ours.integers(stream, 37, (99,)).numpy(), host.integers(stream, 37, (99,)))
    # the uniforms are equal; libraries' logarithms and cosines differ in the last bits
    np.testing.assert_allclose(ours.normal(stream, (50,)).numpy(), host.normal(stream, (50,)), rtol=1e-13)


def test_a_trial_draws_the_same_alone_and_under_vmap() -> None:
    seeds = torch.tensor([3, 1, 2**32 - 1, 3])

    def draw(seed: torch.Tensor) -> tuple[torch.Tensor, ...]:
        streams = Streams(seed, torch.tensor(5), part=2, user=4)
        return (
            streams.normal("noise", (13,)),
            streams.integers("order", 50, (9,)),
            streams.permutation("split", 30),
        )

    packed = torch.vmap(draw)(seeds)
    for index, seed in enumerate(seeds):
        for alone, batched in zip(draw(seed), packed, strict=True):
            assert torch.equal(alone, batched[index])


def test_every_part_of_the_key_matters() -> None:
    base = Streams(torch.tensor(1), torch.tensor(1), part=1, user=1)
    others = [
        base.words("split", 64),
        base.words("init", 64),
        base.words("order", 64),
        base.words("noise", 64),
        base.at(part=2).words("init", 64),
        base.at(step=torch.tensor(2)).words("init", 64),
        Streams(torch.tensor(2), torch.tensor(1), part=1, user=1).words("init", 64),
        *[streams_for(base, user).words("init", 64) for user in User if user != User.ORDER],
        streams_for(base, User.BATCH, draw=1).words("init", 64),
    ]
    assert len({tuple(words.tolist()) for words in others}) == len(others)
    # not shifted copies of one another either
    assert len(set(torch.cat(others).tolist())) == 64 * len(others)


def test_users_and_draws_never_meet() -> None:
    drawn = [streams_for(streams_of(0), user, draw=draw).user for user in User for draw in range(5)]
    assert len(set(drawn)) == len(drawn)


def test_numbers_are_uniform_normal_and_independent() -> None:
    # across elements of one stream, and across seeds at one element: the way replicas use them
    elements = streams_of(11).uniform("noise", (20000,)).numpy()
    seeds = torch.vmap(lambda seed: Streams(seed, torch.tensor(0)).uniform("init", (2,)))(torch.arange(20000))
    for sample in (elements, seeds[:, 0].numpy()):
        assert stats.kstest(sample, "uniform").pvalue > 1e-3
        assert abs(stats.spearmanr(sample[:-1], sample[1:]).statistic) < 4 / np.sqrt(len(sample))
    assert abs(stats.spearmanr(seeds[:, 0], seeds[:, 1]).statistic) < 4 / np.sqrt(len(seeds))
    assert stats.kstest(streams_of(12).normal("noise", (20000,)).numpy(), "norm").pvalue > 1e-3


def test_integers_and_permutations() -> None:
    drawn = streams_of(4).integers("order", 7, (70000,))
    assert stats.chisquare(torch.bincount(drawn, minlength=7).numpy()).pvalue > 1e-3
    shuffled = torch.vmap(lambda seed: Streams(seed, torch.tensor(0)).permutation("order", 3))(
        torch.arange(6000)
    )
    assert torch.equal(shuffled.sort(dim=1).values, torch.arange(3).expand(6000, 3))
    codes = shuffled @ torch.tensor([9, 3, 1])
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_no_draw_touches_the_global_generator() -> None:
    before = torch.get_rng_state()
    streams_of(1).normal("init", (10,))
    assert torch.equal(before, torch.get_rng_state())
