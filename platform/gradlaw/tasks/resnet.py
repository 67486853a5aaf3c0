"""Bottleneck residual networks on CIFAR-10.

Shapes: B images; C channels of a map of S x S.
    pixels      [B, 3, 32, 32]      uint8, made numbers of mean 0 and deviation 1 by channel
    stem        [B, w, 32, 32]      3 x 3 convolution, no pooling; w = width
    stage k     [B, 4 w 2^k, S, S]  k = 0 .. 3, S = 32 / 2^k
    outputs     [B, 10]             linear in the means over the last map

A block is 1 x 1, 3 x 3 and 1 x 1 convolutions of w 2^k, w 2^k and 4 w 2^k channels, each followed by a norm.
The first block of a stage has a 1 x 1 convolution with a norm in the place of the identity, and stride 2 in
its 3 x 3 convolution, but for stage 0. References: He, Zhang, Ren, Sun 1512.03385 (table 1: ResNet-50 has
3, 4, 6, 3 blocks) and 1502.01852 (initialization).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy, group_norm

from gradlaw.errors import DataError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.random import Streams
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Split, Taps, Task
from gradlaw.tasks.cifar10 import NUM_CLASSES, cifar10_folder, read_cifar10
from gradlaw.tasks.common import array_digest, require_valid, uniform_init

BLOCKS = {14: (1, 1, 1, 1), 26: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of each stage by depth: three layers a block, the stem and the last."""
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of red, green and blue over the 50,000 images to train on, pixels in [0, 1]."""
EXPANSION, GROUPS = 4, 32
"""Channels of a block's end over those inside; groups of a norm, the default of Wu and He 1803.08494."""
_EVALUATED_AT_ONCE = 1_000
_FILLS_A_DEVICE = 1_000_000


class Convolution(NamedTuple):
    """A convolution without bias and the norm after it; ``name`` leads the names of its parameters."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1

    def apply(self, params: Params, x: Tensor) -> Tensor:
        """``x`` [B, inputs, S, S] convolved and normalized, [B, outputs, S / stride, S / stride]."""
        out = conv2d(x, params[f"{self.name}.weight"], stride=self.stride, padding=self.kernel // 2)
        scale, shift = params[f"{self.name}.scale"], params[f"{self.name}.shift"]
        return group_norm(out, math.gcd(GROUPS, self.outputs), scale, shift)


class Block(NamedTuple):
    """A residual block; ``across`` is None where the identity is added."""

    inner: tuple[Convolution, Convolution, Convolution]
    across: Convolution | None

    def apply(self, params: Params, x: Tensor) -> Tensor:
        """The block's output, of as many channels and pixels as its last convolution's."""
        first, second, third = self.inner
        out = torch.relu(first.apply(params, x))
        out = torch.relu(second.apply(params, out))
        return torch.relu(third.apply(params, out) + (self.across.apply(params, x) if self.across else x))


class CIFAR10ResNet(Task):
    """A residual network with group norm, 23,520,842 parameters at depth 50: mean cross-entropy in nats.

    The norm is over groups of an image's own channels. With batch norm, as in 1512.03385, the loss would be
    no mean over samples: a batch taken in parts would have another loss, and theories of the mean's gradient
    would not be about it. There is no augmentation. The published test images are held out by every seed.
    Convolutions start normal with variance 2 / fan_out, scales at 1, shifts at 0, the last layer in
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)). From a million parameters on, trials run one at a time: such a network
    fills a device by itself. Smaller ones are batched; their steps take minutes to compile, so that hours of
    work pay for it and less is better run with ``--compile never``. Evaluation is by 1,000 images, so that
    not all need to be in memory at once.

    A task sent to another process leaves its data behind: they are read there, and must be the same.

    Raises:
        ConfigurationError: Values that are not allowed, all of them.
        DataError: The data are not there, or are damaged.
    """

    name = "cifar10_resnet"
    hyperparameters = (
        Hyperparameter(name="depth", default=50, choices=tuple(BLOCKS), structural=True, doc="layers"),
        Hyperparameter(name="width", default=64, low=1, structural=True, doc="channels of the stem"),
        Hyperparameter(
            name="train_rows", default=50_000, low=1, structural=True, doc="images to train on, the first"
        ),
        Hyperparameter(name="test_rows", default=10_000, low=1, structural=True, doc="images held out"),
    )

    def __init__(
        self, *, depth: int = 50, width: int = 64, train_rows: int = 50_000, test_rows: int = 10_000
    ) -> None:
        self._given: dict[str, Scalar] = {"depth": depth, "width": width}
        self._given |= {"train_rows": train_rows, "test_rows": test_rows}
        require_valid(self.hyperparameters, self._given)
        self.depth, self.width = depth, width
        self.train_rows, self.num_rows = train_rows, train_rows + test_rows
        self._blocks = tuple(_blocks(depth, width))
        self._stem = Convolution("stem", 3, width, 3)
        self._features = self._blocks[-1].inner[-1].outputs
        data = read_cifar10(cifar10_folder(), train_rows, test_rows)
        self.pixels = torch.cat([torch.from_numpy(part.pixels) for part in data])
        self.classes = torch.cat([torch.from_numpy(part.classes) for part in data])
        self._scale = torch.tensor((MEAN, DEVIATION), dtype=torch.float64).reshape(2, 3, 1, 1)
        self._digest = array_digest(*data.train, *data.test)
        self.vmappable = self.num_parameters() < _FILLS_A_DEVICE

    def num_parameters(self) -> int:
        """Numbers that are trained."""
        of_convolutions = sum(
            item.outputs * (item.inputs * item.kernel**2 + 2) for item in self._convolutions()
        )
        return of_convolutions + NUM_CLASSES * (self._features + 1)

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        params: Params = {}
        for part, (name, inputs, outputs, kernel, _) in enumerate(self._convolutions()):
            deviation = math.sqrt(2.0 / (outputs * kernel**2))
            drawn = streams.at(part=part + 1).normal("init", (outputs, inputs, kernel, kernel))
            params[f"{name}.weight"] = deviation * drawn
            ones = torch.ones(outputs, dtype=torch.float64, device=drawn.device)
            params |= {f"{name}.scale": ones, f"{name}.shift": torch.zeros_like(ones)}
        last = {"weight": (NUM_CLASSES, self._features), "bias": (NUM_CLASSES,)}
        return params | uniform_init(streams, {name: (last[name], self._features) for name in last}), {}

    def split(self, streams: Streams) -> Split:
        """The published one, whatever the seed."""
        rows = torch.arange(len(self.classes), device=streams.seed.device)
        return Split(rows[: self.train_rows], rows[self.train_rows :])

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        del streams
        return self.pixels[indices], self.classes[indices]

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        del noise
        pixels, classes = batch
        at_once = len(pixels) if taps.train else _EVALUATED_AT_ONCE
        features = torch.cat([self._seen(params, part) for part in pixels.split(at_once)])
        logits = taps.linear("output", features, params["weight"], params["bias"])
        return LossOutput(cross_entropy(logits, classes), logits, buffers)

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        correct = outputs.argmax(dim=-1) == batch[1]
        return {"accuracy": correct.to(outputs.dtype).mean()}

    def data_digest(self) -> str:
        return self._digest

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """With its data on the device; pixels stay bytes until they are used."""
        moved = object.__new__(type(self))  # a copy would read the data again
        vars(moved).update(vars(self))
        moved.pixels, moved.classes = self.pixels.to(device), self.classes.to(device)
        moved._scale = self._scale.to(device, dtype)  # here, since a step would wait for the copy
        return moved

    def __reduce__(self) -> tuple[Callable[..., Task], tuple[type[Self], Mapping[str, Scalar], str]]:
        return _read_again, (type(self), self._given, self._digest)

    def _seen(self, params: Params, pixels: Tensor) -> Tensor:
        """What the last layer sees of images, [B, features]."""
        like = params["weight"]
        mean, deviation = self._scale.to(like.dtype)
        x = torch.relu(self._stem.apply(params, (pixels.to(like.dtype) / 255.0 - mean) / deviation))
        for block in self._blocks:
            x = block.apply(params, x)
        return x.mean(dim=(2, 3))

    def _convolutions(self) -> Iterator[Convolution]:
        yield self._stem
        for inner, across in self._blocks:
            yield from inner
            if across:
                yield across


def _blocks(depth: int, width: int) -> Iterator[Block]:
    inputs = width
    for stage, count in enumerate(BLOCKS[depth]):
        inside = width * 2**stage
        outputs = EXPANSION * inside
        for number in range(count):
            name, first = f"stage{stage}.block{number}", number == 0
            stride = 2 if first and stage > 0 else 1
            inner = (
                Convolution(f"{name}.a", inputs, inside, 1),
                Convolution(f"{name}.b", inside, inside, 3, stride),
                Convolution(f"{name}.c", inside, outputs, 1),
            )
            yield Block(inner, Convolution(f"{name}.across", inputs, outputs, 1, stride) if first else None)
            inputs = outputs


def _read_again(kind: type[CIFAR10ResNet], given: Mapping[str, Any], digest: str) -> CIFAR10ResNet:
    """The task in another process, with the data of its own."""
    task = kind(**given)
    if task.data_digest() != digest:
        msg = f"{kind.name}: got other data in {cifar10_folder()} than where the trials were planned"
        raise DataError(msg)
    return task
