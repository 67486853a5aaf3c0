"""The minimum of l2-regularized softmax regression, by Newton's method on all rows in float64.

It shares nothing with the engine: gradient and Hessian are written out in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gradlaw.errors import UsageError

MAX_ITERATIONS = 50
TOLERANCE = 1e-9
ROUNDING = 1e-12  # of the loss, near the minimum; a step may be refused for more only

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """The smallest loss.

    Attributes:
        minimum: The loss there.
        gradient_norm: Norm of the gradient left; the loss is above the minimum by at most its square
            divided by twice the l2 strength.
        iterations: Newton steps taken.
    """

    minimum: float
    gradient_norm: float
    iterations: int


def softmax_minimum(images: Floats, classes: NDArray[np.int64], l2: float) -> Minimum:
    """Minimizes mean cross-entropy + (l2 / 2) (||W||^2 + ||b||^2).

    Args:
        images: Shape [N, F].
        classes: Labels 0 .. C-1, shape [N].
        l2: Strength, > 0: the minimum is unique and the Hessian at least l2.

    Raises:
        UsageError: If ``l2`` is not positive (separable classes have no minimum).
    """
    if not l2 > 0:
        msg = f"l2: got {l2}, allowed > 0; without it separable classes have no minimum"
        raise UsageError(msg)
    return _solve(images.tobytes(), classes.tobytes(), images.shape[1], l2)


@lru_cache(maxsize=64)
def _solve(images: bytes, classes: bytes, num_features: int, l2: float) -> Minimum:
    """Cached, since trials that differ in batch size or lr alone share their minimum."""
    x = np.frombuffer(images, dtype=np.float64).reshape(-1, num_features)
    labels = np.frombuffer(classes, dtype=np.int64)
    x = np.hstack((x, np.ones((len(x), 1))))
    onehot = np.eye(int(labels.max()) + 1)[labels]
    weights = np.zeros((onehot.shape[1], x.shape[1]))
    for iteration in range(MAX_ITERATIONS):
        loss, gradient, share = _loss(weights, x, onehot, l2)
        norm = float(np.linalg.norm(gradient))
        if norm < TOLERANCE:
            return Minimum(minimum=loss, gradient_norm=norm, iterations=iteration)
        step = np.linalg.solve(_hessian(share, x, l2), gradient.ravel()).reshape(weights.shape)
        while _loss(weights - step, x, onehot, l2)[0] > loss + ROUNDING:
            step = step / 2
        weights = weights - step
    loss, gradient, _ = _loss(weights, x, onehot, l2)
    return Minimum(minimum=loss, gradient_norm=float(np.linalg.norm(gradient)), iterations=MAX_ITERATIONS)


def _loss(weights: Floats, x: Floats, onehot: Floats, l2: float) -> tuple[float, Floats, Floats]:
    """Loss, gradient and class probabilities [N, C] at ``weights`` [C, F]."""
    logits = x @ weights.T
    logits -= logits.max(axis=1, keepdims=True)
    log_share = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    share = np.exp(log_share)
    loss = -float((onehot * log_share).sum()) / len(x) + 0.5 * l2 * float((weights**2).sum())
    return loss, (share - onehot).T @ x / len(x) + l2 * weights, share


def _hessian(share: Floats, x: Floats, l2: float) -> Floats:
    """Blocks (a, b): X^T diag(p_a (delta_ab - p_b)) X / N, plus l2 on the diagonal; [C F, C F]."""
    num_classes, num_features = share.shape[1], x.shape[1]
    found = np.empty((num_classes, num_features, num_classes, num_features))
    for a in range(num_classes):
        for b in range(a + 1):
            weight = share[:, a] * ((a == b) - share[:, b])
            found[a, :, b, :] = found[b, :, a, :] = (x * weight[:, None]).T @ x / len(x)
    size = num_classes * num_features
    return found.reshape(size, size) + l2 * np.eye(size)
