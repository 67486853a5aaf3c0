"""The network on all pairs of residues, in numpy and float64: residuals, their derivatives, a short training.

d: modulus. q: width. Weights: [3, d, q], as in :mod:`gradlaw_studies.modular_addition.algebra.fourier`.
P: their number, 3 d q. Residuals: the outputs less the one-hot class, and less their mean over classes; by
g1, g2 and class, shape [d, d, d]. The loss is the sum of their squares divided by d^2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradlaw.random import Streams
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra.fourier import Weights

LR = 0.01  # of the source's sweep
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # Adam's defaults, which it takes
DECAY_SHARE = 0.1  # of the steps, at the end: the lr falls to 0, so that no Adam noise is left in the weights

Floats = NDArray[np.float64]


def trained(modulus: int, width: int, streams: Streams, *, steps: int, weight_decay: float) -> Weights:
    """Weights [3, d, q] after full-batch Adam on all pairs, from the task's own initialization.

    The source's recipe (Adam, coupled weight decay, default betas, constant lr) but for two things: all pairs
    are trained on, and the lr falls linearly to 0 over the last tenth of the steps.

    Args:
        modulus: d.
        width: q.
        streams: The start is drawn from their stream "init".
        steps: Steps to train.
        weight_decay: Coupled.
    """
    start, _ = ModularAddition(modulus=modulus, width=width).init(streams)
    weights = np.stack([start[name].numpy() for name in ("W_a", "W_b", "W_c")])
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    last = max(1, round(DECAY_SHARE * steps))
    for step in range(steps):
        found = gradient(weights) + weight_decay * weights
        mean += (1.0 - BETA1) * (found - mean)
        square += (1.0 - BETA2) * (found**2 - square)
        lr = LR * min(1.0, (steps - step) / last)
        scale = np.sqrt(square / (1.0 - BETA2 ** (step + 1))) + EPS
        weights -= lr / (1.0 - BETA1 ** (step + 1)) * mean / scale
    return weights


def residuals(weights: Weights) -> Floats:
    """The residuals of all pairs, shape [d, d, d]."""
    a, b, c = weights
    error: Floats = (a[:, None] + b[None]) ** 2 @ c.T
    residues = np.arange(len(a))
    error[residues[:, None], residues, (residues[:, None] + residues) % len(a)] -= 1.0
    error -= error.mean(axis=2, keepdims=True)
    return error


def gradient(weights: Weights) -> Weights:
    """The gradient of the loss, shape [3, d, q]."""
    a, b, c = weights
    before = a[:, None] + b[None]
    error = residuals(weights) * (2.0 / len(a) ** 2)
    inner = 2.0 * before * (error @ c)
    outer = np.tensordot(error, before**2, axes=((0, 1), (0, 1)))
    return np.stack((inner.sum(axis=1), inner.sum(axis=0), outer))


def jacobian(weights: Weights) -> Floats:
    """Derivatives of the residuals by the weights, shape [d^3, P]."""
    a, b, c = weights
    modulus = len(a)
    before, centred = a[:, None] + b[None], c - c.mean(axis=0)
    found = np.zeros((modulus, modulus, modulus, *weights.shape))
    by_before = 2.0 * before[:, :, None] * centred
    for residue in range(modulus):
        found[residue, :, :, 0, residue] = by_before[residue]
        found[:, residue, :, 1, residue] = by_before[:, residue]
    projection = np.eye(modulus) - 1.0 / modulus
    found[:, :, :, 2] = before[:, :, None, None] ** 2 * projection[:, :, None]
    return found.reshape(modulus**3, -1)


def bending(weights: Weights, multipliers: Floats) -> Floats:
    """The Hessian by the weights of the residuals' sum with multipliers of zero mean over classes, [P, P].

    Args:
        weights: [3, d, q].
        multipliers: One for each residual, shape [d, d, d].
    """
    a, b, c = weights
    modulus, width = a.shape
    before, pulled = a[:, None] + b[None], 2.0 * multipliers @ c
    found = np.zeros((3, modulus, width, 3, modulus, width))
    x, y, j = np.arange(modulus)[:, None, None], np.arange(modulus)[:, None], np.arange(width)
    found[0, x[:, 0], j, 0, x[:, 0], j] = pulled.sum(axis=1)
    found[1, y, j, 1, y, j] = pulled.sum(axis=0)
    found[0, x, j, 1, y, j] = pulled
    found[0, x, j, 2, y, j] = 2.0 * np.einsum("xyk,xyj->xkj", multipliers, before, optimize=True)
    found[1, x, j, 2, y, j] = 2.0 * np.einsum("xyk,xyj->ykj", multipliers, before, optimize=True)
    square = found.reshape(weights.size, weights.size)
    return square + np.triu(square, k=1).T
