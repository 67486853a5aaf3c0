"""The study: four tasks whose noise is measured, and the loss floor of a fifth."""

from __future__ import annotations

from dataclasses import replace

from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.rules.adam import Adam
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.digits import DigitsMLP, DigitsMLPBatchNorm, DigitsSoftmax
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.sqrt_b.probes import BatchNormLaw, LossMinimum, SquareRootLaw

Axis = Scalar | tuple[Scalar, ...]


def noise_grids(
    law: SquareRootLaw, *, steps: int, mlp_width: Axis, modular_width: int, pack_width: int
) -> tuple[Grid, ...]:
    """Softmax, MLP and modular addition with the law measured, and batch norm as a control.

    N is 1,617 for the digits and 476 for addition modulo 23. Addition is trained by Adam at the lr of its
    source (arXiv 2410.01779, public code); noise is that of gradients, whatever the rule makes of them.
    """
    digits: dict[str, Axis] = {"batch_size": 32, "lr": 0.5}
    mlp: dict[str, Axis] = {**digits, "width": mlp_width}
    batch_norm = BatchNormLaw(num_draws=min(512, law.num_draws))
    addition: dict[str, Axis] = {"width": modular_width, "batch_size": 64, "lr": 0.01}
    grids = (
        Grid(task=DigitsSoftmax, values=digits, probes=(law,)),
        Grid(task=DigitsMLP, values=mlp, probes=(law,)),
        Grid(task=ModularAddition, rule=Adam, values=addition, probes=(law,)),
        Grid(task=DigitsMLPBatchNorm, values=mlp, probes=(batch_norm,)),
    )
    return tuple(replace(grid, steps=steps, log_every=steps, pack_width=pack_width) for grid in grids)


def floor_grid(*, steps: int, batch_sizes: Axis, lrs: Axis) -> Grid:
    """Constant-lr SGD on strongly convex softmax regression, iid and by epochs.

    With l2 = 0.2 the slowest direction forgets its start as exp(-lr l2 t): at the smallest lr of the
    presets that decide, half of training is at least five such times, and lr times the largest curvature
    (below 2) stays well below 1.
    """
    return Grid(
        task=DigitsSoftmax,
        values={"l2": 0.2, "lr": lrs, "batch_size": batch_sizes, "sampling": ("iid", "epoch")},
        steps=steps,
        log_every=max(1, steps // 50),
        probes=(FullLoss(), LossMinimum()),
    )


SMOKE = Preset(
    doc="two seeds, a few steps and draws: seconds, tests the plumbing",
    grids=(
        *noise_grids(
            SquareRootLaw(num_draws=64, kurtosis_draws=1000, kurtosis_max_batch=4, num_partitions=4),
            steps=4,
            mlp_width=4,
            modular_width=8,
            pack_width=2,
        ),
        floor_grid(steps=8, batch_sizes=(32, 128), lrs=(0.1, 0.2)),
    ),
    seeds=2,
    decides=False,
)

DEMO = Preset(
    doc="ten seeds, 2,048 draws a batch size: two minutes on two cores",
    grids=(
        *noise_grids(SquareRootLaw(), steps=300, mlp_width=16, modular_width=24, pack_width=5),
        floor_grid(steps=1000, batch_sizes=(8, 32, 128), lrs=(0.05, 0.1, 0.2)),
    ),
    seeds=10,
)

PAPER = Preset(
    doc="forty seeds, 10,000 draws a batch size, wider MLPs, more steps: an hour on two cores, estimated",
    grids=(
        *noise_grids(
            SquareRootLaw(num_draws=10_000, kurtosis_draws=400_000, num_partitions=1024, num_directions=8),
            steps=1000,
            mlp_width=(16, 64),
            modular_width=64,
            pack_width=5,
        ),
        floor_grid(steps=2000, batch_sizes=(4, 8, 16, 32, 64, 128), lrs=(0.025, 0.05, 0.1, 0.2)),
    ),
    seeds=40,
)

STUDY = Study(
    name="sqrt_b",
    question="Does mini-batch noise fall as the square root of the batch size?",
    source="The std of a mean of B samples, sigma / sqrt(B); noise scale: arXiv 1812.06162",
    presets={"smoke": SMOKE, "demo": DEMO, "paper": PAPER},
)
