"""Addition modulo d by a two-layer network of quadratic units, on all d^2 ordered pairs of residues."""

from __future__ import annotations

import copy
from functools import cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Split, Taps, Task
from gradlaw.tasks.common import TEST_SHARE, array_digest, random_split, require_valid, uniform_init


@cache
def addition_table(modulus: int) -> NDArray[np.int64]:
    """Rows (g1, g2, (g1 + g2) mod modulus) for all ordered pairs, shape [modulus**2, 3], g1 slowest."""
    residues = np.arange(modulus, dtype=np.int64)
    first, second = np.repeat(residues, modulus), np.tile(residues, modulus)
    return np.stack((first, second, (first + second) % modulus), axis=1)


class ModularAddition(Task):
    """o = W_c h with h_j = (W_a[g1, j] + W_b[g2, j])^2; loss = mean of ||P (o - e_y)||^2, P = I - 11^T/d.

    The loss is summed over classes, without a factor 1/2; the zero predictor has loss 1 - 1/d. All three have
    shape [modulus, width], a residue to a row, so that what belongs together is read together (W_a and W_b
    are the transposed weights of the layer that takes one-hot inputs); no biases. Initialization is
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) with fan_in = modulus for W_a and W_b, and width for W_c.

    Reference: Tian, "Composing global optimizers to reasoning tasks via algebraic objects in neural nets",
    arXiv 2410.01779, and its public code, whose scale this is (the paper divides o by 2d).
    """

    name = "modular_addition"
    hyperparameters = (
        TEST_SHARE,
        Hyperparameter(name="modulus", default=23, low=2, structural=True, doc="d, the number of residues"),
        Hyperparameter(name="width", default=512, low=1, structural=True, doc="q, hidden nodes"),
    )

    def __init__(self, *, test_share: float = 0.1, modulus: int = 23, width: int = 512) -> None:
        require_valid(self.hyperparameters, {"test_share": test_share, "modulus": modulus, "width": width})
        self.test_share, self.modulus, self.width = float(test_share), modulus, width
        self.table = torch.tensor(addition_table(modulus))
        self.num_rows = modulus**2

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        d, q = self.modulus, self.width
        drawn = uniform_init(streams, {"W_a": ((q, d), d), "W_b": ((q, d), d), "W_c": ((d, q), q)})
        tables = {name: drawn[name].T.contiguous() for name in ("W_a", "W_b")}
        return {**tables, "W_c": drawn["W_c"]}, {}

    def split(self, streams: Streams) -> Split:
        return random_split(streams, self.modulus**2, self.test_share)

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        del streams
        rows = self.table[indices]
        return rows[:, 0], rows[:, 1], rows[:, 2]

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        first, second, target = batch
        hidden = (params["W_a"][first] + params["W_b"][second]) ** 2
        outputs = taps.linear("W_c", hidden, params["W_c"])
        classes = torch.arange(self.modulus, device=outputs.device)
        error = outputs - (target[:, None] == classes).to(outputs.dtype)
        projected = error - error.mean(dim=1, keepdim=True)
        return LossOutput((projected**2).sum(dim=1).mean(), outputs, buffers)

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        correct = outputs.argmax(dim=-1) == batch[2]
        return {"accuracy": correct.to(outputs.dtype).mean()}

    def data_digest(self) -> str:
        return array_digest(addition_table(self.modulus))

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        del dtype
        moved = copy.copy(self)
        moved.table = self.table.to(device)
        return moved
