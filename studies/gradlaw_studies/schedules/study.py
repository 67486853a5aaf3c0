"""The study: largest stable lrs by bisection, decays at tuned peaks, scaling rules at matched examples."""

from __future__ import annotations

from gradlaw.space import Edge
from gradlaw.study import Preset, Study
from gradlaw_studies.schedules.grids import BEYOND_CHANCE, decays, edges, paths, scalings
from gradlaw_studies.schedules.law import Adam

ADAM = Adam(lr=0.001, beta1=0.9, beta2=0.99, eps=1e-8)
"""The base that scaling rules start from: a step is small even at eight times the batch."""


def octaves(lowest: int, highest: int) -> tuple[float, ...]:
    """Powers of two.

    >>> octaves(-1, 1)
    (0.5, 1.0, 2.0)
    """
    return tuple(2.0**power for power in range(lowest, highest + 1))


SMOKE = Preset(
    doc="two seeds, a few steps: seconds, tests the plumbing",
    grids=(
        *edges(
            (0, 1, 2),
            beta2=0.5,
            hold=6,
            edge=Edge(low=0.01, high=100.0, halvings=2, fails=BEYOND_CHANCE),
        ),
        *paths((0, 4), beta2=0.5, after=4, log_every=4),
        *decays(peaks=octaves(-3, -1), steps=12, batch_size=16),
        *scalings(factors=(2, 4), batch_size=4, examples=64, sgd_lr=0.05, adam=ADAM, rows=2),
    ),
    seeds=2,
    decides=False,
)

DEMO = Preset(
    doc="warm-up of 0 to 64 steps, five shapes, factors of 2 to 8, eight seeds: minutes on two cores",
    grids=(
        *edges(
            (0, 1, 2, 4, 8, 16, 32, 64),
            beta2=0.98,
            hold=128,
            edge=Edge(low=0.25, high=16.0, halvings=6, fails=BEYOND_CHANCE),
        ),
        *paths((0, 64, 256), beta2=0.98, after=32, log_every=8),
        *decays(peaks=octaves(-4, 2), steps=800, batch_size=16),
        *scalings(factors=(2, 4, 8), batch_size=4, examples=3200, sgd_lr=0.05, adam=ADAM, rows=20),
    ),
    seeds=8,
)

PAPER = Preset(
    doc="warm-up to 1,024 steps, beta2 0.999, longer runs, forty seeds: a day on two cores, estimated",
    grids=(
        *edges(
            (0, *(2**power for power in range(11))),
            beta2=0.999,
            hold=2048,
            edge=Edge(low=0.25, high=64.0, halvings=8, fails=BEYOND_CHANCE),
        ),
        *paths((0, 64, 256, 1024), beta2=0.999, after=32, log_every=8),
        *decays(peaks=octaves(-6, 3), steps=8000, batch_size=16),
        *scalings(factors=(2, 4, 8), batch_size=4, examples=64_000, sgd_lr=0.02, adam=ADAM, rows=20),
    ),
    seeds=40,
)

STUDY = Study(
    name="schedules",
    question="What do warm-up, decay and scaling of the learning rate buy?",
    source="Goyal et al. 1706.02677; Ma and Yarats 1910.04209; Kalra and Barkeshli 2406.09405; Cohen et al. "
    "2103.00065; Malladi et al. 2205.10287",
    presets={"smoke": SMOKE, "demo": DEMO, "paper": PAPER},
)
