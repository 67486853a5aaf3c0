"""Finite sums over an optimizer's past, carried from step to step.

With a kernel b^k and a level l_s of step s, at step n (n + 1 gradients known)

    total_n  = sum_{k=0..n} b^k                                  = 1 + b total_{n-1}
    lagged_n = sum_{k=1..n} b^(k-1) sum_{s=n-k..n-1} l_s         = b lagged_{n-1} + total_{n-1} l_{n-1}

What moves l_s times one direction at step s was h sum_{s=n-k..n-1} l_s times it further back k steps ago; the
second line weighs these distances as the optimizer weighs its gradients. With positive levels only positive
numbers are added and multiplied, so that the relative error is at most some n roundings, for b near 1 too,
where the closed forms cancel. The sums are kept in float64 whatever the trial's dtype.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Sums(NamedTuple):
    """``total``, a scalar, and ``lagged``, of the level's shape, float64."""

    total: Tensor
    lagged: Tensor


def no_past(like: Tensor, levels: int | None = None) -> Sums:
    """The sums before step 0, on the device of ``like``; with ``levels`` of them, or one as a scalar."""
    zero = torch.zeros((), dtype=torch.float64, device=like.device)
    return Sums(zero, zero.clone() if levels is None else zero.repeat(levels))


def advanced(sums: Sums, decay: Tensor, level: Tensor) -> Sums:
    """The sums of step n from those of step n - 1 and that step's ``level``.

    Args:
        sums: Of step n - 1; :func:`no_past` at step 0.
        decay: b, a float64 scalar in [0, 1].
        level: l_{n-1}, float64; at step 0 any finite numbers.
    """
    return Sums(1.0 + decay * sums.total, decay * sums.lagged + sums.total * level)
