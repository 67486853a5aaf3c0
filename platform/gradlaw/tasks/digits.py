"""Classification of scikit-learn's bundled digits: 1,797 real images of 8 x 8 pixels, no download.

Data: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (its
test part). Pixels are counts 0 .. 16, here divided by 16. With the default ``test_share`` of 0.1 a trial
trains on 1,617 images and holds out 180.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Split, Taps, Task
from gradlaw.tasks.common import (
    TEST_SHARE,
    array_digest,
    random_split,
    require_valid,
    squared_norm,
    uniform_init,
)

NUM_PIXELS, NUM_CLASSES = 64, 10
_EPS, _MOMENTUM = 1e-5, 0.1  # defaults of torch.nn.BatchNorm1d

WIDTH = Hyperparameter(name="width", default=16, low=1, structural=True, doc="hidden units")
L2 = Hyperparameter(
    name="l2",
    default=0.0,
    low=0.0,
    structural=True,
    doc="the loss has l2 / 2 times the squared norm of all parameters added; > 0: strongly convex",
)


@cache
def load_digits_arrays() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Images in [0, 1], shape [1797, 64], and classes 0 .. 9, shape [1797], in the file's order."""
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # scikit-learn ships no types

    images, classes = load_digits(return_X_y=True)
    return np.asarray(images, dtype=np.float64) / 16.0, np.asarray(classes, dtype=np.int64)


@cache
def _digest() -> str:
    return array_digest(*load_digits_arrays())


class DigitsTask(Task):
    """What classifiers of digits share: data, split, batches, accuracy."""

    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = (TEST_SHARE,)

    def __init__(self, *, test_share: float = 0.1, width: int = 16, l2: float = 0.0) -> None:
        require_valid(self.hyperparameters, {"test_share": test_share, "width": width, "l2": l2})
        images, classes = load_digits_arrays()
        self.test_share, self.width, self.l2 = float(test_share), width, float(l2)
        self.images, self.classes = torch.tensor(images), torch.tensor(classes)
        self.num_rows = len(classes)

    def split(self, streams: Streams) -> Split:
        return random_split(streams, len(self.classes), self.test_share)

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        del streams
        return self.images[indices], self.classes[indices]

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        correct = outputs.argmax(dim=-1) == batch[1]
        return {"accuracy": correct.to(outputs.dtype).mean()}

    def data_digest(self) -> str:
        return _digest()

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        moved = copy.copy(self)
        moved.images = self.images.to(device=device, dtype=dtype)
        moved.classes = self.classes.to(device)
        return moved


class DigitsSoftmax(DigitsTask):
    """Softmax regression, 650 parameters: mean cross-entropy in nats + (l2 / 2) ||params||^2."""

    name = "digits_softmax"
    hyperparameters = (TEST_SHARE, L2)

    def __init__(self, *, test_share: float = 0.1, l2: float = 0.0) -> None:
        super().__init__(test_share=test_share, l2=l2)

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        shapes = {"weight": ((NUM_CLASSES, NUM_PIXELS), NUM_PIXELS), "bias": ((NUM_CLASSES,), NUM_PIXELS)}
        return uniform_init(streams, shapes), {}

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        images, classes = batch
        logits = taps.linear("linear", images, params["weight"], params["bias"])
        loss = cross_entropy(logits, classes)
        if self.l2 > 0:
            loss = loss + 0.5 * self.l2 * squared_norm(params)
        return LossOutput(loss, logits, buffers)


class DigitsMLP(DigitsTask):
    """One hidden layer of ``width`` tanh units (1,210 parameters at 16): mean cross-entropy in nats."""

    name = "digits_mlp"
    hyperparameters = (TEST_SHARE, WIDTH)

    def __init__(self, *, test_share: float = 0.1, width: int = 16) -> None:
        super().__init__(test_share=test_share, width=width)

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        shapes = {
            "weight1": ((self.width, NUM_PIXELS), NUM_PIXELS),
            "bias1": ((self.width,), NUM_PIXELS),
            "weight2": ((NUM_CLASSES, self.width), self.width),
            "bias2": ((NUM_CLASSES,), self.width),
        }
        return uniform_init(streams, shapes), {}

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        images, classes = batch
        hidden = torch.tanh(taps.linear("hidden", images, params["weight1"], params["bias1"]))
        logits = taps.linear("output", hidden, params["weight2"], params["bias2"])
        return LossOutput(cross_entropy(logits, classes), logits, buffers)


class DigitsMLPBatchNorm(DigitsTask):
    """:class:`DigitsMLP` with batch normalization (Ioffe and Szegedy 1502.03167, algorithm 1) before tanh.

    In training a batch is normalized by its own mean and biased variance, and the running statistics move
    by a tenth towards its mean and unbiased variance, as torch.nn.BatchNorm1d does; in evaluation the
    running statistics are used. Unlike torch, a batch of one is allowed: it is normalized to zero, and
    leaves the running variance tend to zero.
    """

    name = "digits_mlp_batchnorm"
    hyperparameters = (TEST_SHARE, WIDTH)

    def __init__(self, *, test_share: float = 0.1, width: int = 16) -> None:
        super().__init__(test_share=test_share, width=width)

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        shapes = {
            "weight1": ((self.width, NUM_PIXELS), NUM_PIXELS),
            "weight2": ((NUM_CLASSES, self.width), self.width),
            "bias2": ((NUM_CLASSES,), self.width),
        }
        drawn = uniform_init(streams, shapes)
        zero = torch.zeros(self.width, dtype=torch.float64, device=streams.seed.device)
        params = {**drawn, "scale": torch.ones_like(zero), "shift": zero}
        return params, {"running_mean": torch.zeros_like(zero), "running_var": torch.ones_like(zero)}

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        images, classes = batch
        before = taps.linear("hidden", images, params["weight1"])
        normalized, moved = _normalize(before, buffers, train=taps.train)
        hidden = torch.tanh(params["scale"] * normalized + params["shift"])
        logits = taps.linear("output", hidden, params["weight2"], params["bias2"])
        return LossOutput(cross_entropy(logits, classes), logits, moved)


def _normalize(x: Tensor, buffers: Buffers, *, train: bool) -> tuple[Tensor, Buffers]:
    """``x`` [batch, width] normalized over the batch, and the running statistics after it."""
    mean, var = buffers["running_mean"], buffers["running_var"]
    if not train:
        return (x - mean) / torch.sqrt(var + _EPS), buffers
    batch_mean = x.mean(dim=0)
    batch_var = ((x - batch_mean) ** 2).mean(dim=0)
    unbiased = batch_var.detach() * (len(x) / max(len(x) - 1, 1))
    moved = {
        "running_mean": mean + _MOMENTUM * (batch_mean.detach() - mean),
        "running_var": var + _MOMENTUM * (unbiased - var),
    }
    return (x - batch_mean) / torch.sqrt(batch_var + _EPS), moved
