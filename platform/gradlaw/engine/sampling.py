"""Batches of one trial, drawn from its streams: with replacement, by epochs, or all rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradlaw.engine.oracle import Draw
from gradlaw.engine.streams import User, streams_for
from gradlaw.errors import ConfigurationError
from gradlaw.pack import Training
from gradlaw.random import Streams
from gradlaw.task import Split, Task

_BLOCK_STEPS, _BLOCK_ROWS = 64, 1 << 16  # drawn at once: many steps cost hardly more calls than one


@dataclass(frozen=True)
class Sampler:
    """How the batches of a training program are drawn.

    The rows of many steps are drawn at once, as a block: an epoch, or a run of independent batches.

    Attributes:
        task: On the device of the streams.
        batch_size: Samples a step; 0: all rows.
        block_steps: Steps in a block, >= 1; 0 where there are no blocks: all rows, a stream, or independent
            batches each drawn in its own step.
        epochs: Whether a block is a permutation of the rows, else batches are independent.
    """

    task: Task
    batch_size: int
    block_steps: int
    epochs: bool

    def without_blocks(self) -> Sampler:
        """The same batches, each drawn in its own step: cheaper where a step is compiled; epochs stay."""
        return self if self.epochs else replace(self, block_steps=0)

    def block(self, streams: Streams, number: Tensor, num_train: int) -> Tensor:
        """Positions among the training rows for the steps of a block, shape [block_steps, batch_size].

        Args:
            streams: The trial's.
            number: Block ``number`` begins at step ``number * block_steps``; a scalar int64.
            num_train: Number of training rows.
        """
        shape = (self.block_steps, self.batch_size)
        if self.epochs:
            shuffled = streams_for(streams.at(step=number), User.EPOCH).permutation("order", num_train)
            return shuffled[: self.block_steps * self.batch_size].reshape(shape)
        steps = number * self.block_steps + torch.arange(self.block_steps, device=number.device)
        return torch.vmap(lambda step: self._independent(streams.at(step=step), num_train, 0))(steps)

    def draw(self, streams: Streams, split: Split | None, block: Tensor, number: int) -> Draw:
        """Batch and noise of one draw.

        Args:
            streams: The trial's, at the step.
            split: The trial's rows; None for a stream.
            block: The block that holds the step.
            number: 0 for the step's own batch; 1, 2, ... for fresh ones, drawn with replacement.
        """
        indices = self._indices(streams, split, block, number)
        batch = self.task.batch(indices, streams_for(streams, User.BATCH, draw=number))
        return Draw(batch, self.task.noise(batch, streams_for(streams, User.NOISE, draw=number)))

    def _indices(self, streams: Streams, split: Split | None, block: Tensor, number: int) -> Tensor:
        if split is None:
            return torch.arange(self.batch_size, device=streams.seed.device)
        if number > 0:
            return split.train[self._independent(streams, split.train.shape[0], number)]
        if self.batch_size == 0:
            return split.train
        if self.block_steps == 0:
            return split.train[self._independent(streams, split.train.shape[0], 0)]
        # a scalar index would be taken to the host; a vector of one is not
        position = (streams.step % self.block_steps).reshape(1)
        return split.train[block.index_select(0, position)[0]]

    def _independent(self, streams: Streams, num_train: int, draw: int) -> Tensor:
        size = self.batch_size or num_train
        return streams_for(streams, User.ORDER, draw=draw).integers("order", num_train, (size,))


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
    epochs = training.sampling == "epoch" and size > 0
    if num_train is None or size == 0:
        return Sampler(task, size, 0, epochs=False)
    steps = num_train // size if epochs else max(1, min(_BLOCK_STEPS, _BLOCK_ROWS // size))
    return Sampler(task, size, steps, epochs)
