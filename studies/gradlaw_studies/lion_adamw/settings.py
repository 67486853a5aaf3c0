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
    (0.9, 0.5), (0.9, 0.8), (0.99, 0.9), (0.99, 0.97),
)  # fmt: skip
"""Pairs of AdamW, with beta2 at beta1 or above, then below."""

LION_BETAS = ((0.9, 0.5), (0.9, 0.9), (0.9, 0.99), (0.9, 0.999))

BATCHES = (16, 64, 256)
"""Mini-batch sizes; the full set is the grid of all betas."""

PENALTY = 0.05
"""Of the one-norm under Lion: of the size of lr |c_n(.9) - c_n(.999)| at the thresholds."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One task at one size.

    Attributes:
        task: Its name.
        values: Its hyperparameters.
        lr: Learning rate of the claims.
        steps: Steps at that learning rate.
        thresholds: Training losses at which trials are compared, falling.
        decisive: The one that the claims read.
        num_train: Training rows.
    """

    task: str
    values: Mapping[str, Scalar]
    lr: float
    steps: int
    thresholds: tuple[float, ...]
    decisive: float
    num_train: int


SETTINGS: Mapping[str, Setting] = {
    item.task: item
    for item in (
        Setting(
            task="digits_mlp",
            values={"test_share": 0.5},
            lr=1e-3,
            steps=620,
            thresholds=(1.0, 0.5, 0.25, 0.05),
            decisive=0.25,
            num_train=899,
        ),
        Setting(
            task="modular_addition",
            values={"modulus": 17, "width": 64, "train_share": 0.85},
            lr=1e-3,
            steps=500,
            thresholds=(0.5, 0.2, 0.1, 1e-4),
            decisive=0.1,
            num_train=246,
        ),
        Setting(
            task="digits_conv",
            values={"test_share": 0.5},
            lr=1e-3,
            steps=700,
            thresholds=(1.0, 0.5, 0.25),
            decisive=0.25,
            num_train=899,
        ),
    )
}
