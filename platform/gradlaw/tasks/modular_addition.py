"""Addition modulo d by a two-layer network without biases, on all d^2 ordered pairs of residues."""

from __future__ import annotations

import copy
from functools import cache
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.random import Streams
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Split, Taps, Task
from gradlaw.tasks.common import array_digest, random_split, require_valid, uniform_init


@cache
def addition_table(modulus: int) -> NDArray[np.int64]:
    """Rows (g1, g2, (g1 + g2) mod modulus) for all ordered pairs, shape [modulus**2, 3], g1 slowest."""
    residues = np.arange(modulus, dtype=np.int64)
    first, second = np.repeat(residues, modulus), np.tile(residues, modulus)
    return np.stack((first, second, (first + second) % modulus), axis=1)


ACTIVATIONS = ("square", "relu")
CRITERIA = ("projected_mse", "cross_entropy")
LABELS = ("sum", "shuffled")


def _choice(name: str, choices: tuple[str, ...], doc: str) -> Hyperparameter:
    return Hyperparameter(name=name, default=choices[0], choices=choices, structural=True, doc=doc)


class ModularAddition(Task):
    """o = W_c h with h_j = (W_a[g1, j] + W_b[g2, j])^2; loss = mean of ||P (o - e_y)||^2, P = I - 11^T/d.

    The loss is summed over classes, without a factor 1/2; the zero predictor has loss 1 - 1/d. All three have
    shape [modulus, width], a residue to a row, so that what belongs together is read together (W_a and W_b
    are the transposed weights of the layer that takes one-hot inputs); no biases. Initialization is
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) with fan_in = modulus for W_a and W_b, and width for W_c.

    Options: ``activation`` "relu" puts max(0, .) in the place of the square; ``criterion`` "cross_entropy" is
    the mean cross-entropy of softmax(o) in nats. With ``labels`` "shuffled" the d^2 sums are dealt to the
    pairs anew by each seed's stream "split", apart from the split itself: every label is as frequent as
    before, split and start are those of the seed, and nothing is left to generalize.

    Reference: Tian, "Composing global optimizers to reasoning tasks via algebraic objects in neural nets",
    arXiv 2410.01779, and its public code, whose scale this is (the paper divides o by 2d).

    Raises:
        ConfigurationError: Values that are not allowed, all of them, or no pair left to train on.
    """

    name = "modular_addition"
    hyperparameters = (
        Hyperparameter(
            name="train_share",
            default=0.9,
            low=0.0,
            low_open=True,
            high=1.0,
            structural=True,
            doc="of the pairs, default of 2410.01779; round((1 - train_share) d^2) are held out",
        ),
        Hyperparameter(name="modulus", default=23, low=2, structural=True, doc="d, the number of residues"),
        Hyperparameter(name="width", default=512, low=1, structural=True, doc="q, hidden nodes"),
        _choice("activation", ACTIVATIONS, "of the hidden nodes"),
        _choice("criterion", CRITERIA, "the loss of one pair"),
        _choice("labels", LABELS, "shuffled: the sums dealt to the pairs at random, a control"),
    )

    def __init__(
        self,
        *,
        train_share: float = 0.9,
        modulus: int = 23,
        width: int = 512,
        activation: str = ACTIVATIONS[0],
        criterion: str = CRITERIA[0],
        labels: str = LABELS[0],
    ) -> None:
        given: dict[str, Scalar] = {"train_share": train_share, "modulus": modulus, "width": width}
        given |= {"activation": activation, "criterion": criterion, "labels": labels}
        require_valid(self.hyperparameters, given)
        self.train_share, self.modulus, self.width = float(train_share), modulus, width
        self.activation, self.criterion, self.labels = activation, criterion, labels
        self.table = torch.tensor(addition_table(modulus))
        self.num_rows = self.num_pairs = modulus**2
        if round((1.0 - self.train_share) * self.num_pairs) == self.num_pairs:
            allowed = f"more: none of the {self.num_pairs} pairs is left to train on"
            raise ConfigurationError([f"train_share: got {train_share}, allowed {allowed}"])

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        d, q = self.modulus, self.width
        drawn = uniform_init(streams, {"W_a": ((q, d), d), "W_b": ((q, d), d), "W_c": ((d, q), q)})
        tables = {name: drawn[name].T.contiguous() for name in ("W_a", "W_b")}
        return {**tables, "W_c": drawn["W_c"]}, {}

    def split(self, streams: Streams) -> Split:
        """Rows: number of the pair plus d^2 times its label where labels are shuffled, else of the pair.

        What a seed has of its own reaches ``batch`` through its rows alone: members of a pack share the rest.
        """
        parts = random_split(streams, self.num_pairs, 1.0 - self.train_share)
        if self.labels == "sum":
            return parts
        dealt = self.table[streams.at(part=1).permutation("split", self.num_pairs), 2]
        return Split(*(rows + self.num_pairs * dealt[rows] for rows in parts))

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        del streams
        if self.labels == "sum":
            rows = self.table[indices]
            return rows[:, 0], rows[:, 1], rows[:, 2]
        rows = self.table[indices % self.num_pairs]
        return rows[:, 0], rows[:, 1], indices // self.num_pairs

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        first, second, target = batch
        before = params["W_a"][first] + params["W_b"][second]
        hidden = before**2 if self.activation == "square" else torch.relu(before)
        outputs = taps.linear("W_c", hidden, params["W_c"])
        if self.criterion == "cross_entropy":
            return LossOutput(cross_entropy(outputs, target), outputs, buffers)
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
