"""The numbers of :mod:`gradlaw.random` in numpy, for measurements that draw millions on the host.

Same generator, same key, same counter: equal to the torch version to the last bit (tested), and about
ten times as fast as eager torch, since numpy has unsigned 64-bit products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradlaw.random import STREAMS, Stream

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_CHUNK = 1 << 12  # blocks worked on at once, so that they stay in the cache


def philox_blocks(
    first: int, count: int, counter: tuple[int, int, int], key: tuple[int, int]
) -> NDArray[np.uint64]:
    """Blocks ``first`` .. ``first + count - 1`` of (step, part, user) as words of shape [count, 4]."""
    c0 = np.arange(first, first + count, dtype=np.uint64)
    c1, c2, c3 = (np.full_like(c0, word) for word in counter)
    k0, k1 = key
    for _ in range(10):
        product0, product1 = c0 * _M0, c2 * _M1
        c0 = (product1 >> _HALF) ^ c1 ^ np.uint64(k0)
        c2 = (product0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = product1 & _MASK, product0 & _MASK
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3), axis=-1)


@dataclass(frozen=True)
class HostStreams:
    """The random streams of one trial at one step, drawn by numpy; see :class:`gradlaw.random.Streams`."""

    seed: int
    step: int = 0
    part: int = 0

    def words(self, stream: Stream, count: int, *, first: int = 0) -> NDArray[np.uint64]:
        """``count`` uniform 32-bit words, shape [count], from element ``first`` (a multiple of 4) on."""
        blocks = (count + 3) // 4
        out = np.empty((blocks, 4), dtype=np.uint64)
        for start in range(0, blocks, _CHUNK):
            size = min(_CHUNK, blocks - start)
            key = (self.seed, STREAMS[stream])
            counter = (self.step, self.part, 0)
            out[start : start + size] = philox_blocks(first // 4 + start, size, counter, key)
        return out.reshape(-1)[:count]

    def integers(self, stream: Stream, high: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Integers in [0, high), of the given shape."""
        words = self.words(stream, int(np.prod(shape)))
        return ((words * np.uint64(high)) >> _HALF).astype(np.int64).reshape(shape)

    def uniform(self, stream: Stream, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Uniform float64 numbers in (0, 1), of the given shape."""
        words = self.words(stream, int(np.prod(shape)))
        return ((words.astype(np.float64) + 0.5) * 2.0**-32).reshape(shape)

    def normal(self, stream: Stream, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Standard normal float64 numbers of the given shape, by Box and Muller's transform."""
        count = int(np.prod(shape))
        pairs = self.uniform(stream, ((count + 1) // 2, 2))
        radius, angle = np.sqrt(-2.0 * np.log(pairs[:, 0])), 2.0 * np.pi * pairs[:, 1]
        both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
        return both.reshape(-1)[:count].reshape(shape)

    def permutations(self, stream: Stream, count: int, num: int) -> NDArray[np.int64]:
        """``num`` independent permutations of 0 .. count-1, shape [num, count].

        Sort keys have 32 bits; a tie (chance count**2 / 2**33 a row) leaves two items in ascending order.
        """
        keys = self.words(stream, num * count).reshape(num, count).astype(np.uint32)
        return np.argsort(keys, axis=1, kind="stable")
