"""Measurements of the landscape: what is flat at solutions, paths between them, barriers between networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gradlaw.errors import ConfigurationError
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.measurement import Measurement
from gradlaw.probe import Columns
from gradlaw.random import streams_of
from gradlaw.random_host import HostStreams
from gradlaw.table import Table
from gradlaw_studies.modular_addition.algebra.constructions import balanced, padded, phases
from gradlaw_studies.modular_addition.algebra.fourier import Weights, modulus_faults, num_frequencies
from gradlaw_studies.modular_addition.algebra.paths import (
    PATH_KINDS,
    PathPoints,
    blend_path,
    connecting_path,
    measure_path,
    straight_path,
)
from gradlaw_studies.modular_addition.algebra.potentials import brute_force_loss
from gradlaw_studies.modular_addition.landscape.barrier import (
    Relabelling,
    match_all,
    match_nodes,
    relabelled,
)
from gradlaw_studies.modular_addition.landscape.hessian import flatness
from gradlaw_studies.modular_addition.landscape.network import trained
from gradlaw_studies.modular_addition.landscape.solutions import (
    BLOCK,
    CONSTRUCTIONS,
    constructed,
    num_free_phases,
    num_nodes,
    order_six_frequencies,
    order_six_nullity,
)
from gradlaw_studies.modular_addition.landscape.tables import (
    BARRIER,
    CONNECTING_PATH,
    HESSIAN_NULLITY,
)

SLOPES = 1e-6  # a norm slope above it is none of rounding: the norm is not stationary there
NUM_POINTS = 21
MODULUS = Hyperparameter(name="modulus", default=5, structural=True, doc="d, odd and at least 5")
_PHASES, _SECOND, _DISGUISE = 1, 3, 4  # parts of stream "init"; part 0 is the task's own start


class _OfConstructions(Measurement):
    """What constructions, and the match of networks, need of a modulus is checked where a plan is made."""

    def __init__(self, *, modulus: int = 5) -> None:
        faults = modulus_faults(modulus)
        if faults:
            raise ConfigurationError(faults)


class HessianNullity(_OfConstructions):
    """The Hessian at one constructed solution, against the directions known to be free.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
    """

    name = "modular_addition_hessian"
    hyperparameters = (
        MODULUS,
        Hyperparameter(
            name="construction", default=CONSTRUCTIONS[0], choices=CONSTRUCTIONS, doc="the solution"
        ),
        BLOCK,
        Hyperparameter(name="padding", default=0, low=0, doc="zero nodes beyond the construction's own"),
        Hyperparameter(name="balance", default=False, doc="whether nodes are scaled to their least norm"),
    )

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return (HESSIAN_NULLITY,)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        modulus, padding = int(hyperparameters["modulus"]), int(hyperparameters["padding"])
        construction, block = str(hyperparameters["construction"]), str(hyperparameters["block"])
        turns = HostStreams(seed, part=_PHASES).uniform("init", (4, num_frequencies(modulus)))
        given = constructed(construction, block, modulus, turns)
        given = balanced(given) if hyperparameters["balance"] else given
        width = num_nodes(construction, modulus) + padding
        given = padded(given, width)
        found = flatness(given)
        known = {
            "symmetries": 3 * num_nodes(construction, modulus),
            "free_phases": num_free_phases(construction, block, modulus),
            "padded": 3 * modulus * padding,
        }
        slopes = found.norm_slope > SLOPES
        counted = None
        if construction == "order_6":
            counted = order_six_nullity(block, modulus) + known["padded"]
        row = {
            "construction": construction,
            "kind": block if order_six_frequencies(construction, modulus) else "",
            "modulus": modulus,
            "width": width,
            "loss": float(brute_force_loss(given)),
            "predicted": sum(known.values()),
            "counted": counted,
            **known,
            **found._asdict(),
            "gap": found.gap,
            "norm_flat": None if slopes else found.norm_flat,
            "norm_down": None if slopes else found.norm_down,
        }
        return {HESSIAN_NULLITY.name: {name: [value] for name, value in row.items()}}


class ConnectingPath(_OfConstructions):
    """Loss and weight norm along each kind of path between constructions, their phases drawn.

    Raises:
        ConfigurationError: If the modulus is even or below 5.
    """

    name = "modular_addition_path"
    hyperparameters = (MODULUS,)

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return (CONNECTING_PATH,)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        modulus = int(hyperparameters["modulus"])
        free = phases(HostStreams(seed, part=_PHASES).uniform("init", (4, num_frequencies(modulus))))
        found = {kind: connecting_path(kind, modulus, free=free) for kind in PATH_KINDS}
        six, four_six = num_nodes("order_6", modulus), num_nodes("order_4_6", modulus)
        widths = {"factor": 3 * six, "balance": four_six, "blend": six + four_six, "straight": six}
        return {
            CONNECTING_PATH.name: {
                "path": [kind for kind, points in found.items() for _ in points.position],
                "modulus": [modulus] * sum(len(points.position) for points in found.values()),
                "width": [widths[kind] for kind, points in found.items() for _ in points.position],
                **{
                    name: np.concatenate([getattr(points, name) for points in found.values()])
                    for name in PathPoints._fields
                },
            }
        }


class Barrier(_OfConstructions):
    """Two networks trained from two starts of one seed, and the loss between them by match of symmetries.

    Raises:
        ConfigurationError: If the modulus is even or below 5: the disguise of a copy takes 2 for a unit.
    """

    name = "modular_addition_barrier"
    hyperparameters = (
        replace(MODULUS, default=11, doc="d, odd and at least 5; the match takes d^2 phi(d) assignments"),
        Hyperparameter(name="width", default=44, low=1, doc="q, hidden nodes"),
        Hyperparameter(name="train_steps", default=3000, low=0, doc="full-batch Adam steps, float64"),
        Hyperparameter(name="weight_decay", default=5e-5, low=0.0, doc="coupled, of both networks"),
    )

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return (BARRIER,)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        modulus, width = int(hyperparameters["modulus"]), int(hyperparameters["width"])
        steps, decay = int(hyperparameters["train_steps"]), float(hyperparameters["weight_decay"])
        streams = streams_of(seed)
        first, second = (
            trained(modulus, width, streams.at(part=part), steps=steps, weight_decay=decay)
            for part in (0, _SECOND)
        )
        copy = _disguised(first, seed)
        ends = {
            "none": second,
            "nodes": match_nodes(first, second).weights,
            "all": match_all(first, second).weights,
            "copy_none": copy,
            "copy_all": match_all(first, copy).weights,
        }
        positions = np.linspace(0.0, 1.0, NUM_POINTS)
        lines = {name: measure_path(straight_path(first, end), positions) for name, end in ends.items()}
        lines["side_by_side"] = measure_path(blend_path(first, second), positions)
        distances = {name: _distance(first, end) for name, end in ends.items()}
        distances["side_by_side"] = float(np.sqrt(2.0))  # no node of one end is a node of the other
        return {BARRIER.name: _rows(lines, distances)}


def _disguised(weights: Weights, seed: int) -> Weights:
    """The same network with its residues relabelled, its nodes permuted and their signs drawn."""
    streams = HostStreams(seed, part=_DISGUISE)
    modulus, width = weights.shape[1:]
    unit, first, second = (1 + streams.integers("init", modulus - 1, (3,))).tolist()
    unit = unit if np.gcd(unit, modulus) == 1 else 2  # the modulus is odd
    moved = relabelled(weights, Relabelling(unit, first, second, exchanged=True))
    moved = moved[:, :, streams.permutations("noise", width, 1)[0]]
    moved[:2] *= np.where(streams.uniform("order", (width,)) < 0.5, -1.0, 1.0)
    return moved


def _distance(first: Weights, second: Weights) -> float:
    return float(np.sqrt(np.sum((first - second) ** 2) / (np.sum(first**2) / 2 + np.sum(second**2) / 2)))


def _rows(lines: Mapping[str, PathPoints], distances: Mapping[str, float]) -> Columns:
    rows = [
        (name, position, loss, (1.0 - position) * line.loss[0] + position * line.loss[-1], distances[name])
        for name, line in lines.items()
        for position, loss in zip(line.position, line.loss, strict=True)
    ]
    names = [column.name for column in BARRIER.columns]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
