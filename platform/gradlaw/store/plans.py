"""Plans: what each run asked for. One Parquet file a plan, its trials in the order of the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import SchemaError, StoreError, UnknownNameError
from gradlaw.store import paths
from gradlaw.store.files import LocalFiles
from gradlaw.store.parquet import read_bytes, to_bytes

PLAN_SCHEMA = pa.schema(
    [("plan_id", pa.string()), ("trial_id", pa.string()), ("seed", pa.int64()), ("probes", pa.string())]
)
"""Columns of a plan's rows; ``probes``: JSON, digests of the probes asked of the trial."""

REQUIRED = ("plan_id", "study", "preset", "kind", "num_seeds", "created_at")
"""What a plan's document must say; it may say more."""

PlannedTrial = tuple[str, int] | tuple[str, int, Sequence[str]]
"""trial_id, seed and, optionally, the digests of the probes that the plan asks of the trial."""

PlanDocument = dict[str, Any]


def write_plan(files: LocalFiles, document: Mapping[str, Any], trials: Iterable[PlannedTrial]) -> bool:
    """Writes a plan.

    Args:
        files: The store's.
        document: JSON: at least ``REQUIRED``; ``created_at`` in ISO 8601, UTC.
        trials: In the order of the plan.

    Returns:
        False, changing nothing, if there is a plan with this plan_id.

    Raises:
        SchemaError: If something required is missing.
    """
    missing = [name for name in REQUIRED if name not in document]
    if missing:
        msg = f"plan {document.get('plan_id')}: missing {', '.join(missing)}"
        raise SchemaError(msg)
    plan_id = paths.check("plan_id", document["plan_id"], paths.PLAN)
    rows = [
        (plan_id, *trial[:2], json.dumps(sorted(trial[2] if len(trial) == 3 else ()))) for trial in trials
    ]
    columns = zip(*rows, strict=True) if rows else [()] * len(PLAN_SCHEMA)
    arrays = [pa.array(column, item.type) for column, item in zip(columns, PLAN_SCHEMA, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=PLAN_SCHEMA)
    document = {**document, "num_trials": len(rows)}
    return files.create(paths.plan(plan_id), to_bytes(table, plan=document))


def read_plans(files: LocalFiles) -> tuple[PlanDocument, ...]:
    """The document of every plan, oldest first. Raises StoreError, naming the file, if one is damaged."""
    plans = [_read(files, key)[0] for key in sorted(files.scan(paths.PLANS))]
    return tuple(sorted(plans, key=lambda plan: (plan["created_at"], plan["plan_id"])))


def read_plan(files: LocalFiles, plan_id: str) -> tuple[PlanDocument, pa.Table]:
    """One plan and its rows, of ``PLAN_SCHEMA``; raises UnknownNameError, listing the known ones."""
    key = paths.plan(paths.check("plan_id", plan_id, paths.PLAN))
    try:
        return _read(files, key)
    except FileNotFoundError as error:
        known = [plan["plan_id"] for plan in read_plans(files)]
        raise UnknownNameError(plan_id, kind="plan", known=known) from error


def _read(files: LocalFiles, key: str) -> tuple[PlanDocument, pa.Table]:
    rows, entries = read_bytes(files.read(key), files.location(key))
    document = entries.get("plan")
    if not isinstance(document, dict) or not set(REQUIRED) <= set(document):
        msg = f"{files.location(key)} holds no plan; move it out of the store"
        raise StoreError(msg)
    return document, rows.cast(PLAN_SCHEMA)
