"""The grids around constructions: training from them, and what is measured at them and between networks."""

from __future__ import annotations

from collections.abc import Mapping

from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.parameter_norm import ParameterNorm
from gradlaw.rules.adam import Adam
from gradlaw.schedules import WarmupStableDecay
from gradlaw.study import Grid
from gradlaw_studies.modular_addition.algebra.constructions import ORDER_SIX
from gradlaw_studies.modular_addition.landscape.measurements import Barrier, ConnectingPath, HessianNullity
from gradlaw_studies.modular_addition.landscape.solutions import CONSTRUCTIONS, num_nodes
from gradlaw_studies.modular_addition.probes import Solutions
from gradlaw_studies.modular_addition.tasks import RANDOM, Constructed

Point = Mapping[str, Scalar]

DENSE_LIMIT = 1500  # parameters of a dense Hessian; it takes seconds there


def _start(construction: str, modulus: int, weight_decay: float) -> Point:
    """One start; four times the modulus is room enough for all but memorising, which takes its square."""
    width = 4 * modulus if construction == RANDOM else max(4 * modulus, num_nodes(construction, modulus))
    return {
        "construction": construction,
        "modulus": modulus,
        "width": width,
        "weight_decay": weight_decay,
    }


def from_constructions(
    *, modulus: int = 11, weight_decays: tuple[float, ...] = (5e-4,), steps: int = 10_000, pack_width: int = 4
) -> Grid:
    """Networks that start at a solution, with 1% of noise, trained as the others are.

    Controls are the random start, and order 6 without weight decay. All pairs are trained on: whether the
    start generalizes is no question.
    """
    starts = [_start(name, modulus, decay) for name in (*CONSTRUCTIONS, RANDOM) for decay in weight_decays]
    return Grid(
        task=Constructed,
        rule=Adam,
        schedule=WarmupStableDecay,
        values={"train_share": 1.0, "start_noise": 0.01, "lr": 0.01, "decay_share": 0.1},
        points=(*starts, _start("order_6", modulus, 0.0)),
        steps=steps,
        log_every=max(1, steps // 100),
        probes=(FullLoss(), ParameterNorm(), Solutions()),
        pack_width=pack_width,
    )


def nullities(*moduli: int) -> Grid:
    """Hessians at every construction that is small enough, alone and with two zero nodes, and balanced."""
    points: list[Point] = [
        {"modulus": modulus, "construction": name, "block": block, "padding": padding, "balance": balance}
        for modulus in moduli
        for name in CONSTRUCTIONS
        for block in (ORDER_SIX if name in ("order_6", "order_4_6") else ORDER_SIX[:1])
        for padding in (0, 2)
        for balance in ((False, True) if name == "order_4_6" else (False,))
        if 3 * modulus * (num_nodes(name, modulus) + padding) <= DENSE_LIMIT
    ]
    return Grid(task=HessianNullity, points=tuple(points), pack_width=16)


def paths(*moduli: int) -> Grid:
    """Paths between constructions."""
    return Grid(task=ConnectingPath, values={"modulus": moduli})


def barriers(*, modulus: int = 11, width: int = 44, train_steps: int = 3000) -> Grid:
    """Pairs of trained networks, at four times the modulus."""
    values = {"modulus": modulus, "width": width, "train_steps": train_steps}
    return Grid(task=Barrier, values=values, pack_width=4)


def landscape(*moduli: int, weight_decays: tuple[float, ...] = (5e-5, 5e-4)) -> tuple[Grid, ...]:
    """All of them, Hessians and paths at the given moduli.

    Args:
        *moduli: Odd, from 5 on; the dense Hessians of d = 11 take a third of a second each.
        weight_decays: Of networks that start from constructions.
    """
    return (from_constructions(weight_decays=weight_decays), nullities(*moduli), paths(*moduli), barriers())
