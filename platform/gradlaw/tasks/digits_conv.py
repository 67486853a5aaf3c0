"""A small convolutional network on the digits: the task whose weights are shared over an image.

Shapes: B images, C channels.
    images      [B, 16, 9]      3 x 3 windows of the padded 8 x 8 image, stride 2: the data, cut once
    first       [B, 16, C]      GELU of a 3 x 3 convolution, a 4 x 4 map
    second      [B, 4, 2C]      GELU of a 2 x 2 convolution, stride 2, a 2 x 2 map
    outputs     [B, 10]         linear in all 8C numbers of the second

A convolution of data is a product with its windows, and one whose windows do not overlap is a product after
a change of shape, if the windows' positions stand together. So the network is three matrix products, which
batch and compile as such; grouped convolutions, which vmap would make of it, do neither well.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, gelu, linear

from gradlaw.hyperparameter import Hyperparameter
from gradlaw.random import Streams
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Taps
from gradlaw.tasks.common import TEST_SHARE, require_valid, uniform_init
from gradlaw.tasks.digits import NUM_CLASSES, DigitsTask, load_digits_arrays

SIDE, KERNEL, STRIDE = 8, 3, 2
CHANNELS = Hyperparameter(
    name="channels", default=8, low=1, structural=True, doc="of the first layer; the second has twice as many"
)


def windows(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 3 x 3 windows at stride 2 of images of shape [rows, 64] padded by zeros, shape [rows, 16, 9].

    Positions come by fours, each four a 2 x 2 block of the 4 x 4 map.
    """
    square = np.pad(images.reshape(-1, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))
    cut = np.lib.stride_tricks.sliding_window_view(square, (KERNEL, KERNEL), axis=(1, 2))[
        :, ::STRIDE, ::STRIDE
    ]
    blocks = cut.reshape(-1, 2, 2, 2, 2, KERNEL * KERNEL).swapaxes(2, 3)
    return np.ascontiguousarray(blocks.reshape(-1, 16, KERNEL * KERNEL))


class DigitsConv(DigitsTask):
    """Two convolutions and a linear layer, 1,258 parameters at 8 channels: mean cross-entropy in nats.

    GELU (Hendrycks and Gimpel 1606.08415, exact) is smooth, as expansions in the learning rate need it, and
    what the networks of 2502.02132 on MNIST have. Initialization is U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

    Raises:
        ConfigurationError: Values that are not allowed, all of them.
    """

    name = "digits_conv"
    hyperparameters = (TEST_SHARE, CHANNELS)

    def __init__(self, *, test_share: float = 0.1, channels: int = 8) -> None:
        require_valid(self.hyperparameters, {"test_share": test_share, "channels": channels})
        super().__init__(test_share=test_share)
        self.channels = channels
        self.images = torch.tensor(windows(load_digits_arrays()[0]))

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        first, second, features = KERNEL**2, 4 * self.channels, 8 * self.channels
        shapes = {
            "conv1": ((self.channels, first), first),
            "bias1": ((self.channels,), first),
            "conv2": ((2 * self.channels, second), second),
            "bias2": ((2 * self.channels,), second),
            "weight": ((NUM_CLASSES, features), features),
            "bias": ((NUM_CLASSES,), features),
        }
        return uniform_init(streams, shapes), {}

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        images, classes = batch
        first = gelu(linear(images, params["conv1"], params["bias1"]))
        blocks = first.reshape(len(images), 4, 4 * self.channels)
        second = gelu(linear(blocks, params["conv2"], params["bias2"]))
        features = second.reshape(len(images), 8 * self.channels)
        logits = taps.linear("output", features, params["weight"], params["bias"])
        return LossOutput(cross_entropy(logits, classes), logits, buffers)
