"""The grids around constructions: training from them, and what is measured at them and between networks."""

from __future__ import annotations

from collections.abc import Mapping

from gradlaw.hyperparameter import Scalar
from gradlaw.probes.losses import FullLoss
from gradlaw.probes.parameter_norm import ParameterNorm
from gradlaw.rules.adam import Adam
from gradlaw.schedules import WarmupStableDecay
from gradlaw.study import Grid
from gradlaw_studies.modular_addition.constructions import ORDER_SIX
from gradlaw_studies.modular_addition.landscape import Barrier, ConnectingPath, HessianNullity
from gradlaw_studies.modular_addition.landscape_solutions import CONSTRUCTIONS, num_nodes
from gradlaw_studies.modular_addition.probes import Solutions
from gradlaw_studies.modular_addition.tasks import RANDOM, Constructed

Point = Mapping[str, Scalar]

DENSE_LIMIT = 1000  # parameters of a dense Hessian; it takes seconds there


def _starts(decay: float) -> tuple[Point, ...]:
    """Every construction under weight decay, order 6 in both forms; as controls random, and no decay."""
    points: list[Point] = [
        {"construction": name, "block": block, "weight_decay": decay}
        for name in (*CONSTRUCTIONS, RANDOM)
        for block in (ORDER_SIX if name == "order_6" else ORDER_SIX[:1])
    ]
    still: Point = {"construction": "order_6", "block": ORDER_SIX[0], "weight_decay": 0.0}
    return (*points, still)


def from_constructions(*, modulus: int = 11, width: int = 128, steps: int = 10_000) -> Grid:
    """Networks that start at a solution, with 1% of noise, trained as the others are.

    All pairs are trained on: whether the start generalizes is no question. Memorising needs a width of d^2.
    """
    return Grid(
        task=Constructed,
        rule=Adam,
        schedule=WarmupStableDecay,
        values={
            "modulus": modulus,
            "width": width,
            "train_share": 1.0,
            "start_noise": 0.01,
            "lr": 0.01,
            "decay_share": 0.1,
        },
        points=_starts(5e-5),
        steps=steps,
        log_every=max(1, steps // 100),
        probes=(FullLoss(), ParameterNorm(), Solutions()),
        pack_width=32,
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


def landscape(*moduli: int, steps: int = 10_000) -> tuple[Grid, ...]:
    """All of them, Hessians and paths at the given moduli.

    Args:
        *moduli: Odd, from 5 on; the dense Hessians of d = 11 take a second each.
        steps: To train from constructions.
    """
    return (from_constructions(steps=steps), nullities(*moduli), paths(*moduli), barriers())
