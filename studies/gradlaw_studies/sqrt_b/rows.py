"""Rows of this study's tables, gathered one by one from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradlaw.probe import Snapshot
from gradlaw.table import Table
from gradlaw_studies.sqrt_b.law import finite_population_factor, two_batch_estimate
from gradlaw_studies.sqrt_b.noise import BatchNoise, ExactKurtosis, Population

SMALL_BATCH = 8
"""Smaller batch size of the two-batch estimate; the bigger is the largest measured."""


def phase_of(step: int, steps: int) -> str:
    """``start`` at step 0, ``end`` at the last step, ``middle`` between."""
    return "start" if step == 0 else "end" if step == steps else "middle"


def phase_steps(steps: int) -> list[int]:
    """The steps at which noise is measured: the first, the middle, the last."""
    return sorted({0, steps // 2, steps})


class Rows:
    """Rows by table of one trial at one step; ``step`` and ``phase`` are filled in."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._common = {"step": snapshot.step, "phase": phase_of(snapshot.step, snapshot.steps)}
        self._rows: dict[str, list[dict[str, object]]] = {}

    def add(self, table: Table, **values: object) -> None:
        """Adds one row."""
        self._rows.setdefault(table.name, []).append(self._common | values)

    def columns(self, tables: Sequence[Table]) -> dict[str, dict[str, list[object]]]:
        """The rows as columns by table, in the declared order."""
        return {
            table.name: {
                column.name: [row[column.name] for row in self._rows.get(table.name, [])]
                for column in table.columns
            }
            for table in tables
        }


def noise_rows(held: Population, noise: BatchNoise, *, replacement: bool) -> list[dict[str, object]]:
    """Rows of ``gradient_noise`` for one batch size, one a quantity, without ``num_draws``."""
    size = noise.batch_size
    factor = 1.0 if replacement else finite_population_factor(len(held.scalars), size)
    return [
        {
            "batch_size": size,
            "replacement": replacement,
            "quantity": quantity,
            "std": noise.std[quantity],
            "std_corrected": noise.std[quantity] / factor,
            "std_exact": sigma / size**0.5,
            "excess_kurtosis": noise.excess_kurtosis.get(quantity),
        }
        for quantity, sigma in held.sigmas.items()
    ]


def control_rows(size: int, std: Mapping[str, float], sigma: Mapping[str, float]) -> list[dict[str, object]]:
    """Rows of ``noise_control`` for one batch size, one a quantity, beside ``sigma`` / sqrt(B)."""
    return [
        {"batch_size": size, "quantity": name, "std": value, "std_exact": sigma[name] / size**0.5}
        for name, value in std.items()
    ]


def kurtosis_row(
    law: ExactKurtosis, column: int, num_draws: int, measured: float | None
) -> dict[str, object]:
    """A row of ``noise_kurtosis`` without ``batch_size``; column 0 is the loss, then the directions."""
    return {
        "quantity": "projection" if column else "loss",
        "direction": max(column - 1, 0),
        "num_draws": num_draws if law.measurable else 0,
        "excess_kurtosis": measured if law.measurable else None,
        "kurtosis_exact": law.value,
        "standard_error": law.standard_error,
        "measurable": law.measurable,
    }


def noise_scale_row(held: Population, norms2: Mapping[int, float]) -> dict[str, object]:
    """The row of ``noise_scale``: B_simple = tr(Sigma) / |G|^2, directly and from two batch sizes.

    Args:
        held: The population.
        norms2: Mean squared norm of the mini-batch gradient by batch size, with replacement.
    """
    big = max(norms2)
    small = min(SMALL_BATCH, big // 2)
    trace, norm2 = held.trace, float(held.mean @ held.mean)
    trace_two_batch, norm2_two_batch = two_batch_estimate(small, big, norms2[small], norms2[big])
    return {
        "small_batch_size": small,
        "big_batch_size": big,
        "trace": trace,
        "norm2": norm2,
        "b_simple": trace / norm2,
        "trace_two_batch": trace_two_batch,
        "norm2_two_batch": norm2_two_batch,
        "b_simple_two_batch": trace_two_batch / norm2_two_batch,
    }
