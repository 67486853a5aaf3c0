"""What this study measures along a trial: which solution a network is at, frequency by frequency.

d: modulus. n: frequencies, (d - 1) / 2. q: width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw.errors import ConfigurationError
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.random import streams_of
from gradlaw.table import Table
from gradlaw.task import Params, Taps, Task
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw_studies.modular_addition.algebra.fourier import modulus_faults, spectrum
from gradlaw_studies.modular_addition.algebra.potentials import by_class
from gradlaw_studies.modular_addition.measurement.networks import describe_networks
from gradlaw_studies.modular_addition.measurement.orders import (
    FACTORED_ORDERS,
    RELATIVE_THRESHOLD,
    THRESHOLD,
    TOLERANCE,
    FrequencyRows,
    Rule,
    measure_networks,
)
from gradlaw_studies.modular_addition.tables import FREQUENCIES, NETWORKS, ORDER_SENSITIVITY

CONVERGED_ACCURACY = 0.99
"""A converged network gets at least this share of pairs right, of those trained on and of those held out."""
CONSTANT_SHARE = 0.9
"""Of a training, the share with the whole lr."""
ABSOLUTE_THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1)
RELATIVE_THRESHOLDS = (0.05, 0.1, 0.2, 0.25, 0.35, 0.5)
"""Thresholds at which orders are counted anew, the default ones among them."""
_CHUNK_NUMBERS = 2**23  # hidden activations held at once; bounds memory


def before_decay(steps: int) -> int:
    """The step from which the lr falls, over the last tenth: what is measured there has late noise.

    >>> before_decay(10_000), before_decay(5), before_decay(0)
    (9000, 4, 0)
    """
    return round(CONSTANT_SHARE * steps)


@dataclass(frozen=True, kw_only=True)
class Solutions(TableProbe):
    """Orders, factors and kinds at every frequency, and the network as a whole.

    Measured before training (weights are random), where the last tenth of the steps begins, and at the end.

    Attributes:
        threshold, relative_threshold, tolerance, rule: See :func:`.orders.measure_networks`.
        steps: Further steps at which it measures; those beyond a trial's end are left out.

    Raises:
        ConfigurationError: If a threshold is out of range, all of them at once.
    """

    name = "solutions"

    threshold: float = THRESHOLD
    relative_threshold: float = RELATIVE_THRESHOLD
    tolerance: float = TOLERANCE
    rule: Rule = "theory"
    steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        faults = [
            f"{name}: got {value:g}, allowed > 0"
            for name, value in (("threshold", self.threshold), ("tolerance", self.tolerance))
            if not value > 0.0
        ]
        if not 0.0 < self.relative_threshold < 1.0:
            faults.append(f"relative_threshold: got {self.relative_threshold:g}, allowed above 0 and below 1")
        if self.rule not in ("theory", "published"):
            faults.append(f"rule: got {self.rule!r}, allowed one of 'theory', 'published'")
        if faults:
            raise ConfigurationError([f"probe {self.name}: {fault}" for fault in faults])

    def tables(self) -> tuple[Table, ...]:
        return (FREQUENCIES, NETWORKS, ORDER_SENSITIVITY)

    def at(self, steps: int) -> Sequence[int]:
        return sorted({0, before_decay(steps), steps, *(step for step in self.steps if 0 <= step <= steps)})

    def faults(self, task: Task) -> list[str]:
        if not isinstance(task, ModularAddition):
            return [f"got task {task.name}, allowed modular_addition and what is derived of it"]
        return modulus_faults(task.modulus)

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        weights = stacked_weights(snapshot.params)
        found = self._measured(weights)
        return {
            FREQUENCIES.name: _frequency_columns(snapshot.step, found),
            NETWORKS.name: _single(self._network(snapshot, weights, found)),
            ORDER_SENSITIVITY.name: self._sensitivity(snapshot.step, weights),
        }

    def _measured(self, weights: NDArray[np.float64]) -> FrequencyRows:
        return measure_networks(
            weights[None],
            threshold=self.threshold,
            relative_threshold=self.relative_threshold,
            tolerance=self.tolerance,
            rule=self.rule,
        )

    def _network(
        self, snapshot: Snapshot, weights: NDArray[np.float64], found: FrequencyRows
    ) -> dict[str, object]:
        whole = describe_networks(weights[None], threshold=self.threshold)
        parts = by_class(spectrum(weights), weights.shape[1])
        fits = evaluated(snapshot)
        accuracies = [fits[name] for name in ("train_accuracy", "test_accuracy") if fits[name] is not None]
        return {
            "step": snapshot.step,
            "weight_norm2": float(whole.norm2[0]),
            "mean_residual": _known(whole.mean_residual[0]),
            "top_share": _known(whole.top_share[0]),
            "num_live_nodes": int(whole.num_live_nodes[0]),
            **_order_counts(found.order_absolute, other="num_other_orders"),
            **fits,
            "converged": all(value is not None and value >= CONVERGED_ACCURACY for value in accuracies),
            "loss_all": float(sum(parts)),
            **{f"loss_{name}": float(value) for name, value in parts._asdict().items()},
        }

    def _sensitivity(self, step: int, weights: NDArray[np.float64]) -> Columns:
        rows: list[dict[str, object]] = []
        for absolute, relative in zip(ABSOLUTE_THRESHOLDS, RELATIVE_THRESHOLDS, strict=True):
            found = measure_networks(weights[None], threshold=absolute, relative_threshold=relative)
            for threshold, orders in ((absolute, found.order_absolute), (relative, found.order_relative)):
                row = {"step": step, "threshold": threshold, "relative": orders is found.order_relative}
                rows.append({**row, **_order_counts(orders, other="num_other")})
        return {name: [row[name] for row in rows] for name in rows[0]}


def stacked_weights(params: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """W_a, W_b, W_c of one trial, shape [3, d, q], in float64 on the host."""
    return np.stack([params[name].detach().double().cpu().numpy() for name in ("W_a", "W_b", "W_c")])


def evaluated(snapshot: Snapshot) -> dict[str, float | None]:
    """Loss and accuracy over the trial's pairs, trained on and held out, in float64; None where none are."""
    assert snapshot.split is not None
    device = snapshot.split.train.device
    task = snapshot.task.to(device, torch.float64)
    assert isinstance(task, ModularAddition)
    params = {name: value.double() for name, value in snapshot.params.items()}
    train, test = (_over_rows(task, params, rows, snapshot.seed) for rows in snapshot.split)
    losses, accuracies = zip(train, test, strict=True)
    names = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
    return dict(zip(names, (*losses, *accuracies), strict=True))


def _over_rows(
    task: ModularAddition, params: Params, rows: Tensor, seed: int
) -> tuple[float | None, float | None]:
    if len(rows) == 0:
        return None, None
    losses, hits = [], []
    for part in torch.split(rows, max(1, _CHUNK_NUMBERS // task.width)):
        batch = task.batch(part, streams_of(seed, device=rows.device))
        out = task.loss(params, {}, batch, None, Taps(train=False))
        losses.append(float(out.loss) * len(part))
        hits.append(float(task.scores(out.outputs, batch)["accuracy"]) * len(part))
    return math.fsum(losses) / len(rows), math.fsum(hits) / len(rows)


def _order_counts(orders: NDArray[np.int64], *, other: str) -> dict[str, object]:
    """How many frequencies have order 4, order 6, and any other."""
    counts = {f"num_order_{order}": int((orders == order).sum()) for order in FACTORED_ORDERS}
    return {**counts, other: orders.size - sum(counts.values())}


def _frequency_columns(step: int, found: FrequencyRows) -> Columns:
    """Rows of ``frequencies`` of the one network that was measured."""
    columns = {name: values[0] for name, values in found._asdict().items()}
    num = len(columns["kind"])
    missing = {
        name: [_known(value) for value in columns[name]] for name in ("residual", "dominant_amplitude")
    }
    kinds = [str(kind) for kind in columns["kind"]]
    return {
        "step": np.full(num, step),
        "frequency": np.arange(1, num + 1),
        **columns,
        **missing,
        "kind": kinds,
    }


def _known(value: float) -> float | None:
    """None, which the store holds as missing, for what is not a number."""
    return float(value) if math.isfinite(value) else None


def _single(row: Mapping[str, object]) -> Columns:
    return {name: [value] for name, value in row.items()}
