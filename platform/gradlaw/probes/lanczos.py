"""Largest eigenvalue of a symmetric operator by Lanczos iteration, without a look at any value.

    beta_j v_{j+1} = A v_j - alpha_j v_j - beta_{j-1} v_{j-1},   alpha_j = v_j' A v_j,   j = 1 .. k
    T = the symmetric tridiagonal matrix of alpha_1 .. alpha_k and beta_1 .. beta_{k-1}

The largest eigenvalue theta of T, with unit eigenvector s, approaches that of A from below, and there is an
eigenvalue of A within ||A y - theta y|| = beta_k |s_k| of it, y = V s (Parlett, The Symmetric Eigenvalue
Problem, 1998, chapter 13). From a start uniform on the sphere the expected error, relative to the spectrum's
width, is O((ln n / k)^2) whatever the spectrum, and falls exponentially with k where the largest eigenvalue
stands apart (Kuczynski and Wozniakowski, SIAM J. Matrix Anal. Appl. 13, 1992, 1094).

Written for ``torch.vmap`` and ``torch.compile``: a fixed number of products, all vectors kept and
orthogonalized against twice (Parlett, section 6.9), and T's largest pair by products alone, since LAPACK
raises on the non-finite matrix of one diverged trial and would take the whole pack with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm


class Ritz(NamedTuple):
    """Estimate of the largest eigenvalue, and the norm of its residual: some eigenvalue is that near."""

    value: Tensor
    residual: Tensor


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start: Tensor, num_iterations: int) -> Ritz:
    """The algebraically largest eigenvalue of a symmetric operator.

    Where the vectors reach an invariant subspace before the last iteration, the rest of T repeats alpha_1:
    being a Rayleigh quotient of the first block, it never passes for the largest eigenvalue.

    Args:
        product: A times a vector of shape [n].
        start: Not zero, shape [n]; random, else it may miss the eigenvector sought.
        num_iterations: Products with A, >= 1; never more than n are made.
    """
    tolerance = torch.finfo(start.dtype).eps
    basis = [start / vector_norm(start)]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    alive, largest = torch.ones_like(start[0], dtype=torch.bool), torch.zeros_like(start[0])
    for _ in range(min(num_iterations, start.shape[0])):
        moved = product(basis[-1])
        alpha = basis[-1] @ moved
        diagonal.append(torch.where(alive, alpha, diagonal[0]) if diagonal else alpha)
        largest = torch.maximum(largest, vector_norm(moved))
        held = torch.stack(basis)
        for _ in range(2):
            moved = moved - (held @ moved) @ held
        size = vector_norm(moved)
        alive = alive & ~(size <= tolerance * largest)  # a NaN lives on, to be seen in the result
        beside.append(torch.where(alive, size, 0.0))
        basis.append(torch.where(alive, moved / size, 0.0))
    top = largest_of_tridiagonal(torch.stack(diagonal), torch.stack(beside)[:-1])
    return Ritz(top.value, beside[-1] * top.vector[-1].abs())


class TopPair(NamedTuple):
    """An eigenvalue, scalar, and its unit eigenvector, shape [k]."""

    value: Tensor
    vector: Tensor


def largest_of_tridiagonal(diagonal: Tensor, beside: Tensor) -> TopPair:
    """The largest eigenvalue of a symmetric tridiagonal matrix and its eigenvector.

    Shifted to be positive semi-definite by Gershgorin's circles, the matrix is squared until only its largest
    eigenvalue is left. After m squarings eigenvalues that differ relatively by more than 2^-m are separated;
    where they differ by less, the Rayleigh quotient is still right to 2^-m. With 2^-m below the rounding
    unit the value is exact to rounding of the matrix.

    Args:
        diagonal: Shape [k].
        beside: Shape [k - 1].
    """
    info = torch.finfo(diagonal.dtype)
    zero = diagonal.new_zeros(1)
    radius = torch.cat((zero, beside.abs())) + torch.cat((beside.abs(), zero))
    lowest = (diagonal - radius).min()
    one = torch.eye(diagonal.shape[0], dtype=diagonal.dtype, device=diagonal.device)
    # the smallest number keeps a matrix that is a multiple of the identity from vanishing
    power = one * (diagonal - lowest + info.tiny)
    if beside.shape[0]:
        power = power + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    for _ in range(math.ceil((2 - math.log2(info.eps)) / 3)):  # the trace, between 1 and k^-8, stays in range
        power = power / (one * power).sum()
        for _ in range(3):
            power = power @ power
    column = power.index_select(1, (one * power).sum(dim=0).argmax().reshape(1))[:, 0]
    vector = column / vector_norm(column)
    value = (diagonal * vector**2).sum() + 2.0 * (beside * vector[1:] * vector[:-1]).sum()
    return TopPair(value, vector)
