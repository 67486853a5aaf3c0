"""How fast memory must decay: momentum with kernels that forget at different speeds.

    theta_{n+1} = theta_n - h sum_{k=0..n} v_k g_{n-k},     v_k = w_k / sum_{j=0..n} w_j

The sums go over the whole past. All F^(s) are g, so without memory this is gradient descent whatever the
kernel, and the correction is M = m1_n H g with m1_n = sum_{k=0..n} k v_k, the mean age of what is averaged.

Over a horizon T all paths are smooth in the time n h, so that g_{n-k} - g_n is O(k h), and k h H g of it
leaves O((k h)^2). So the velocities differ by O(h m1_n), with the correction by O(h^2 m2_n), where m2_n is
sum_{k=0..n} k^2 v_k >= m1_n^2, and by Gronwall's inequality the paths likewise. The gap is of order h if the
kernel's first moment is finite, with the correction of order h^2 if the second is. Else moments grow up to
n = T/h: for w_k = (k + 1)^-p

    without    h sum k^(1-p)      h for p > 2,     h log(1/h) at p = 2,     h^(p-1) for 1 < p < 2
    with       h^2 sum k^(2-p)    h^2 for p > 3,   h^2 log(1/h) at p = 3,   h^(p-1) for 1 < p < 3

and for p < 1, the uniform kernel (p = 0) among them, neither gap vanishes with h. A kernel b^k, b < 1, has
all moments. Reference: Cattaneo and Shigida 2502.02132, who assume memory of that kind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.measurement import Measurement
from gradlaw.probe import Columns
from gradlaw.random_host import HostStreams
from gradlaw.table import Column, Table

Floats = NDArray[np.float64]

POWERS: Mapping[str, float] = {"power_3": 3.0, "power_2": 2.0, "power_1.5": 1.5, "uniform": 0.0}
"""p of the kernels (k + 1)^-p."""
KERNELS = ("exponential", *POWERS)
DECAY = 0.8
"""b of the exponential kernel: a mean age of 4 steps, so that the horizon is many of them at every lr."""
_ROWS, _FEATURES = 12, 3

KERNEL_ORDER = Table(
    name="kernel_order",
    grain="One row: one kernel at one lr, and its memoryless twin without or with the correction.",
    columns=(
        Column(name="kernel", type="string", doc="how the past is weighed: exponential, power_p, uniform"),
        Column(name="corrected", type="bool", doc="whether the twin has the correction"),
        Column(name="lr", type="float64", doc="h"),
        Column(
            name="gap_max",
            type="float64",
            doc="max over n <= T/h of the largest coordinate of |theta_n - theta~_n|",
        ),
        Column(
            name="left_out",
            type="float64",
            doc="what theory leaves out, up to a constant: h m1_n, or with the correction h^2 m2_n, n = T/h",
        ),
    ),
)


class Problem(NamedTuple):
    """L(theta) = mean over rows of log cosh(x'theta - y): smooth, convex, not quadratic.

    Attributes:
        x: Shape [rows, features].
        y: Shape [rows].
        start: theta_0, shape [features].
    """

    x: Floats
    y: Floats
    start: Floats

    def gradient(self, theta: Floats) -> Floats:
        """Of L; shape [features]."""
        slope: Floats = np.tanh(self.x @ theta - self.y) @ self.x / len(self.x)
        return slope

    def hessian_times(self, theta: Floats, vector: Floats) -> Floats:
        """H at theta times ``vector``, shape [features]."""
        bend = 1.0 - np.tanh(self.x @ theta - self.y) ** 2
        product: Floats = (bend * (self.x @ vector)) @ self.x / len(self.x)
        return product


def problem_of(seed: int) -> Problem:
    """Rows, targets and start are standard normal, drawn from the seed."""
    streams = (HostStreams(seed, part=part) for part in range(3))
    shapes = ((_ROWS, _FEATURES), (_ROWS,), (_FEATURES,))
    return Problem(*(one.normal("init", shape) for one, shape in zip(streams, shapes, strict=True)))


def weights(kernel: str, num: int) -> Floats:
    """w_0 .. w_{num-1}, not normalised."""
    ages = np.arange(num, dtype=np.float64)
    return DECAY**ages if kernel == "exponential" else (ages + 1.0) ** -POWERS[kernel]


def moments(kernel: str, num: int, order: int) -> Floats:
    """sum_{k=0..n} k^order v_k for n = 0 .. num-1, shape [num]."""
    own, ages = weights(kernel, num), np.arange(num, dtype=np.float64)
    of_n: Floats = np.cumsum(own * ages**order) / np.cumsum(own)
    return of_n


def with_memory(problem: Problem, kernel: str, lr: float, num_steps: int) -> Floats:
    """theta_1 .. theta_num_steps, shape [num_steps, features]; its time grows as num_steps^2."""
    own = weights(kernel, num_steps)
    newest_last, totals = own[::-1].copy(), np.cumsum(own)
    slopes = np.empty((num_steps, _FEATURES))
    path, theta = np.empty((num_steps, _FEATURES)), problem.start
    for n in range(num_steps):
        slopes[n] = problem.gradient(theta)
        theta = theta - lr * (newest_last[num_steps - 1 - n :] @ slopes[: n + 1]) / totals[n]
        path[n] = theta
    return path


def without_memory(problem: Problem, ages: Floats, lr: float) -> Floats:
    """theta~_1 .. of theta~ <- theta~ - h (g + h ``ages``_n H g), shape [len(ages), features]."""
    path, theta = np.empty((len(ages), _FEATURES)), problem.start
    for n, age in enumerate(ages):
        slope = problem.gradient(theta)
        theta = theta - lr * (slope + lr * age * problem.hessian_times(theta, slope))
        path[n] = theta
    return path


class KernelGap(Measurement):
    """The gap between momentum with one kernel and its memoryless twins, and what they leave out."""

    name = "memory_kernel_gap"
    hyperparameters = (
        Hyperparameter(name="kernel", default="exponential", choices=KERNELS, doc="how the past is weighed"),
        Hyperparameter(name="lr", default=0.01, low=0.0, low_open=True, high=1.0, doc="h"),
        Hyperparameter(name="horizon", default=4.0, low=1.0, doc="T: steps are the whole ones of T/h"),
    )

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return (KERNEL_ORDER,)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        kernel, lr = str(hyperparameters["kernel"]), float(hyperparameters["lr"])
        num_steps = math.floor(float(hyperparameters["horizon"]) / lr)
        problem = problem_of(seed)
        path = with_memory(problem, kernel, lr, num_steps)
        ages = moments(kernel, num_steps, 1)
        twins = without_memory(problem, 0.0 * ages, lr), without_memory(problem, ages, lr)
        left_out = lr * ages[-1], lr * lr * moments(kernel, num_steps, 2)[-1]
        return {
            KERNEL_ORDER.name: {
                "kernel": [kernel, kernel],
                "corrected": [False, True],
                "lr": [lr, lr],
                "gap_max": [float(np.abs(path - twin).max()) for twin in twins],
                "left_out": [float(scale) for scale in left_out],
            }
        }
