"""The study: optimizers beside their memoryless twins at halved lrs, and what noise adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gradlaw.hyperparameter import Scalar
from gradlaw.study import Grid, Preset, Study
from gradlaw.task import Task
from gradlaw.tasks.digits import DigitsMLP
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.memory_identity.kernels import KERNELS, KernelGap
from gradlaw_studies.memory_identity.measurements import TEST_SHARE, WIDTH, CorrectionLimit, NoiseShare
from gradlaw_studies.memory_identity.probes import TrajectoryGap
from gradlaw_studies.memory_identity.twins import MemoryTwins

Point = Mapping[str, Scalar]

MOMENTUM, ADAPTIVE = ("heavy_ball", "nesterov"), ("adamw", "nadam", "lion")
TASKS: Mapping[type[Task], Mapping[str, Scalar]] = {
    DigitsMLP: {"test_share": TEST_SHARE, "width": WIDTH},
    ModularAddition: {"modulus": 7, "width": 16},
}
BETAS = ((0.5, 0.8, 1e-3), (0.8, 0.5, 1e-3), (0.8, 0.8, 1e-2))
OUTSIDE = ((0.5, 0.8, 1e-6), (0.5, 0.8, 1e-9), (0.5, 0.8, 1e-12))
LONG, LONG_DISTANCE = (0.5, 0.999, 1e-2), 2.0
"""Betas at which c(beta2) grows with the run, and a distance at which lr c(beta2) is near 1 at every lr."""
WIDE_BETAS = tuple(
    (beta1, beta2, eps)
    for beta1, beta2 in ((0.5, 0.8), (0.8, 0.5), (0.9, 0.9), (0.9, 0.95), (0.95, 0.9))
    for eps in (1e-2, 1e-3, 1e-4)
)


def halved(horizon: float, settings: Point, *, fewest: int, octaves: int) -> list[Point]:
    """One point an lr: the horizon over ``fewest`` steps, over twice as many, and so on.

    Args:
        horizon: lr times steps.
        settings: What else the points have, the same in each.
        fewest: Steps at the largest lr, >= 1.
        octaves: How often the lr is halved.
    """
    lengths = [fewest * 2**octave for octave in range(octaves + 1)]
    return [{**settings, "lr": horizon / steps, "steps": steps} for steps in lengths]


def momenta(values: Iterable[float], *, distance: float, fewest: int, octaves: int) -> list[Point]:
    """Points of heavy ball and Nesterov; ``distance`` is lr / (1 - momentum) times steps."""
    return [
        point
        for momentum in values
        for point in halved(
            distance * (1.0 - momentum), {"momentum": momentum}, fewest=fewest, octaves=octaves
        )
    ]


def betas(
    values: Iterable[tuple[float, float, float]], *, distance: float, fewest: int, octaves: int
) -> list[Point]:
    """Points of AdamW, NAdam and Lion by (beta1, beta2, eps); ``distance`` is lr times steps."""
    return [
        point
        for beta1, beta2, eps in values
        for point in halved(
            distance, {"beta1": beta1, "beta2": beta2, "eps": eps}, fewest=fewest, octaves=octaves
        )
    ]


def twins(
    optimizers: Sequence[str], points: Sequence[Point], tasks: Iterable[type[Task]] = TASKS
) -> tuple[Grid, ...]:
    """Full batch in float64, each task with each optimizer; a pack holds all trials of one program."""
    return tuple(
        Grid(
            task=task,
            rule=MemoryTwins,
            values={**TASKS[task], "weight_decay": 0.1, "optimizer": tuple(optimizers)},
            points=tuple(points),
            log_every=max(int(point["steps"]) for point in points),
            probes=(TrajectoryGap(),),
            dtype="float64",
            pack_width=512,
        )
        for task in tasks
    )


def noise(momentum: float, distances: Sequence[float], *, num_paths: int) -> Grid:
    """Heavy ball on batches of one row; ``distances`` are lr / (1 - momentum)."""
    lrs = tuple(distance * (1.0 - momentum) for distance in distances)
    return Grid(
        task=NoiseShare, values={"momentum": momentum, "lr": lrs, "num_paths": num_paths}, pack_width=1
    )


def limits(values: Iterable[tuple[float, float]]) -> Grid:
    """Corrections of AdamW and Lion by (beta1, beta2)."""
    points = tuple({"beta1": beta1, "beta2": beta2} for beta1, beta2 in values)
    return Grid(task=CorrectionLimit, points=points)


def kernels(lrs: Sequence[float]) -> Grid:
    """Momentum with each kernel over a horizon of 4; the time of a trial grows as lr^-2."""
    return Grid(task=KernelGap, values={"kernel": KERNELS, "lr": tuple(lrs)})


SMOKE = Preset(
    doc="two seeds, two lrs a setting, a few steps: seconds, tests the plumbing",
    grids=(
        *twins(MOMENTUM, momenta((0.5,), distance=0.5, fewest=4, octaves=1)),
        *twins(ADAPTIVE, betas(BETAS[:1], distance=0.04, fewest=4, octaves=1)),
        *twins(("adamw",), betas(OUTSIDE[-1:], distance=0.04, fewest=4, octaves=1), (DigitsMLP,)),
        *twins(("adamw",), betas((LONG,), distance=LONG_DISTANCE, fewest=4, octaves=1), (DigitsMLP,)),
        limits(((0.5, 0.5), (0.5, 0.6))),
        kernels((0.25, 0.125)),
        noise(0.5, (0.4, 0.2), num_paths=64),
        noise(0.8, (0.4, 0.2), num_paths=64),
    ),
    seeds=2,
    decides=False,
)

DEMO = Preset(
    doc="five seeds, lrs over five octaves, 40 to 1,280 steps: two to four minutes on two cores",
    grids=(
        *twins(MOMENTUM, momenta((0.5, 0.8), distance=0.5, fewest=40, octaves=5)),
        *twins(ADAPTIVE, betas(BETAS[:2], distance=0.04, fewest=40, octaves=5)),
        *twins(("adamw",), betas(OUTSIDE, distance=0.04, fewest=40, octaves=5), (DigitsMLP,)),
        *twins(("adamw",), betas((LONG,), distance=LONG_DISTANCE, fewest=40, octaves=5), (DigitsMLP,)),
        limits(((0.5, 0.5), (0.9, 0.9), (0.9, 0.95))),
        kernels([2.0**-power for power in range(5, 11)]),
        *(noise(momentum, (0.4,), num_paths=16384) for momentum in (0.5, 0.8)),
        noise(0.5, (0.2, 0.1, 0.05, 0.025), num_paths=1024),
        noise(0.8, (0.2, 0.1, 0.05, 0.025, 0.0125), num_paths=1024),
    ),
    seeds=5,
)

PAPER = Preset(
    doc="twenty seeds, betas to 0.95, three eps, 200 to 12,800 steps: a day on two cores, estimated",
    grids=(
        *twins(MOMENTUM, momenta((0.5, 0.8, 0.9, 0.95), distance=0.5, fewest=200, octaves=6)),
        *twins(ADAPTIVE, betas(WIDE_BETAS, distance=0.04, fewest=200, octaves=6)),
        *twins(
            ("adamw",),
            [
                *betas(OUTSIDE, distance=0.04, fewest=200, octaves=6),
                *betas((LONG,), distance=LONG_DISTANCE, fewest=200, octaves=6),
            ],
        ),
        limits(((0.5, 0.5), (0.9, 0.9), (0.95, 0.95), (0.9, 0.95), (0.95, 0.9))),
        kernels([2.0**-power for power in range(5, 13)]),
        *(noise(momentum, (0.4,), num_paths=65536) for momentum in (0.5, 0.8)),
        *(
            noise(momentum, (0.2, 0.1, 0.05, 0.025, 0.0125, 0.00625), num_paths=4096)
            for momentum in (0.5, 0.8)
        ),
    ),
    seeds=20,
)

STUDY = Study(
    name="memory_identity",
    question="Is memory in an optimizer, to first order in the lr, a change of the loss?",
    source="Cattaneo and Shigida, arXiv 2502.02132",
    presets={"smoke": SMOKE, "demo": DEMO, "paper": PAPER},
)
