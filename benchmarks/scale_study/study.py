"""A study of a chosen number of trials, whose curves are made up: for the benchmark of sizes alone."""

from __future__ import annotations

from gradlaw.probes.gradient_norm import GradientNorm
from gradlaw.probes.losses import FullLoss
from gradlaw.rules.sgd import SGD
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.modular_addition import ModularAddition

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PACK_WIDTH = 64
STEPS, LOG_EVERY = 990, 10
ROWS_A_TRIAL = STEPS // LOG_EVERY + 1
DECAYS = tuple(0.001 * number for number in range(10))


def preset(trials: int) -> Preset:
    """So many trials: a hundred configurations for each seed, of a thousand seeds at most."""
    seeds = max(10, min(1000, trials // 100))
    num_lrs = trials // (seeds * len(DECAYS))
    lrs = tuple(0.001 * 100.0 ** (number / (num_lrs - 1)) for number in range(num_lrs))
    grid = Grid(
        task=ModularAddition,
        rule=SGD,
        values={"lr": lrs, "weight_decay": DECAYS},
        steps=STEPS,
        log_every=LOG_EVERY,
        probes=(FullLoss(), GradientNorm()),
        pack_width=PACK_WIDTH,
    )
    return Preset(doc=f"{trials:,} trials", grids=(grid,), seeds=seeds)


STUDY = Study(
    name="scale_study",
    question="How long does everything beside training take?",
    source="docs/scale.md",
    presets={f"trials_{trials}": preset(trials) for trials in SIZES},
)
