"""What of the half about memory claims and grids must agree on: thresholds, learning rates, betas.

Chosen on exploratory seeds: so that lr |c_n| stays below 0.3 at the threshold for most beta2, and the run up
to there holds several memories of beta1 = .99.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradlaw.claim import Scalar

EPS = 1e-8
"""Inside AdamW's root, in squared gradients. Gradients of these tasks are near 1e-3 a parameter, so that most
of them are well above its root, 1e-4; smaller, and each passage through zero breaks the expansion."""

BETAS = (
    (0.9, 0.9), (0.9, 0.99), (0.9, 0.999), (0.9, 0.9999),
    (0.99, 0.99), (0.99, 0.999), (0.99, 0.9999),
    (0.9, 0.5), (0.99, 0.97),
)  # fmt: skip
"""Pairs of AdamW, with beta2 at beta1 or above, then below."""

LION_BETAS = ((0.9, 0.9), (0.9, 0.99), (0.9, 0.999))

BATCHES = (16, 64, 256)
BATCH_BETAS = ((0.9, 0.9), (0.9, 0.99), (0.9, 0.999))
"""Mini-batches and their pairs; the full set is the grid of all pairs."""

TWIN_BETAS = (0.9, 0.95)
TWIN_EPS = 1e-5
"""Of the twins. At 1e-6 and below, and at beta2 = .999, the term of a coordinate whose gradient is small is
larger than its step: the twin with the term then goes elsewhere, or never crosses a threshold."""

PENALTY = 0.003
"""Of the one-norm under Lion. At 0.05, near lr |c_n(.9) - c_n(.999)|, hardly a trial crosses a threshold."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One task at one size.

    Attributes:
        task: Its name.
        values: Its hyperparameters.
        lr: Learning rate of the claims.
        steps: Steps at that learning rate.
        thresholds: Training losses at which trials are compared, falling; the last is meant for none.
        decisive: The one that claims about all rows at once read.
        early: The one that claims about mini-batches, twins and penalties read: mini-batches come no further.
        num_train: Training rows.
        beta1: Of the trend in beta2.
        eps, weight_decay: Of AdamW at full batch; eps of the perturbed one-norm too.
    """

    task: str
    values: Mapping[str, Scalar]
    lr: float
    steps: int
    thresholds: tuple[float, ...]
    decisive: float
    early: float
    num_train: int
    beta1: float = 0.9
    eps: float = EPS
    weight_decay: float = 0.0


SETTINGS: Mapping[str, Setting] = {
    item.task: item
    for item in (
        Setting(
            task="digits_mlp",
            values={"test_share": 0.5},
            lr=1e-3,
            steps=440,
            thresholds=(1.0, 0.5, 0.05),
            decisive=0.5,
            early=1.0,
            num_train=899,
        ),
        Setting(
            task="modular_addition",
            values={"modulus": 17, "width": 64, "train_share": 0.85},
            lr=1e-3,
            steps=480,
            thresholds=(0.5, 0.2, 1e-4),
            decisive=0.2,
            early=0.5,
            num_train=246,
        ),
        Setting(
            task="digits_conv",
            values={"test_share": 0.5},
            lr=1e-3,
            steps=600,
            thresholds=(1.0, 0.5, 1e-3),
            decisive=0.5,
            early=1.0,
            num_train=899,
        ),
    )
}

SOURCE = Setting(
    task="cifar10_resnet",
    values={"depth": 50},
    lr=10**-3.5,
    steps=6000,
    thresholds=(0.05,),
    decisive=0.05,
    early=0.05,
    num_train=50_000,
    beta1=0.99,
    eps=1e-6,
    weight_decay=0.005,
)
"""ResNet-50 on CIFAR-10, full batch: 2502.02132, section 6; its number of steps is not stated."""

SOURCE_BETAS = tuple((0.99, beta2) for beta2 in (0.99, 0.997, 0.999, 0.9999, 0.9, 0.97))
SOURCE_LION = (0.9, 0.99)
