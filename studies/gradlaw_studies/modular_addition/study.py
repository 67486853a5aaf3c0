"""The study: networks trained to add residues, and which of the algebra's solutions they end at.

As in arXiv 2410.01779 and its public code: Adam with coupled weight decay, full batch, lr 0.01, 10,000
steps, a tenth of the pairs held out. One thing differs. The authors keep the lr to the end, so that the last
steps' noise lies in the weights they read; here the lr falls to 0 over the last tenth. Both are measured: the
networks where the lr begins to fall, after 9,000 steps that are the authors', and at the end, which is what
claims are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.parameter_norm import ParameterNorm
from gradlaw.probes.weights import Weights
from gradlaw.rules.adam import Adam
from gradlaw.schedules import WarmupStableDecay
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.landscape.grids import (
    barriers,
    from_constructions,
    landscape,
    nullities,
    paths,
)
from gradlaw_studies.modular_addition.probes import CONSTANT_SHARE, Solutions

Point = Mapping[str, Scalar]

MODULI = (23, 71, 127)
WIDTHS = (256, 512, 1024, 2048)
DECAYS = (1e-5, 5e-5, 1e-4, 2e-4, 5e-4)
WIDTH, DECAY = 512, 5e-5
"""Of the published table."""
PRIMES = (11, 17, 23, 31, 47, 71, 97, 127)
STEPS = 10_000


def point(modulus: int = 23, width: int = WIDTH, weight_decay: float = DECAY, labels: str = "sum") -> Point:
    """One network but for its seed."""
    return {"modulus": modulus, "width": width, "weight_decay": weight_decay, "labels": labels}


SHUFFLED = point(width=256, labels="shuffled")
"""The control with nothing to generalize: the sums dealt to the pairs at random, for each seed anew."""
NARROW = (point(width=48), point(width=64))
"""Just above 2d = 46, the least width that a construction takes, where width may begin to matter."""


def fitting(modulus: int) -> int:
    """A width that fits a modulus: the power of two from eight times it on, at most the published 512.

    >>> [fitting(modulus) for modulus in (11, 23, 47, 127)]
    [128, 256, 512, 512]
    """
    return min(WIDTH, 1 << (8 * modulus - 1).bit_length())


def networks(points: Iterable[Point], *, pack_width: int, steps: int = STEPS) -> Grid:
    """Networks trained as the authors train theirs, but for the lr's end; a curve has a hundred rows.

    All of a preset are one grid, so that whatever is set by hand leaves each trial in one place.
    """
    return Grid(
        task=ModularAddition,
        rule=Adam,
        schedule=WarmupStableDecay,
        values={"lr": 0.01, "decay_share": 0.1},
        points=tuple(points),
        steps=steps,
        log_every=max(1, steps // 100),
        probes=(FullLoss(), ParameterNorm(), Solutions(), Weights(shares=(0.0, CONSTANT_SHARE))),
        pack_width=pack_width,
    )


SMOKE = Preset(
    doc="two seeds, twenty steps: seconds, tests the plumbing",
    grids=(
        networks(
            (
                *(point(weight_decay=decay) for decay in (5e-5, 5e-4)),
                *(point(modulus=modulus, width=24) for modulus in (5, 11)),
                point(modulus=11, width=24, labels="shuffled"),
            ),
            pack_width=2,
            steps=20,
        ),
        from_constructions(steps=20),
        nullities(5),
        paths(5),
        barriers(train_steps=20),
    ),
    seeds=2,
    decides=False,
)

DEMO = Preset(
    doc="d = 23 at five weight decays and five widths, six seeds: under five minutes on two cores",
    grids=(
        networks(
            (
                point(width=1024),
                *(point(weight_decay=decay) for decay in DECAYS),
                point(width=256),
                SHUFFLED,
                *NARROW,
            ),
            pack_width=4,
        ),
        paths(5, 7, 11),
    ),
    seeds=6,
)

TABLE = Preset(
    doc="the published table: d = 23, 71, 127 at q = 512, weight decay 5e-5; two hours on two cores",
    grids=(networks((*map(point, MODULI), SHUFFLED), pack_width=2),),
    seeds=8,
)

ROWS = Preset(
    doc="the rows d = 23 and 71 of the published table: under 25 minutes on two cores",
    grids=(networks((*map(point, MODULI[:2]), SHUFFLED), pack_width=2),),
    seeds=8,
)

SCALING = Preset(
    doc="eight primes d from 11 to 127, q at least 4d; three hours on two cores, less what the table has",
    grids=(networks((*(point(modulus, fitting(modulus)) for modulus in PRIMES), SHUFFLED), pack_width=2),),
    seeds=8,
)

PAPER = Preset(
    doc="the authors' 300 runs (12.5 PFLOP), those of one shape in one pack, for a GPU; and controls",
    grids=(
        networks(
            (*(point(*cell) for cell in product(MODULI, WIDTHS, DECAYS)), *NARROW, SHUFFLED), pack_width=25
        ),
    ),
    seeds=5,
)

LANDSCAPE = Preset(
    doc="around constructions: training from them, Hessians, paths, and barriers between networks; minutes",
    grids=landscape(5, 7, 11),
    seeds=8,
)

STUDY = Study(
    name="modular_addition",
    question="Which solutions does gradient descent find to addition modulo d?",
    source="Tian, Composing global optimizers to reasoning tasks via algebraic objects, arXiv 2410.01779",
    presets={
        "smoke": SMOKE,
        "demo": DEMO,
        "rows": ROWS,
        "table": TABLE,
        "scaling": SCALING,
        "paper": PAPER,
        "landscape": LANDSCAPE,
    },
)
