"""What mini-batch noise adds to heavy ball's correction, on least squares over real digits.

Heavy ball is theta_{n+1} = theta_n - h sum_k b^k g_{n-k}(theta_{n-k}), g_s the gradient on batch s. Its
memoryless twin is theta <- theta - h (sum_k b^k g_{n-k}(theta) + h M_n(theta)): the past batches, seen from
where it stands. M_n multiplies Hessians of past batches by their gradients. Averaged over independent ones,

    E M_n = u_n H grad L + w_n (1/2) grad E ||g_batch - grad L||^2,
    u_n = sum_{k=1..n} b^k sum_{s=n-k..n-1} (1 - b^{s+1}) / (1 - b)  ->  b / (1 - b)^3,
    w_n = sum_{k=1..n} b^k (1 - b^k) / (1 - b)                        ->  b / ((1 - b)^2 (1 + b)),

since of the pairs (Hessian of batch i, gradient of batch l) those with i = l are correlated: E[H_i g_i] is
(1/2) grad E ||g_i||^2. Divided by the velocity's 1 / (1 - b), the second term is that of the modified loss
L + h b / (2 (1 - b) (1 + b)) E ||g_batch - grad L||^2 (Cattaneo and Shigida 2502.02132).

Here gradients are linear: L = E (x'theta - y)^2 / 2, so that sum_k b^k g_{n-k}(theta) = A_n theta - c_n with
sums A_n, c_n that are carried along, and nothing is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradlaw.random_host import HostStreams
from gradlaw.tasks.digits import load_digits_arrays

Floats = NDArray[np.float64]

_SIDE, _BLOCK = 8, 2  # images of 8 x 8 pixels, averaged over blocks of 2 x 2
_CHUNK = 512  # paths moved side by side, so that their matrices stay in the cache


class LeastSquares(NamedTuple):
    """L(theta) = mean of (x'theta - y)^2 / 2 over the rows.

    Attributes:
        x: Shape [rows, features].
        y: Shape [rows].
    """

    x: Floats
    y: Floats

    @property
    def hessian(self) -> Floats:
        """Mean of x x', shape [features, features]."""
        return self.x.T @ self.x / len(self.x)

    def gradient(self, theta: Floats) -> Floats:
        """Of the whole set; theta of shape [..., features]."""
        found: Floats = theta @ self.hessian - self.y @ self.x / len(self.x)
        return found

    def half_noise_gradient(self, theta: Floats, batch_size: int) -> Floats:
        """(1/2) grad E ||g_batch - grad L||^2 of batches with replacement; shape as ``theta``.

        A sample's gradient is x (x'theta - y) and its Hessian x x'; the mean of a batch has 1 / batch_size of
        its covariance.
        """
        weighted = self.x * (self.x**2).sum(axis=1, keepdims=True)
        single = theta @ (self.x.T @ weighted / len(self.x)) - self.y @ weighted / len(self.x)
        found: Floats = (single - self.gradient(theta) @ self.hessian) / batch_size
        return found


@cache
def digits_least_squares() -> LeastSquares:
    """The digit regressed on its image in 4 x 4 blocks, scaled so that E ||x||^2 = 1; y centred."""
    images, classes = load_digits_arrays()
    blocks = images.reshape(-1, _SIDE // _BLOCK, _BLOCK, _SIDE // _BLOCK, _BLOCK).mean(axis=(2, 4))
    x = blocks.reshape(len(images), -1)
    x = x / np.sqrt((x**2).sum(axis=1).mean())
    return LeastSquares(x, classes - classes.mean())


def full_batch_weight(momentum: float, n: int) -> float:
    """u_n, of H grad L in the correction after n steps."""
    k = np.arange(1, n + 1)
    lags = k - momentum ** (n - k + 1.0) * (1 - momentum**k) / (1 - momentum)
    return float((momentum**k * lags).sum() / (1 - momentum))


def noise_weight(momentum: float, n: int) -> float:
    """w_n, of (1/2) grad E ||g_batch - grad L||^2 in the mean correction after n steps."""
    k = np.arange(1, n + 1)
    return float((momentum**k * (1 - momentum**k)).sum() / (1 - momentum))


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How the paths are run.

    Attributes:
        lr: h, > 0.
        momentum: b, in [0, 1).
        batch_size: Rows of a batch, drawn with replacement, >= 1.
        steps: Steps of a path, >= 1.
    """

    lr: float
    momentum: float
    batch_size: int
    steps: int


class Ends(NamedTuple):
    """Sums over paths of where they end, shape [features].

    Attributes:
        memory: Heavy ball.
        twin: Memoryless, on the past batches, with the full batch's part of the correction.
        noise_twin: The same with the noise's part as well.
    """

    memory: Floats
    twin: Floats
    noise_twin: Floats


def mean_ends(problem: LeastSquares, descent: Descent, start: Floats, num_paths: int, seed: int) -> Ends:
    """Means over ``num_paths`` paths, each on batches of its own and the same for its three descents."""
    total = Ends(*np.zeros((3, len(start))))
    for number, first in enumerate(range(0, num_paths, _CHUNK)):
        size = min(_CHUNK, num_paths - first)
        ends = _ends(problem, descent, np.tile(start, (size, 1)), HostStreams(seed, part=1 + number))
        total = Ends(*(held + end.sum(axis=0) for held, end in zip(total, ends, strict=True)))
    return Ends(*(held / num_paths for held in total))


def _ends(problem: LeastSquares, descent: Descent, start: Floats, streams: HostStreams) -> Ends:
    """The ends of some paths, each [paths, features]."""
    h, b, size = descent.lr, descent.momentum, descent.batch_size
    paths, features = start.shape
    memory, twin, noisy = start, start, start
    buffer, curvature = np.zeros_like(start), np.zeros((paths, features, features))
    offset = np.zeros_like(start)
    shape = (descent.steps, paths, size)
    drawn = streams.integers("order", len(problem.x), shape)
    for n in range(descent.steps):
        x, y = problem.x[drawn[n]], problem.y[drawn[n]]
        gradient = np.einsum("pbf,pb->pf", x, np.einsum("pbf,pf->pb", x, memory) - y) / size
        buffer = b * buffer + gradient
        memory = memory - h * buffer
        curvature = b * curvature + np.matmul(x.transpose(0, 2, 1), x) / size
        offset = b * offset + np.einsum("pbf,pb->pf", x, y) / size
        u, w = full_batch_weight(b, n), noise_weight(b, n)
        moved = []
        for theta, share in ((twin, 0.0), (noisy, 1.0)):
            velocity = np.matmul(curvature, theta[:, :, None])[:, :, 0] - offset
            correction = u * (problem.gradient(theta) @ problem.hessian)
            correction += share * w * problem.half_noise_gradient(theta, size)
            moved.append(theta - h * (velocity + h * correction))
        twin, noisy = moved
    return Ends(memory, twin, noisy)


def full_batch_end(problem: LeastSquares, descent: Descent, start: Floats) -> Floats:
    """Where heavy ball ends on the whole set, shape [features]."""
    theta, buffer = start, np.zeros_like(start)
    for _ in range(descent.steps):
        buffer = descent.momentum * buffer + problem.gradient(theta)
        theta = theta - descent.lr * buffer
    return theta
