"""Batches of one trial, drawn from its streams: with replacement, by epochs, or all rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.engine.oracle import Draw
from gradlaw.engine.streams import User, streams_for
from gradlaw.errors import ConfigurationError
from gradlaw.pack import Training
from gradlaw.random import Streams
from gradlaw.task import Split, Task


@dataclass(frozen=True)
class Sampler:
    """How the batches of a training program are drawn.

    Attributes:
        task: On the device of the streams.
        batch_size: Samples a step; 0: all rows.
        epochs: Whether batches run through a permutation of the rows, else they are independent.
    """

    task: Task
    batch_size: int
    epochs: bool

    def draw(self, streams: Streams, split: Split | None, order: Tensor, number: int) -> Draw:
        """Batch and noise of one draw.

        Args:
            streams: The trial's, at the step.
            split: The trial's rows; None for a stream.
            order: The epoch's permutation of the training rows, shape [num_train]; unused without epochs.
            number: 0 for the step's own batch; 1, 2, ... for fresh ones, drawn with replacement.
        """
        indices = self._indices(streams, split, order, number)
        batch = self.task.batch(indices, streams_for(streams, User.BATCH, draw=number))
        return Draw(batch, self.task.noise(batch, streams_for(streams, User.NOISE, draw=number)))

    def steps_per_epoch(self, num_train: int) -> int:
        """Whole batches in one pass through the rows."""
        return num_train // self.batch_size

    def order(self, streams: Streams, epoch: Tensor, num_train: int) -> Tensor:
        """The permutation of one epoch, shape [num_train]."""
        return streams_for(streams.at(step=epoch), User.EPOCH).permutation("order", num_train)

    def _indices(self, streams: Streams, split: Split | None, order: Tensor, number: int) -> Tensor:
        if split is None:
            return torch.arange(self.batch_size, device=streams.seed.device)
        num_train = split.train.shape[0]
        if number == 0 and self.batch_size == 0:
            return split.train
        if number == 0 and self.epochs:
            first = streams.step % self.steps_per_epoch(num_train) * self.batch_size
            return split.train[order[first + torch.arange(self.batch_size, device=order.device)]]
        size = self.batch_size or num_train
        drawn = streams_for(streams, User.ORDER, draw=number).integers("order", num_train, (size,))
        return split.train[drawn]


def sampler_of(training: Training, task: Task, num_train: int | None) -> Sampler:
    """The sampler of a program.

    Args:
        training: The program.
        task: Its task on the device.
        num_train: Number of training rows; None for a stream.

    Raises:
        ConfigurationError: If the rows do not allow the program's batches.
    """
    size, faults = training.batch_size, []
    if num_train is None and (size == 0 or training.sampling == "epoch"):
        got = f"batch_size {size}, sampling {training.sampling!r}"
        faults.append(f"{task.name} is a stream: got {got}; allowed: batch_size >= 1, sampling 'iid'")
    if num_train == 0:
        faults.append(f"{task.name}: got no training rows; allowed: at least 1")
    if num_train is not None and training.sampling == "epoch" and size > num_train:
        faults.append(f"batch_size: got {size} by epochs; allowed: at most the {num_train} training rows")
    if faults:
        raise ConfigurationError(faults)
    return Sampler(task, size, training.sampling == "epoch" and size > 0)
