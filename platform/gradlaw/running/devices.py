"""On which devices the trials of a plan were trained that the store holds already."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.pack import Training
from gradlaw.planning.plan import Plan
from gradlaw.store.files import Files, content_of
from gradlaw.store.parquet import read_bytes
from gradlaw.store.resolve import Resolved
from gradlaw.store.winners import Needed, winners

_DEVICE = "device"


def kind_of(device: str) -> str:
    """What is to be told apart: which of several GPUs it was changes no number.

    >>> kind_of("cuda:1")
    'cuda'
    """
    return device.partition(":")[0]


def devices_held(plan: Plan, resolved: Resolved, files: Files, needed: Needed) -> Counter[str]:
    """Number of the plan's trials that were trained, by kind of device.

    The index of a store does not tell it, so that every file of ``trials`` with a row that counts is read
    once more, of its columns only this one.

    Args:
        plan: The plan.
        resolved: A look at the store.
        files: The store's.
        needed: What the plan needs measured.

    Raises:
        StoreError: If a file cannot be read.
    """
    if not resolved.units:
        return Counter()
    trains = (pack for pack in plan.packs if isinstance(pack.program, Training))
    trained = pa.array([item.trial.trial_id for pack in trains for item in pack.members], pa.string())
    asked = pc.is_in(resolved.index["trial_id"], value_set=trained).to_numpy()
    counting = winners(resolved.index, needed) & asked
    ends = np.cumsum([unit.num_rows for unit in resolved.units])[:-1]
    rows = {
        unit.key: own for unit, own in zip(resolved.units, np.split(counting, ends), strict=True) if own.any()
    }
    found: Counter[str] = Counter()
    for key, content in files.read_each(rows):
        if isinstance(content, FileNotFoundError):  # merged, and gone since the look
            continue
        table, _ = read_bytes(content_of(content), [_DEVICE])
        counts = pc.value_counts(table[_DEVICE].filter(pa.array(rows[key])))
        for device, number in zip(*(counts.field(at).to_pylist() for at in (0, 1)), strict=True):
            found[kind_of(device)] += number
    del found[""]  # nothing was trained
    return found
