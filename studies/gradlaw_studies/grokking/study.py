"""The study: training share, weight decay and modulus, and when the rows held out are added rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gradlaw.ending import Target
from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.rules.adam import Adam
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.grokking.law import ACCURACY, ladder, share

DECAYS = (0.0, 1e-5, 5e-5, 1e-4, 2e-4, 5e-4)
"""None, and those of the authors' sweep (arXiv 2410.01779, public code)."""

SOURCE_DECAY = 2e-4
"""Set against none by arXiv 2509.21519."""

LAW_DECAY = 5e-4
"""Where the data law is looked for: the largest. On exploratory seeds times fall faster than in proportion to
it, and near the critical share they are long."""

LR = 0.01
"""Of the authors' sweep; the code of arXiv 2509.21519 is the same and names no other for it."""

RUNGS = ladder(2.25, 1.09, 6)
"""Multiples of ln(d) / d, from 2.25 to 3.46 about the published 2.7482, in steps of 9%."""

Point = dict[str, Scalar]


def training(where: Sequence[Point], *, steps: int, log_every: int, pack_width: int) -> Grid:
    """Full-batch Adam with coupled weight decay, until the held-out rows are added or the budget ends."""
    return Grid(
        task=ModularAddition,
        rule=Adam,
        points=tuple(where),
        values={"lr": LR, "weight_decay": LAW_DECAY},
        steps=steps,
        log_every=log_every,
        probes=(FullLoss(),),
        pack_width=pack_width,
        target=Target(metric="test_accuracy", value=ACCURACY, direction="above"),
    )


def with_arms(law: Grid, where: Point) -> tuple[Grid, ...]:
    """The law and, at a point of their own, all weight decays, and shuffled labels as a control."""
    decays = replace(law, points=(where,), values={**law.values, "weight_decay": DECAYS})
    control = {**law.values, "weight_decay": SOURCE_DECAY, "labels": "shuffled"}
    return law, decays, replace(law, points=(where,), values=control)


def demo_point(multiple: float, *, modulus: int = 23) -> Point:
    """The demo's point at a multiple of ln(d) / d: four nodes a residue, twice what a solution needs."""
    return {"modulus": modulus, "width": 4 * modulus, "train_share": share(modulus, multiple)}


def paper_point(train_share: float) -> Point:
    """The source's network: modulus 71, 2,048 nodes."""
    return {"modulus": 71, "width": 2048, "train_share": train_share}


SMOKE = Preset(
    doc="two seeds, a few steps: seconds, tests the plumbing",
    grids=with_arms(
        training(
            [demo_point(multiple, modulus=modulus) for modulus in (11, 13) for multiple in RUNGS[::5]],
            steps=6,
            log_every=2,
            pack_width=8,
        ),
        demo_point(4.2, modulus=13),
    ),
    seeds=2,
    decides=False,
)

DEMO = Preset(
    doc="three primes to 31, six shares, six weight decays, eight seeds: minutes on two cores",
    grids=with_arms(
        training(
            [demo_point(multiple, modulus=modulus) for modulus in (11, 17, 31) for multiple in RUNGS],
            steps=6000,
            log_every=25,
            pack_width=8,
        ),
        demo_point(4.2),
    ),
    seeds=8,
)

PAPER = Preset(
    doc="modulus 71 with 2,048 nodes, 40% trained on, fifteen seeds, and shares around the critical one",
    grids=with_arms(
        training(
            [paper_point(share(71, multiple)) for multiple in RUNGS],
            steps=10_000,
            log_every=25,
            pack_width=5,
        ),
        paper_point(0.4),
    ),
    seeds=15,
)

LAW = Preset(
    doc="shares about the critical one for nine primes to 71, ten seeds: hours on two cores",
    grids=(
        training(
            [
                demo_point(multiple, modulus=modulus)
                for modulus in (11, 13, 17, 23, 31, 41, 53, 61, 71)
                for multiple in ladder(1.6, 1.055, 15)
            ],
            steps=20_000,
            log_every=50,
            pack_width=10,
        ),
    ),
    seeds=10,
)

STUDY = Study(
    name="grokking",
    question="How much data and weight decay does a network need to add residues it has not seen?",
    source="Tian, arXiv 2509.21519 (Li2); same model as arXiv 2410.01779",
    presets={"smoke": SMOKE, "demo": DEMO, "paper": PAPER, "law": LAW},
)
