"""Time of a gradient step per sample, at powers of two and beside them.

Every round times every batch size once, in an order of its own, so that a machine that slows down for a while
slows all sizes alike; the median over rounds leaves out what came between. What is read is the clock of the
one thread that works: on an idle machine that is the time that passes, on a busy one others do not count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.measurement import Measurement
from gradlaw.probe import Columns
from gradlaw.random_host import HostStreams
from gradlaw.table import Table
from gradlaw_studies.critical_batch.tables import STEP_TIME

NUM_INPUTS, NUM_CLASSES = 64, 10
SAMPLES = 256
"""One reading repeats a small batch's step until so many samples have passed: far above the clock's grain."""

_WEIGHTS, _IMAGES, _ORDERS = 1, 2, 3  # parts of stream "init"


class Size(NamedTuple):
    """A batch size, what it is, and the power of two it belongs to."""

    batch_size: int
    kind: str
    base: int


def sizes(smallest: int, largest: int) -> tuple[Size, ...]:
    """Powers of two from ``smallest`` to ``largest``, each with its neighbours by one and by eight.

    Neighbours by eight are left out below 32, where they are powers of two themselves, or nearly none.

    >>> [size.batch_size for size in sizes(32, 32)]
    [32, 31, 33, 24, 40]
    """
    found, base = [], smallest
    while base <= largest:
        found.append(Size(base, "power", base))
        found += [Size(base + by, "by_one", base) for by in (-1, 1)]
        if base >= 32:
            found += [Size(base + by, "by_eight", base) for by in (-8, 8)]
        base *= 2
    return tuple(found)


class StepTime(Measurement):
    """Seconds a sample of a step of gradient descent: forward, backward and update of 64 - width - 10 tanh.

    Float32, eager, on one thread of a CPU; the batch is there already.
    """

    name = "critical_batch_step_time"
    exclusive = True
    hyperparameters = (
        Hyperparameter(name="hidden_units", default=256, low=1, doc="width of the hidden layer"),
        Hyperparameter(name="smallest", default=16, low=4, doc="smallest power of two"),
        Hyperparameter(name="largest", default=1024, low=4, doc="largest power of two"),
        Hyperparameter(name="num_rounds", default=31, low=3, doc="readings of each batch size"),
    )

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return (STEP_TIME,)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        given = {name: int(hyperparameters[name]) for name in ("smallest", "largest", "num_rounds")}
        asked = sizes(given["smallest"], given["largest"])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            readings = time_steps(
                [size.batch_size for size in asked],
                hidden_units=int(hyperparameters["hidden_units"]),
                num_rounds=given["num_rounds"],
                seed=seed,
            )
        finally:
            torch.set_num_threads(threads)
        low, middle, high = np.quantile(readings, (0.25, 0.5, 0.75), axis=0)
        return {
            STEP_TIME.name: {
                "batch_size": [size.batch_size for size in asked],
                "kind": [size.kind for size in asked],
                "base": [size.base for size in asked],
                "seconds_a_sample": middle,
                "spread": (high - low) / middle,
                "num_rounds": [given["num_rounds"]] * len(asked),
            }
        }


def time_steps(
    batch_sizes: list[int], *, hidden_units: int, num_rounds: int, seed: int
) -> NDArray[np.float64]:
    """Seconds a sample, shape [rounds, sizes]; one more round before them warms up and is not kept.

    Args:
        batch_sizes: Samples a step, each >= 1.
        hidden_units: Width of the hidden layer.
        num_rounds: Readings of each size.
        seed: Of weights, images and the order within each round.
    """
    weights = HostStreams(seed, part=_WEIGHTS).uniform("init", (hidden_units, NUM_INPUTS + NUM_CLASSES))
    images = HostStreams(seed, part=_IMAGES).uniform("init", (max(batch_sizes), NUM_INPUTS))
    orders = HostStreams(seed, part=_ORDERS).uniform("init", (num_rounds + 1, len(batch_sizes)))
    network = _Network(torch.tensor(weights, dtype=torch.float32) - 0.5)
    rows = torch.tensor(images, dtype=torch.float32)
    classes = torch.arange(len(rows)) % NUM_CLASSES
    batches = [(rows[:size].clone(), classes[:size].clone()) for size in batch_sizes]
    readings = np.empty((num_rounds + 1, len(batch_sizes)))
    for number, order in enumerate(np.argsort(orders, axis=1)):
        for place in order:
            repeats = max(1, SAMPLES // batch_sizes[place])
            start = time.thread_time()
            for _ in range(repeats):
                network.step(*batches[place])
            readings[number, place] = (time.thread_time() - start) / (repeats * batch_sizes[place])
    return readings[1:]


class _Network:
    """A plain MLP under gradient descent at an lr so small that the work stays the same."""

    def __init__(self, weights: Tensor) -> None:
        self._inward = weights[:, :NUM_INPUTS].contiguous().requires_grad_()
        self._outward = weights[:, NUM_INPUTS:].T.contiguous().requires_grad_()
        self._bias = torch.zeros(len(weights), requires_grad=True)

    def step(self, images: Tensor, classes: Tensor) -> None:
        hidden = torch.tanh(torch.addmm(self._bias, images, self._inward.T))
        loss = cross_entropy(hidden @ self._outward.T, classes)
        params = (self._inward, self._outward, self._bias)
        with torch.no_grad():
            for param, gradient in zip(params, torch.autograd.grad(loss, params), strict=True):
                param -= 1e-6 * gradient
