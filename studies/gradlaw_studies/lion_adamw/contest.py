"""Trials of the contest: seven optimizers tuned alike on three problems, and Lion's box.

Fair means: of every arm the same number of configurations by the same sampler on the same seeds, ranges of
equal width (two decades of lr, four of weight decay, each about where exploratory runs ended well), the same
steps, batches and shape of the schedule. Spaces differ in dimension, as the optimizers do. Then the best
configuration of each arm runs on seeds that no tuning has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gradlaw.ending import Target
from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.parameter_max import ParameterMax
from gradlaw.rule import Rule
from gradlaw.rules.adagrad import Adagrad
from gradlaw.rules.adam import Adam, AdamW
from gradlaw.rules.rmsprop import RMSprop
from gradlaw.rules.sgd import HeavyBall, Nesterov
from gradlaw.rules.sign import Lion
from gradlaw.schedules import CosineDecay, LinearWarmup
from gradlaw.space import Choices, Dimension, Range
from gradlaw.study import Arm, Grid, Preset, Search
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.tasks.digits_conv import DigitsConv
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.lion_adamw.contest_settings import ADDED, AT_RANDOM, UNTUNED_LR

MOMENTUM = Choices(values=(0.5, 0.8, 0.9, 0.95, 0.99))
BETA1 = Choices(values=(0.8, 0.9, 0.95, 0.98))
BETA2 = Choices(values=(0.9, 0.95, 0.99, 0.999))


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One arm's rule and its ranges.

    Attributes:
        rule: The optimizer.
        lrs: Lower end of its two decades of lr, by task.
        decays: Lower end of its four decades of weight decay, by task.
        memory: Its momenta or betas.
    """

    rule: type[Rule]
    lrs: Mapping[str, float]
    decays: Mapping[str, float]
    memory: Mapping[str, Dimension]


def _by_task(digits: float, addition: float, conv: float) -> dict[str, float]:
    return {DigitsMLP.name: digits, ModularAddition.name: addition, DigitsConv.name: conv}


_DECOUPLED, _COUPLED = _by_task(1e-4, 3e-3, 1e-4), _by_task(1e-6, 1e-6, 1e-6)
_BETAS: Mapping[str, Dimension] = {"beta1": BETA1, "beta2": BETA2}

CONTENDERS: Mapping[str, Contender] = {
    # its lr 3 to 10 times below AdamW's, its weight decay as much above (2302.06675, section 5)
    "lion": Contender(
        rule=Lion, lrs=_by_task(3e-4, 1e-3, 1e-3), decays=_by_task(1e-3, 1e-2, 1e-3), memory=_BETAS
    ),
    "adamw": Contender(rule=AdamW, lrs=_by_task(1e-3, 3e-3, 3e-3), decays=_DECOUPLED, memory=_BETAS),
    "adam": Contender(rule=Adam, lrs=_by_task(1e-3, 3e-3, 3e-3), decays=_COUPLED, memory=_BETAS),
    "rmsprop": Contender(
        rule=RMSprop,
        lrs=_by_task(3e-4, 1e-3, 1e-3),
        decays=_COUPLED,
        memory={"beta2": BETA2, "momentum": Choices(values=(0.0, 0.5, 0.9))},
    ),
    "adagrad": Contender(rule=Adagrad, lrs=_by_task(1e-2, 1e-2, 3e-2), decays=_COUPLED, memory={}),
    "sgd_momentum": Contender(
        rule=HeavyBall, lrs=_by_task(1e-2, 3e-2, 1e-2), decays=_COUPLED, memory={"momentum": MOMENTUM}
    ),
    "nesterov": Contender(
        rule=Nesterov, lrs=_by_task(1e-2, 3e-2, 1e-2), decays=_COUPLED, memory={"momentum": MOMENTUM}
    ),
}

DIGITS = Grid(
    task=DigitsMLP,
    schedule=CosineDecay,
    values={"test_share": 0.5, "width": 16, "batch_size": 64},
    steps=300,
    log_every=100,
    probes=(FullLoss(), ParameterMax()),
    pack_width=32,
)
"""899 images to train on, as many held out; 21 epochs; a cosine as in 2302.06675. Metric: held-out loss."""

ADDITION = Grid(
    task=ModularAddition,
    schedule=LinearWarmup,
    values={"modulus": 17, "width": 68, "train_share": 0.7, "batch_size": 0},
    steps=600,
    log_every=10,
    probes=(FullLoss(), ParameterMax()),
    pack_width=32,
    target=Target(metric="test_accuracy", value=ADDED, direction="above"),
)
"""202 of the 289 pairs, full batch. Metric: steps until the 87 held out are added; so the lr is constant."""

CONV = replace(DIGITS, task=DigitsConv, values={"test_share": 0.5, "batch_size": 64})
"""The same images, steps and batches, by the convolutional network of 8 and 16 channels."""


def _decades(low: float, num: int) -> Range:
    return Range(low=low, high=10.0**num * low, log=True)


def arms(common: Grid) -> tuple[Arm, ...]:
    """Every contender on one problem; a tenth of the steps at most is warm-up."""
    task = common.task.name
    assert isinstance(common.steps, int)
    return tuple(
        Arm(
            name=name,
            grid=replace(common, rule=contender.rule),
            space={
                "lr": _decades(contender.lrs[task], 2),
                "weight_decay": _decades(contender.decays[task], 4),
                "warmup_steps": Range(low=0, high=common.steps // 10, whole=True),
                **contender.memory,
            },
        )
        for name, contender in CONTENDERS.items()
    )


def search(
    name: str, common: Grid, *, budget: int, sampler: Literal["tpe", "random"] = "tpe", per_round: int = 8
) -> Search:
    """All contenders tuned on one problem with one budget."""
    metric = "test_loss" if common.target is None else "steps_to_target"
    return Search(
        name=name, arms=arms(common), budget=budget, metric=metric, sampler=sampler, per_round=per_round
    )


def searches(problems: Mapping[str, Grid], *, budget: int) -> tuple[Search, ...]:
    """Each problem tuned by TPE, which decides, and once more at random: another tuning, and draws alike."""
    learned = tuple(search(name, common, budget=budget) for name, common in problems.items())
    drawn = (
        search(name + AT_RANDOM, common, budget=budget, sampler="random") for name, common in problems.items()
    )
    return (*learned, *drawn)


def untuned(common: Grid) -> Grid:
    """Lion as it is declared, on a problem of the contest: what no tuning at all comes to."""
    return replace(common, rule=Lion, values={**common.values, "lr": UNTUNED_LR})


def box(rule: type[Rule], *, steps: int = 300) -> Grid:
    """Constant lr, and weight decays that put the start inside the box 1 / weight_decay, or outside."""
    points: tuple[dict[str, Scalar], ...] = (
        {"lr": 3e-3, "weight_decay": 0.0},
        {"lr": 1e-2, "weight_decay": 3.0},
        {"lr": 1e-2, "weight_decay": 10.0},
        {"lr": 3e-3, "weight_decay": 30.0},
    )
    return Grid(
        task=DigitsMLP,
        rule=rule,
        values=DIGITS.values,
        points=points,
        steps=steps,
        log_every=20,
        probes=(FullLoss(), ParameterMax()),
        pack_width=32,
    )


def _grids(problems: Mapping[str, Grid]) -> tuple[Grid, ...]:
    return *map(untuned, problems.values()), box(Lion), box(AdamW)


PROBLEMS: Mapping[str, Grid] = {"digits": DIGITS, "addition": ADDITION, "conv": CONV}

CONTEST = Preset(
    doc="seven optimizers, 24 configurations each by TPE and at random, three problems, 16 seeds: minutes",
    grids=_grids(PROBLEMS),
    searches=searches(PROBLEMS, budget=24),
    seeds=16,
)

_LONGER = replace(DIGITS, steps=4000, log_every=200, values={**DIGITS.values, "width": 128})
_LARGER = replace(ADDITION, steps=5000, log_every=25, values={**ADDITION.values, "modulus": 31, "width": 124})

_WIDER = replace(CONV, steps=4000, log_every=200, values={**CONV.values, "channels": 16})
_HARDER: Mapping[str, Grid] = {"digits": _LONGER, "addition": _LARGER, "conv": _WIDER}

CONTEST_PAPER = Preset(
    doc="the same with ten times the steps, larger networks, 96 configurations, 24 seeds: hours on two cores",
    grids=_grids(_HARDER),
    searches=searches(_HARDER, budget=96),
    seeds=24,
)

CONTEST_PRESETS: Mapping[str, Preset] = {"contest": CONTEST, "contest_paper": CONTEST_PAPER}

SMOKE_GRIDS = (box(Lion, steps=8),)
SMOKE_SEARCHES = (
    search("digits", replace(DIGITS, steps=20, log_every=10), budget=3, per_round=2),
    search("addition_random", replace(ADDITION, steps=20, log_every=10), budget=2, sampler="random"),
)
"""For the study's ``smoke``: the plumbing of both samplers and both metrics, in seconds."""
