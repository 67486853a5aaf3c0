"""The study: one network under two rules at many batch sizes, each at many lrs; descents; and a timing."""

from __future__ import annotations

from gradlaw.ending import Target
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.noise_scale import NoiseScale
from gradlaw.rules.adam import Adam
from gradlaw.rules.sgd import SGD
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.digits import DigitsMLP
from gradlaw_studies.critical_batch.timing import StepTime
from gradlaw_studies.critical_batch.tuning import Tuning

TARGET = Target(metric="train_loss", value=0.1)
"""Nats over all training rows, from 2.3 at the start: some 98% of them are then right."""

TUNINGS = (
    Tuning(rule=SGD, top=1.7, bend=20.0, power=1.0, floor=95.0, critical=45.0),
    Tuning(rule=Adam, top=0.11, bend=30.0, power=0.9, floor=26.0, critical=130.0),
)
"""From four exploratory seeds."""

EPOCHS = 2
NUM_TRAIN = 1617
DESCENTS: dict[int, tuple[float, ...]] = {
    1: (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8),
    32: (0.125, 0.25, 0.5, 1.0, 2.0, 4.0),
    0: (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
}
"""lrs of single-sample, mini-batch and batch descent (0: all rows) by epochs."""


def tuned_grids(batch_sizes: tuple[int, ...], *, num: int, ratio: float, pack_width: int) -> tuple[Grid, ...]:
    """One grid a rule and batch size: lrs about the expected one, until the target or the horizon."""
    return tuple(
        Grid(
            task=DigitsMLP,
            rule=tuning.rule,
            values={"batch_size": size, "lr": tuning.lrs(size, num=num, ratio=ratio)},
            steps=tuning.horizon(size),
            log_every=tuning.log_every(size),
            probes=(FullLoss(), NoiseScale()),
            pack_width=pack_width,
            target=TARGET,
        )
        for tuning in TUNINGS
        for size in batch_sizes
    )


def descent_grids(*, pack_width: int) -> tuple[Grid, ...]:
    """Two epochs of single-sample and mini-batch descent, and as many steps of batch as of mini-batch.

    Losses are logged where the budgets end: after 98 steps each, and after 3,234 examples, which are 3,234,
    101 and 2 steps.
    """
    steps = {1: EPOCHS * NUM_TRAIN, 32: EPOCHS * NUM_TRAIN // 32, 0: EPOCHS * NUM_TRAIN // 32}
    every = {1: 98, 32: 1, 0: 1}
    return tuple(
        Grid(
            task=DigitsMLP,
            values={"batch_size": size, "lr": lrs, "sampling": "epoch"},
            steps=steps[size],
            log_every=every[size],
            probes=(FullLoss(),),
            pack_width=pack_width,
        )
        for size, lrs in DESCENTS.items()
    )


SMOKE = Preset(
    doc="two seeds, two batch sizes, one lr: seconds, tests the plumbing",
    grids=(
        *(
            Grid(
                task=DigitsMLP,
                rule=tuning.rule,
                values={"batch_size": (256, 512), "lr": tuning.lrs(512, num=2, ratio=1.5)},
                steps=6,
                log_every=2,
                probes=(FullLoss(), NoiseScale()),
                target=TARGET,
            )
            for tuning in TUNINGS
        ),
        Grid(task=StepTime, values={"smallest": 16, "largest": 32, "num_rounds": 3, "hidden_units": 16}),
    ),
    seeds=2,
    decides=False,
)

DEMO = Preset(
    doc="six batch sizes to 2,048, five lrs each, ten seeds: minutes on two cores",
    grids=(
        *tuned_grids((2, 8, 32, 128, 512, 2048), num=5, ratio=1.5, pack_width=50),
        *descent_grids(pack_width=64),
        Grid(task=StepTime, pack_width=10),
    ),
    seeds=10,
)

PAPER = Preset(
    doc="every power of two from 1 to 4,096, nine lrs each, thirty seeds: hours on two cores, estimated",
    grids=(
        *tuned_grids(tuple(2**power for power in range(13)), num=9, ratio=2**0.5, pack_width=64),
        *descent_grids(pack_width=64),
        Grid(task=StepTime, values={"hidden_units": (64, 256, 1024), "num_rounds": 101}, pack_width=10),
    ),
    seeds=30,
)

STUDY = Study(
    name="critical_batch",
    question="How does the batch size trade steps against examples, and is a power of two faster?",
    source="McCandlish et al., arXiv 1812.06162; Shallue et al., arXiv 1811.03600",
    presets={"smoke": SMOKE, "demo": DEMO, "paper": PAPER},
)
