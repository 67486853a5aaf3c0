"""A quadratic loss, whose largest stable lr is known exactly: the instrument's test."""

from __future__ import annotations

import copy
from typing import ClassVar, Self

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Split, Taps, Task
from gradlaw.tasks.common import TEST_SHARE, array_digest, random_split, require_valid, uniform_init
from gradlaw.tasks.digits import NUM_CLASSES, NUM_PIXELS, load_digits_arrays


class DigitsSquares(Task):
    """Least squares: 650 parameters, loss mean_i ||W x_i + b - y_i||^2 / 2 with y_i the class's unit vector.

    Its Hessian is the same everywhere, that of the inputs' second moments (with a 1 for the bias), so that
    gradient descent shrinks to its minimum for lr < 2 / lambda_max and grows without bound above, whatever
    the warm-up. The loss of all parameters at zero is 1/2.
    """

    name = "digits_squares"
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = (TEST_SHARE,)

    def __init__(self, *, test_share: float = 0.1) -> None:
        require_valid(self.hyperparameters, {"test_share": test_share})
        images, classes = load_digits_arrays()
        self.test_share = float(test_share)
        self.images, self.classes = torch.tensor(images), torch.tensor(classes)
        self.num_rows = len(classes)
        self._digest = array_digest(images, classes)

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        shapes = {"weight": ((NUM_CLASSES, NUM_PIXELS), NUM_PIXELS), "bias": ((NUM_CLASSES,), NUM_PIXELS)}
        return uniform_init(streams, shapes), {}

    def split(self, streams: Streams) -> Split:
        return random_split(streams, len(self.classes), self.test_share)

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        del streams
        return self.images[indices], self.classes[indices]

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        images, classes = batch
        outputs = taps.linear("linear", images, params["weight"], params["bias"])
        # torch.nn.functional.one_hot looks at the values, which vmap refuses
        targets = classes[:, None] == torch.arange(NUM_CLASSES, device=classes.device)
        errors = outputs - targets.to(outputs.dtype)
        return LossOutput(0.5 * (errors * errors).sum(dim=-1).mean(), outputs, buffers)

    def data_digest(self) -> str:
        return self._digest

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        moved = copy.copy(self)
        moved.images = self.images.to(device=device, dtype=dtype)
        moved.classes = self.classes.to(device)
        return moved
