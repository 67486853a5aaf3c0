"""The study: AdamW's two memories on either side of each other, Lion's, their twins, and batch sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gradlaw.ending import Target
from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.noise_scale import NoiseScale
from gradlaw.rules.adam import AdamW
from gradlaw.rules.sign import Lion
from gradlaw.rules.twins import AdamWTwin, LionPenalized
from gradlaw.study import Grid, Preset, Study
from gradlaw.task import Task
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.tasks.digits_conv import DigitsConv
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw.tasks.resnet import CIFAR10ResNet
from gradlaw_studies.lion_adamw.contest import CONTEST_PRESETS, SMOKE_GRIDS, SMOKE_SEARCHES
from gradlaw_studies.lion_adamw.probes import MatchedLoss
from gradlaw_studies.lion_adamw.settings import (
    BATCH_BETAS,
    BATCHES,
    BETAS,
    LION_BETAS,
    PENALTY,
    SETTINGS,
    SOURCE,
    SOURCE_BETAS,
    SOURCE_LION,
    TWIN_BETAS,
    TWIN_EPS,
    Setting,
)

TASKS: Mapping[str, type[Task]] = {
    task.name: task for task in (DigitsMLP, ModularAddition, DigitsConv, CIFAR10ResNet)
}

Point = dict[str, Scalar]


def full_batch(setting: Setting, lrs: Sequence[float], betas: Sequence[tuple[float, float]]) -> Grid:
    """AdamW with eps inside the root on all training rows; steps in inverse proportion to the lr."""
    points: list[Point] = [
        {"lr": lr, "beta1": beta1, "beta2": beta2, "steps": round(setting.steps * setting.lr / lr)}
        for lr in lrs
        for beta1, beta2 in betas
    ]
    return Grid(
        task=TASKS[setting.task],
        rule=AdamW,
        points=tuple(points),
        values={
            **setting.values,
            "eps_inside": True,
            "eps": setting.eps,
            "weight_decay": setting.weight_decay,
        },
        log_every=2,
        probes=(FullLoss(), MatchedLoss(thresholds=setting.thresholds, eps=setting.eps)),
        pack_width=48,
    )


def lion(setting: Setting, betas: Sequence[tuple[float, float]] = LION_BETAS) -> Grid:
    """Lion's own grid: beta2 from beta1 on."""
    points: list[Point] = [
        {"lr": setting.lr, "beta1": beta1, "beta2": beta2, "steps": setting.steps} for beta1, beta2 in betas
    ]
    values = {**setting.values, "weight_decay": setting.weight_decay}
    return replace(full_batch(setting, (), ()), rule=Lion, points=tuple(points), values=values)


def batches(setting: Setting, sizes: Sequence[int] = BATCHES) -> Grid:
    """Mini-batches at beta1 = .9, with the noise scale beside them."""
    base = full_batch(setting, (setting.lr,), BATCH_BETAS)
    return replace(
        base,
        values={**base.values, "batch_size": tuple(sizes)},
        log_every=8,
        probes=(*base.probes, NoiseScale()),
    )


def twins(setting: Setting) -> Grid:
    """AdamW and its memoryless twins, with and without the term, as arms of one pack."""
    arms: list[Point] = [
        {"memory": memory, "correction": correction}
        for memory, correction in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
    ]
    beta1, beta2 = TWIN_BETAS
    values = {"lr": setting.lr, "beta1": beta1, "beta2": beta2, "eps": TWIN_EPS, "weight_decay": 0.0}
    return replace(
        full_batch(setting, (), ()),
        rule=AdamWTwin,
        points=tuple(arms),
        values={**setting.values, **values},
        steps=round(0.6 * setting.steps),
        log_every=1,
    )


def penalties(setting: Setting) -> Grid:
    """Lion with the one-norm rewarded, left alone and penalized."""
    values = {"lr": setting.lr, "weight_decay": 0.0, "penalty_eps": TWIN_EPS}
    return replace(
        twins(setting),
        rule=LionPenalized,
        points=tuple({"penalty": sign * PENALTY} for sign in (-1.0, 0.0, 1.0)),
        values={**setting.values, **values},
    )


def whole(setting: Setting, lrs: Sequence[float] = ()) -> tuple[Grid, ...]:
    """All grids of one task, AdamW's at several learning rates."""
    grids = (full_batch(setting, lrs or (setting.lr,), BETAS), lion(setting), batches(setting))
    return (*grids, twins(setting), penalties(setting))


def source() -> tuple[Grid, ...]:
    """The source's setting: the full batch in 50 parts, each trial until the threshold."""
    target = Target(metric="train_loss", value=SOURCE.decisive)
    grids = (full_batch(SOURCE, (SOURCE.lr,), SOURCE_BETAS), lion(SOURCE, (SOURCE_LION,)))
    return tuple(replace(grid, target=target, accumulate=50, pack_width=8) for grid in grids)


DIGITS, ADDITION, CONV = (SETTINGS[name] for name in ("digits_mlp", "modular_addition", "digits_conv"))

SMOKE = Preset(
    doc="two seeds, a few steps: seconds, tests the plumbing",
    grids=(
        *whole(replace(DIGITS, steps=12, thresholds=(2.3, 2.25), values={"width": 4, "test_share": 0.5})),
        *SMOKE_GRIDS,
    ),
    searches=SMOKE_SEARCHES,
    seeds=2,
    decides=False,
)
DEMO = Preset(
    doc="digits and modular addition, full batch and mini-batches, twins, 16 seeds: minutes on two cores",
    grids=(*whole(DIGITS), full_batch(ADDITION, (ADDITION.lr,), BETAS), lion(ADDITION)),
    seeds=16,
)
MEMORY = Preset(
    doc="all three tasks at two learning rates, 24 seeds: an hour or two on two cores",
    grids=tuple(grid for item in (DIGITS, ADDITION, CONV) for grid in whole(item, (item.lr, item.lr / 2))),
    seeds=24,
)
PAPER = Preset(
    doc="ResNet-50 on CIFAR-10 at full batch, AdamW at six beta2 and Lion, 16 seeds: about 1,100 A100-hours",
    grids=source(),
    seeds=16,
)

STUDY = Study(
    name="lion_adamw",
    question="Does AdamW's memory anti-regularise, Lion's not, and which of them is better when tuned?",
    source="Cattaneo and Shigida, arXiv 2502.02132; 2602.01642; Chen et al., arXiv 2302.06675",
    presets={"smoke": SMOKE, "demo": DEMO, "memory": MEMORY, "paper": PAPER, **CONTEST_PRESETS},
)
