"""Philox4x32-10: counter-based random numbers, the same on host and device, alone and in a pack.

Every number is a pure function of (seed, stream, step, element). Hyperparameters and packs are not in
the key, so trials with one seed share their split, initialization, order and noise.

Reference: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
Arithmetic is on 32-bit words held in torch int64, which neither overflows in the parts used (a product
of two words is taken as two 16-bit halves) nor depends on the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

Stream = Literal["split", "init", "order", "noise"]
STREAMS: dict[str, int] = {"split": 0, "init": 1, "order": 2, "noise": 3}

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF


def _multiply(word: Tensor, constant: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of ``word * constant``, both below 2**32.

    The 64-bit product would pass int64's sign; two half products do not.
    """
    low = word * (constant & 0xFFFF)
    high = word * (constant >> 16) + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)


def philox4x32(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, ...]:
    """Ten rounds of Philox4x32.

    Args:
        counter: Four int64 tensors of 32-bit words, of shapes that broadcast.
        key: Two int64 tensors of 32-bit words, likewise.

    Returns:
        Four int64 tensors of 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(c0, _M0)
        high1, low1 = _multiply(c2, _M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Streams:
    """The random streams of one trial at one step.

    Attributes:
        seed: Scalar int64 tensor, 0 <= seed < 2**32.
        step: Scalar int64 tensor, 0 <= step < 2**32.
        part: Numbers drawn by different users of one stream at one step have different parts, so that
            no user depends on how much another draws.
        user: Set by the engine to keep its own users apart (see :mod:`gradlaw.engine.streams`); whoever
            is handed streams leaves it and chooses parts freely.
    """

    seed: Tensor
    step: Tensor
    part: int = 0
    user: int = 0

    def at(self, *, step: Tensor | None = None, part: int | None = None) -> Streams:
        """The same trial's streams at another step or for another part."""
        return replace(
            self, step=self.step if step is None else step, part=self.part if part is None else part
        )

    def words(self, stream: Stream, count: int) -> Tensor:
        """``count`` uniform 32-bit words as int64, shape [count]."""
        blocks = torch.arange((count + 3) // 4, device=self.seed.device, dtype=torch.int64)
        zero = torch.zeros_like(blocks)
        counter = (blocks, zero + self.step, zero + self.part, zero + self.user)
        key = (zero + self.seed, zero + STREAMS[stream])
        return torch.stack(philox4x32(counter, key), dim=-1).reshape(-1)[:count]

    def uniform(self, stream: Stream, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
        """Uniform numbers in (0, 1), of the given shape.

        Each is (word + 1/2) / 2**32 in float64, rounded to ``dtype``; in float32 the result may be 1.
        """
        words = self.words(stream, math.prod(shape))
        return ((words.to(torch.float64) + 0.5) * 2.0**-32).to(dtype).reshape(shape)

    def normal(self, stream: Stream, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
        """Standard normal numbers of the given shape, by Box and Muller's transform in float64."""
        count = math.prod(shape)
        pairs = self.uniform(stream, ((count + 1) // 2, 2))
        radius = torch.sqrt(-2.0 * torch.log(pairs[:, 0]))
        angle = 2.0 * math.pi * pairs[:, 1]
        both = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
        return both.reshape(-1)[:count].to(dtype).reshape(shape)

    def integers(self, stream: Stream, high: int, shape: tuple[int, ...]) -> Tensor:
        """Integers in [0, high), of the given shape; the bias is below high / 2**32."""
        return ((self.words(stream, math.prod(shape)) * high) >> 32).reshape(shape)

    def permutation(self, stream: Stream, count: int) -> Tensor:
        """A permutation of 0 .. count-1, shape [count], from 62-bit sort keys (ties are negligible)."""
        words = self.words(stream, 2 * count).reshape(count, 2)
        return torch.argsort(((words[:, 0] & 0x3FFFFFFF) << 32) | words[:, 1])


@dataclass(frozen=True)
class _HostStreams(Streams):
    """Streams whose seed and step are known here: numpy draws the same words several times as fast."""

    def at(self, *, step: Tensor | None = None, part: int | None = None) -> Streams:
        if step is None:
            return super().at(part=part)
        return Streams(self.seed, step, self.part if part is None else part, self.user)

    def words(self, stream: Stream, count: int) -> Tensor:
        from gradlaw.random_host import philox_blocks

        if any(map(is_functorch_wrapped_tensor, (self.seed, self.step))):
            return super().words(stream, count)  # under vmap they are no single numbers
        counter = (int(self.step), self.part, self.user)
        blocks = philox_blocks(0, (count + 3) // 4, counter, (int(self.seed), STREAMS[stream]))
        return torch.from_numpy(blocks.reshape(-1)[:count].astype("int64"))


def streams_of(seed: int, *, device: str | torch.device = "cpu") -> Streams:
    """The streams of one trial at step 0, on a device."""
    kind = _HostStreams if torch.device(device).type == "cpu" else Streams
    return kind(torch.tensor(seed, device=device), torch.tensor(0, device=device))
