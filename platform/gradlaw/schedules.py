"""Learning-rate schedules: pure functions of step and hyperparameters, for one trial.

A step ``t`` counts from 0. Every function works on 0-d tensors, so a pack runs it once for all members.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from gradlaw.hyperparameter import Hyperparameter, Scalar


class Schedule(ABC):
    """A learning-rate schedule: the lr at step t."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]] = ()

    @abstractmethod
    def lr(self, t: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        """The lr at step ``t`` (scalar int64) from the trial's hyperparameters (scalars, ``lr`` the peak)."""

    def faults(self, hp: Mapping[str, Scalar], steps: int) -> list[str]:
        """What is impossible in one trial's schedule, a line a fault; none by default."""
        del hp, steps
        return []


class Constant(Schedule):
    """lr(t) = lr."""

    name = "constant"

    def lr(self, t: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        del t
        return hp["lr"]


class LinearWarmup(Schedule):
    """lr(t) = lr * min(1, (t + 1) / warmup_steps), and lr without warm-up (Goyal et al. 1706.02677, 2.2)."""

    name = "linear_warmup"
    hyperparameters = (Hyperparameter(name="warmup_steps", default=0, low=0, doc="steps to the peak lr"),)

    def lr(self, t: Tensor, hp: Mapping[str, Tensor]) -> Tensor:
        dtype = hp["lr"].dtype  # whole numbers would divide in float32, whatever the trial's dtype
        share = (t + 1).to(dtype) / torch.clamp(hp["warmup_steps"], min=1).to(dtype)
        return hp["lr"] * torch.clamp(share, max=1.0)

    def faults(self, hp: Mapping[str, Scalar], steps: int) -> list[str]:
        warmup = hp["warmup_steps"]
        if isinstance(warmup, (int, float)) and warmup > steps:
            return [
                f"warmup_steps: got {warmup}, allowed 0 .. steps = {steps} (a warm-up longer than training)"
            ]
        return []


SCHEDULES: dict[str, type[Schedule]] = {item.name: item for item in (Constant, LinearWarmup)}
