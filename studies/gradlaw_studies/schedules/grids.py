"""Grids of the three parts: how large a lr can be, how it should fall, how it goes with the batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradlaw.ending import Target
from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.noise_scale import NoiseScale
from gradlaw.probes.preconditioned_sharpness import PreconditionedSharpness
from gradlaw.probes.sharpness import Sharpness
from gradlaw.rules.adam import Adam
from gradlaw.rules.sgd import SGD
from gradlaw.schedules import (
    Constant,
    CosineDecay,
    InverseTimeDecay,
    LinearWarmup,
    MomentWarmup,
    Schedule,
    StepDecay,
)
from gradlaw.space import Edge
from gradlaw.study import Grid
from gradlaw.tasks.digits import DigitsMLP, DigitsSoftmax
from gradlaw_studies.schedules.law import CHANCE, scaled
from gradlaw_studies.schedules.law import Adam as AdamSettings
from gradlaw_studies.schedules.tasks import DigitsSquares

Values = dict[str, Scalar | tuple[Scalar, ...]]
Point = dict[str, Scalar]

HELD_OUT = 0.8
"""Of the rows, where curvature is looked at: full-batch gradients of 359 digits cost a fifth of all."""

ITERATIONS = 10
"""Hessian-vector products a sharpness; its residual is stored beside it."""


def edges(warmups: Sequence[int], *, beta2: float, hold: int, edge: Edge) -> tuple[Grid, ...]:
    """The largest lr that ends better than chance, full batch, for SGD and Adam and on a quadratic.

    Args:
        warmups: Lengths of linear warm-up in steps; the longest is what the factor stands against.
        beta2: Of the factor sqrt(1 - beta2^t), and of Adam.
        hold: Steps after warm-up, the same for all lengths.
        edge: Of the networks; the quadratic has its own ends about 2 over its curvature.
    """
    longest = max(warmups)
    networks = Grid(
        task=DigitsMLP,
        values={"test_share": HELD_OUT, "lr": edge},
        log_every=longest + hold,
        probes=(FullLoss(),),
        pack_width=256,
    )
    points = tuple[Point, ...]({"warmup_steps": length, "steps": length + hold} for length in warmups)
    linear = replace(networks, schedule=LinearWarmup, points=points)
    factor = replace(networks, schedule=MomentWarmup, points=({"beta2": beta2, "steps": longest + hold},))
    quadratic = replace(
        linear,
        task=DigitsSquares,
        points=tuple(point for point in points if point["warmup_steps"] in (0, longest)),
        values={"test_share": HELD_OUT, "lr": replace(edge, low=0.01, high=1.0, fails=BEYOND_ZERO)},
        probes=(FullLoss(), Sharpness(num_iterations=20)),
    )
    return (
        linear,
        factor,
        replace(linear, rule=Adam, values={**networks.values, "beta2": beta2}),
        replace(factor, rule=Adam),
        quadratic,
    )


BEYOND_CHANCE = Target(metric="train_loss", value=CHANCE, direction="above")
BEYOND_ZERO = Target(metric="train_loss", value=0.5, direction="above")
"""Losses of a network that knows nothing: about where training starts."""


def paths(warmups: Sequence[int], *, beta2: float, after: int, log_every: int) -> tuple[Grid, ...]:
    """Sharpness along training at one peak lr for each rule, and for SGD at a sixteenth of it.

    The peaks are such that training without warm-up starts beyond what is stable; all runs are equally long.
    """
    steps = max(warmups) + after
    common: Values = {"test_share": HELD_OUT, "warmup_steps": tuple(warmups)}
    grid = Grid(
        task=DigitsMLP,
        schedule=LinearWarmup,
        steps=steps,
        log_every=log_every,
        pack_width=64,
    )
    sharpness = (FullLoss(), Sharpness(num_iterations=ITERATIONS))
    scaled_sharpness = (FullLoss(), PreconditionedSharpness(num_iterations=ITERATIONS))
    return (
        replace(grid, values={**common, "lr": SGD_PEAK}, probes=sharpness),
        replace(grid, values={**common, "lr": SGD_PEAK / 16, "warmup_steps": 0}, probes=sharpness),
        replace(grid, rule=Adam, values={**common, "lr": ADAM_PEAK, "beta2": beta2}, probes=scaled_sharpness),
    )


SGD_PEAK = 3.0
"""2 / lr is then 0.67: networks start with a sharpness of about 1.1, and it rises with training."""

ADAM_PEAK = 1.28


def decays(*, peaks: Sequence[float], steps: int, batch_size: int) -> tuple[Grid, ...]:
    """Five shapes of the lr at each peak: mini-batch SGD on a network and on a strongly convex loss.

    One over t halves the lr in a tenth of training; steps divide it by ten after each third; the lr that
    rises all the time is a control.
    """
    shapes: dict[type[Schedule], Point] = {
        Constant: {},
        CosineDecay: {},
        StepDecay: {"decay_every": -(-steps // 3)},
        InverseTimeDecay: {"timescale": max(1, steps // 10)},
        LinearWarmup: {"warmup_steps": steps},
    }
    tasks: dict[type[DigitsMLP | DigitsSoftmax], Point] = {DigitsMLP: {}, DigitsSoftmax: {"l2": 0.01}}
    return tuple(
        Grid(
            task=task,
            rule=SGD,
            schedule=schedule,
            values={"lr": tuple(peaks), "batch_size": batch_size, **own, **shape},
            steps=steps,
            log_every=max(1, steps // 20),
            probes=(FullLoss(),),
            pack_width=128,
        )
        for task, own in tasks.items()
        for schedule, shape in shapes.items()
    )


def scalings(
    *, factors: Sequence[int], batch_size: int, examples: int, sgd_lr: float, adam: AdamSettings, rows: int
) -> tuple[Grid, ...]:
    """Every scaling rule at every factor of the batch size, all on as many examples.

    Args:
        factors: Of the batch size; 1 is the base, trained on batches with and without replacement.
        batch_size: Of the base.
        examples: Of a run; a multiple of ``batch_size * factor * rows`` for every factor.
        sgd_lr: Of the base of SGD.
        adam: The base of Adam.
        rows: Of ``metrics`` a run, after the first: those of all factors are at the same examples.
    """
    grids = []
    for factor in (1, *factors):
        steps = examples // (batch_size * factor)
        common = Grid(
            task=DigitsMLP,
            values={
                "batch_size": batch_size * factor,
                "sampling": ("iid", "epoch") if factor == 1 else "iid",
            },
            steps=steps,
            log_every=steps // rows,
            probes=(FullLoss(), NoiseScale(small=batch_size)),
            pack_width=128,
        )
        grids.append(replace(common, points=sgd_points(sgd_lr, factor)))
        grids.append(replace(common, rule=Adam, points=adam_points(adam, factor)))
    return tuple(grids)


def sgd_points(lr: float, factor: int) -> tuple[Point, ...]:
    """No scaling, the square root, the factor itself, and its square as a control."""
    return tuple(
        {"lr": value} for value in dict.fromkeys(lr * factor**power for power in (0.0, 0.5, 1.0, 2.0))
    )


def adam_points(base: AdamSettings, factor: int) -> tuple[Point, ...]:
    """No scaling, the root, the factor and its square; and the first three with betas and eps scaled."""
    rules = [(power, memory) for memory in (False, True) for power in (0.0, 0.5, 1.0)] + [(2.0, False)]
    found = dict.fromkeys(scaled(base, factor, power=power, memory=memory) for power, memory in rules)
    return tuple(item._asdict() for item in found)
