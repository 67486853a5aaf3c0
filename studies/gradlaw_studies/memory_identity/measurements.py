"""Measurements: what mini-batch noise adds, and where AdamW's correction becomes Lion's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.engine.oracle import Draw, TrialOracle
from gradlaw.hyperparameter import Hyperparameter, Scalar
from gradlaw.measurement import Measurement
from gradlaw.probe import Columns
from gradlaw.random import streams_of
from gradlaw.random_host import HostStreams
from gradlaw.rules.memoryless import FORMS
from gradlaw.table import Table
from gradlaw.task import Params
from gradlaw.tasks.digits import DigitsMLP
from gradlaw_studies.memory_identity.noise import (
    Descent,
    digits_least_squares,
    full_batch_end,
    mean_ends,
)
from gradlaw_studies.memory_identity.tables import CORRECTION_LIMIT, NOISE_SHARE

_BETA = Hyperparameter(name="beta1", default=0.9, low=0.0, high=1.0, high_open=True, doc="of both optimizers")
TEST_SHARE, WIDTH = 0.95, 8  # of the digits: 90 images, 610 parameters


class NoiseShare(Measurement):
    """Mean end of heavy ball over many paths of mini-batches, as a multiple of what the noise term moves.

    The unit is the mean difference of the memoryless twin's ends with and without the noise term, onto which
    other differences are projected. See :mod:`gradlaw_studies.memory_identity.noise`.
    """

    name = "memory_noise"
    hyperparameters = (
        Hyperparameter(name="lr", default=0.01, low=0.0, low_open=True, doc="h"),
        Hyperparameter(
            name="momentum", default=0.5, low=0.0, low_open=True, high=1.0, high_open=True, doc="b"
        ),
        Hyperparameter(name="batch_size", default=1, low=1, doc="rows of a batch, with replacement"),
        Hyperparameter(
            name="horizon", default=4.0, low=0.0, low_open=True, doc="steps times lr / (1 - momentum)"
        ),
        Hyperparameter(name="num_paths", default=1024, low=2, doc="paths that are averaged"),
    )

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return (NOISE_SHARE,)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        lr, momentum = float(hyperparameters["lr"]), float(hyperparameters["momentum"])
        descent = Descent(
            lr=lr,
            momentum=momentum,
            batch_size=int(hyperparameters["batch_size"]),
            steps=max(1, round(float(hyperparameters["horizon"]) * (1.0 - momentum) / lr)),
        )
        problem = digits_least_squares()
        start = HostStreams(seed).normal("init", (problem.x.shape[1],))
        ends = mean_ends(problem, descent, start, int(hyperparameters["num_paths"]), seed)
        moved = ends.noise_twin - ends.twin
        compared = {
            "past_batches": ends.memory - ends.twin,
            "full_batch": ends.memory - full_batch_end(problem, descent, start),
        }
        square = float(moved @ moved)
        return {
            NOISE_SHARE.name: {
                "compared": list(compared),
                "share": [float(difference @ moved) / square for difference in compared.values()],
                "moved": [square**0.5] * len(compared),
            }
        }


class _Here(NamedTuple):
    """A network at its start, and its gradient there."""

    oracle: TrialOracle
    params: Params
    grads: Params


class CorrectionLimit(Measurement):
    """Corrections of AdamW and of Lion, with equal betas, eps and weight decay, at 1, 2, 4, ... steps.

    Taken at the start of the tanh network on 90 real digits, in float64.
    """

    name = "memory_correction_limit"
    hyperparameters = (
        _BETA,
        Hyperparameter(
            name="beta2", default=0.9, low=0.0, high=1.0, high_open=True, doc="of both optimizers"
        ),
        Hyperparameter(name="eps", default=1e-4, low=0.0, low_open=True, doc="inside the root, units of g^2"),
        Hyperparameter(name="weight_decay", default=0.1, low=0.0, doc="decoupled, of both optimizers"),
        Hyperparameter(name="doublings", default=10, low=0, doc="the last n is 2 to this power"),
    )

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return (CORRECTION_LIMIT,)

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        here, last = _digits_start(seed), 2 ** int(hyperparameters["doublings"])
        hp = {
            name: torch.tensor(float(hyperparameters[name]), dtype=torch.float64)
            for name in ("beta1", "beta2", "eps", "weight_decay")
        }
        rows = []
        for (n, adamw), (_, lion) in zip(
            _corrections("adamw", here, hp, last), _corrections("lion", here, hp, last), strict=True
        ):
            sizes = (adamw.abs().max(), lion.abs().max(), (adamw - lion).abs().max())
            rows.append((n, *map(float, sizes)))
        names = [column.name for column in CORRECTION_LIMIT.columns]
        return {CORRECTION_LIMIT.name: dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))}


def _digits_start(seed: int) -> _Here:
    streams = streams_of(seed)
    task = DigitsMLP(test_share=TEST_SHARE, width=WIDTH).to(torch.device("cpu"), torch.float64)
    params, buffers = task.init(streams)
    batch = task.batch(task.split(streams).train, streams)
    oracle = TrialOracle(task, params, buffers, lambda _number: Draw(batch, None))
    return _Here(oracle, params, oracle.grad(params))


def _corrections(
    optimizer: str, here: _Here, hp: Mapping[str, Tensor], last: int
) -> Iterator[tuple[int, Tensor]]:
    """Pairs of n and the correction after n steps, all its coordinates, for n = 1, 2, 4, ..., ``last``."""
    form = FORMS[optimizer]
    sums = form.init(here.params)
    for n in range(last + 1):
        sums = form.advanced(sums, hp, torch.tensor(n))
        if n > 0 and n & (n - 1) == 0:
            correction = form.correction(here.oracle, here.grads, here.params, hp, sums)
            yield n, torch.cat([value.reshape(-1) for value in correction.values()])
