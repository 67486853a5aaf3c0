"""Tasks that ship with the platform, one family a file. Studies bring their own."""

from __future__ import annotations

from gradlaw.task import Task
from gradlaw.tasks.digits import DigitsMLP, DigitsMLPBatchNorm, DigitsSoftmax
from gradlaw.tasks.digits_conv import DigitsConv
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw.tasks.resnet import CIFAR10ResNet

TASKS: dict[str, type[Task]] = {
    item.name: item
    for item in (DigitsSoftmax, DigitsMLP, DigitsMLPBatchNorm, DigitsConv, ModularAddition, CIFAR10ResNet)
}
"""By name."""
