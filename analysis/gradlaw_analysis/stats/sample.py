"""Checks a sample and reduces its rows: seeds are the unit, so each test sees one estimate a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from gradlaw.errors import ClaimError

Floats = npt.NDArray[np.float64]


def require_columns(sample: pd.DataFrame, columns: Sequence[str], test: str) -> None:
    """Raises ClaimError unless ``sample`` has ``columns`` and a seed in every row."""
    missing = [name for name in columns if name not in sample.columns]
    if missing:
        msg = (
            f"{test} cannot read its sample: missing columns {', '.join(missing)}; "
            f"got {', '.join(map(str, sample.columns)) or 'none'}; needed {', '.join(columns)}"
        )
        raise ClaimError(msg)
    if bool(sample["seed"].isna().any()):
        msg = f"{test} got a row without a seed; seeds are the unit, so select trials.seed in every row"
        raise ClaimError(msg)


def finite(sample: pd.DataFrame, column: str) -> Floats:
    """Returns ``column`` as finite float64.

    Raises:
        ClaimError: If a value is missing, infinite or no number; names the seeds.
    """
    numbers = pd.to_numeric(sample[column], errors="coerce")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    require(sample, np.isfinite(values), column, "a finite number")
    return values


def require(sample: pd.DataFrame, valid: npt.NDArray[np.bool_], column: str, needed: str) -> None:
    """Raises ClaimError naming the seeds of the rows that are not ``valid``."""
    if valid.all():
        return
    rows = sample.loc[~valid]
    seeds = ", ".join(str(seed) for seed in sorted(set(rows["seed"]))[:10])
    msg = (
        f"column {column!r} must be {needed}; got {rows[column].iloc[0]!r} among {len(rows)} such rows, "
        f"at seed {seeds}; let the SQL leave such trials out on declared grounds, or fix the measurement"
    )
    raise ClaimError(msg)


def require_single(sample: pd.DataFrame, columns: Sequence[str], remedy: str) -> None:
    """Raises ClaimError if two rows share the values of ``columns`` (of which ``seed`` is one)."""
    twice = sample.duplicated(subset=list(columns))
    if bool(twice.any()):
        seed = sample.loc[twice, "seed"].iloc[0]
        msg = f"seed {seed} has several rows for one ({', '.join(columns)}); {remedy}"
        raise ClaimError(msg)


def seed_means(sample: pd.DataFrame, column: str) -> Floats:
    """Mean of ``column`` over the rows of each seed, in the order of seeds; shape (num_seeds,)."""
    means: Floats = _means(sample, column, ["seed"]).to_numpy().astype(np.float64)
    return means


def seed_table(sample: pd.DataFrame, column: str, by: str, order: Sequence[Any]) -> tuple[Floats, int]:
    """Mean of ``column`` in each cell of seed x ``by``.

    Returns:
        The complete seeds, shape (num_seeds, len(order)), and the number of incomplete ones.
    """
    cells = _means(sample, column, ["seed", by]).unstack(by).reindex(columns=pd.Index(order))
    complete = cells.dropna()
    return complete.to_numpy(dtype=np.float64).reshape(-1, len(order)), len(cells) - len(complete)


def _means(sample: pd.DataFrame, column: str, by: list[str]) -> pd.Series[float]:
    values = pd.Series(finite(sample, column), index=sample.index, name=column)
    means: pd.Series[float] = values.groupby([sample[name] for name in by], sort=True).mean()
    return means
