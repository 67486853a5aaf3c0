"""Plans: what each run asked for. One Parquet file a plan, its trials in the order of the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Literal, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError, UnknownNameError
from gradlaw.hyperparameter import Scalar
from gradlaw.store import paths
from gradlaw.store.files import LocalFiles
from gradlaw.store.parquet import ROW_GROUP_ROWS, read_bytes, to_bytes
from gradlaw.store.resolve import SetAside
from gradlaw.store.schema import to_utc

PLAN_SCHEMA = pa.schema(
    [("plan_id", pa.string()), ("trial_id", pa.string()), ("seed", pa.int64()), ("probes", pa.string())]
)
"""Columns of a plan's rows; ``probes``: JSON, digests of the probes asked for."""


class PlannedTrial(NamedTuple):
    """One trial of a plan, and the digests of the probes that the plan asks of it."""

    trial_id: str
    seed: int
    probes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """What one run asked for, without its trials.

    Attributes:
        plan_id: Letters, digits, underscores and dashes.
        study, preset: Names.
        overrides: What ``--set`` changed.
        num_seeds: Number of seeds.
        declared_seeds: Number of seeds that the preset declares.
        kind: ``confirm`` decides claims; ``explore``: on seeds that no claim is decided on; ``variant``:
            with overrides; ``smoke``: of a preset that only tests the plumbing.
        created_at: UTC if it has no zone.
        git_commit: Of the code that made the plan; "" if unknown.
        claims_digest: Of the claims as they stood.
    """

    plan_id: str
    study: str
    preset: str
    overrides: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    num_seeds: int
    declared_seeds: int
    kind: Literal["confirm", "explore", "variant", "smoke"] = "confirm"
    created_at: datetime
    git_commit: str = ""
    claims_digest: str = ""


def write_plan(files: LocalFiles, plan: PlanRecord, trials: Iterable[PlannedTrial]) -> bool:
    """Writes a plan; returns False, changing nothing, if there is one with this plan_id.

    Raises:
        StoreError: If there is one that cannot be read.
    """
    key = paths.plan(paths.check("plan_id", plan.plan_id, paths.PLAN))
    rows = iter(trials)
    tables = [PLAN_SCHEMA.empty_table()]
    while chunk := list(islice(rows, ROW_GROUP_ROWS)):
        tables.append(_rows(plan.plan_id, chunk))
    table = pa.concat_tables(tables)
    document = asdict(plan) | {"created_at": to_utc(plan.created_at).isoformat()}
    if files.create(key, to_bytes(table, plan=document)):
        return True
    _read(files, key)
    return False


def _rows(plan_id: str, trials: Sequence[PlannedTrial]) -> pa.Table:
    ids, seeds, probes = zip(*trials, strict=True)
    texts = {item: json.dumps(sorted(item)) for item in set(probes)}
    columns = ([plan_id] * len(trials), ids, seeds, [texts[item] for item in probes])
    arrays = [pa.array(column, item.type) for column, item in zip(columns, PLAN_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PLAN_SCHEMA)


def read_plans(files: LocalFiles) -> tuple[tuple[PlanRecord, ...], tuple[SetAside, ...]]:
    """Every plan, oldest first, and the files that should be one and cannot be read."""
    plans, set_aside = [], []
    for key in sorted(files.scan(paths.PLANS)):
        try:
            plans.append(_read(files, key)[0])
        except StoreError as error:
            set_aside.append(SetAside(files.location(key), str(error)))
    return tuple(sorted(plans, key=lambda plan: (plan.created_at, plan.plan_id))), tuple(set_aside)


def read_plan(files: LocalFiles, plan_id: str) -> tuple[PlanRecord, pa.Table]:
    """One plan and its rows, of ``PLAN_SCHEMA``; raises UnknownNameError, listing the known ones."""
    try:
        return _read(files, paths.plan(paths.check("plan_id", plan_id, paths.PLAN)))
    except FileNotFoundError as error:
        known = [plan.plan_id for plan in read_plans(files)[0]]
        raise UnknownNameError(plan_id, kind="plan", known=known) from error


def _read(files: LocalFiles, key: str) -> tuple[PlanRecord, pa.Table]:
    try:
        rows, entries = read_bytes(files.read(key))
        document = dict(entries["plan"])
        created_at = datetime.fromisoformat(document.pop("created_at"))
        return PlanRecord(**document, created_at=created_at), rows.cast(PLAN_SCHEMA)
    except (StoreError, KeyError, TypeError, ValueError) as error:
        msg = f"{files.location(key)} holds no plan ({error}); move it out of the store"
        raise StoreError(msg) from error
