"""Plans: what each run asked for. One Parquet file a plan, its trials in the order of the plan.

An adaptive plan, which asks for more after what has ended, has one more file for each round, written before
the round's trials run, and a mark once no round follows. None of them is ever changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError, UnknownNameError
from gradlaw.hyperparameter import Scalar
from gradlaw.plan_kind import PlanKind
from gradlaw.store import paths
from gradlaw.store.faults import reach
from gradlaw.store.files import Files, UnreachableError
from gradlaw.store.named import check_plan, check_probes
from gradlaw.store.parquet import ROW_GROUP_ROWS, footer, open_writer, read_bytes
from gradlaw.store.resolve import SetAside
from gradlaw.store.schema import to_utc

PLAN_SCHEMA = pa.schema(
    [
        ("plan_id", pa.string()),
        ("trial_id", pa.string()),
        ("seed", pa.int64()),
        ("probes", pa.string()),
        ("role", pa.string()),
        ("search", pa.string()),
        ("arm", pa.string()),
        ("number", pa.int64()),
        ("round", pa.int64()),
        ("asked", pa.string()),
    ]
)
"""Columns of a plan's rows, as of :class:`PlannedTrial`; ``probes``: JSON, digests of those asked for."""


class PlannedTrial(NamedTuple):
    """One trial of a plan, and the digests of the probes that the plan asks of it.

    Attributes:
        trial_id, seed: Of the trial.
        probes: Digests.
        role: Why an adaptive plan asks for it: ``tuning``, ``fresh`` or ``edge``; None: a plain grid does.
        search, arm: Names; None where no search asks.
        number: Position of the configuration within its arm, or of an edge's combination, from 0.
        round: In which round it is asked for, from 0.
        asked: JSON, the searched hyperparameters by name.
    """

    trial_id: str
    seed: int
    probes: tuple[str, ...] = ()
    role: str | None = None
    search: str | None = None
    arm: str | None = None
    number: int | None = None
    round: int | None = None
    asked: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """What one run asked for, without its trials.

    Attributes:
        plan_id: Letters, digits, underscores and dashes.
        study, preset: Names.
        overrides: What ``--set`` changed.
        num_seeds: Number of seeds.
        declared_seeds: Number of seeds that the preset declares.
        kind: What it may be used for.
        created_at: UTC if it has no zone.
        git_commit: Of the code that made the plan; "" if unknown.
        claims_digest: Of the claims as they stood.
        is_open: Whether rounds may follow: as it is written, whether it is adaptive; as it is read, whether
            it is and has not ended.
    """

    plan_id: str
    study: str
    preset: str
    overrides: Mapping[str, Scalar | tuple[Scalar, ...]] = field(default_factory=dict)
    num_seeds: int
    declared_seeds: int
    kind: PlanKind = PlanKind.CONFIRM
    created_at: datetime
    git_commit: str = ""
    claims_digest: str = ""
    is_open: bool = False


def write_plan(files: Files, plan: PlanRecord, trials: Iterable[PlannedTrial]) -> bool:
    """Writes a plan; returns False, changing nothing, if there is one with this plan_id.

    Raises:
        StoreError: If there is one that cannot be read.
    """
    key = paths.plan(paths.check("plan_id", plan.plan_id, paths.PLAN))
    document = asdict(plan) | {"created_at": to_utc(plan.created_at).isoformat()}
    if _create(files, key, _tables(plan.plan_id, trials), plan=document):
        return True
    _read(files, key)
    return False


def write_round(files: Files, plan_id: str, number: int, trials: Iterable[PlannedTrial]) -> bool:
    """Writes a round of a plan; returns False, changing nothing, if there is one of this number."""
    created_at = datetime.now(UTC).isoformat()
    document = {"plan_id": plan_id, "number": number, "created_at": created_at}
    key = paths.plan_round(plan_id, number)
    reach("before_round")
    created = _create(files, key, _tables(plan_id, trials), round=document)
    reach("after_round")
    return created


def close_plan(files: Files, plan_id: str) -> None:
    """Notes that no round follows."""
    files.create(paths.plan_closed(plan_id), b"{}")


def is_closed(files: Files, plan_id: str) -> bool:
    """Whether it is noted that no round follows."""
    return paths.plan_closed(plan_id) in files.scan(f"{paths.PLANS}/{plan_id}")


def read_rounds(files: Files, plan_id: str) -> list[pa.Table]:
    """The rounds of a plan so far, in order, rows of ``PLAN_SCHEMA``.

    Raises:
        StoreError: If one cannot be read, or is missing before another.
    """
    numbers = _rounds_of(files, plan_id)
    if numbers != list(range(len(numbers))):
        msg = f"plan {plan_id}: got rounds {numbers}, allowed none missing; restore them from a copy"
        raise StoreError(msg)
    return [_rows_of(files, paths.plan_round(plan_id, number)) for number in numbers]


def plan_files(files: Files, plan_ids: Iterable[str]) -> list[str]:
    """Keys of all files with rows of these plans."""
    wanted = set(plan_ids)
    found = ((key, paths.parse_plan(key)) for key in sorted(files.scan(paths.PLANS)))
    return [key for key, plan in found if plan and plan.plan_id in wanted and plan.part != paths.CLOSED]


def _rounds_of(files: Files, plan_id: str) -> list[int]:
    found = (paths.parse_plan(key) for key in files.scan(f"{paths.PLANS}/{plan_id}"))
    return sorted(plan.part for plan in found if plan and plan.part is not None and plan.part >= 0)


def _create(files: Files, key: str, tables: Iterator[pa.Table], **entries: object) -> bool:
    """Writes one row group after another, for a driver holds no more of a large plan's rows than it must."""
    first = next(tables, PLAN_SCHEMA.empty_table())
    schema = PLAN_SCHEMA.with_metadata(footer(**entries))
    with files.sink() as sink:
        with open_writer(sink, schema, first.num_rows) as writer:
            for rows in chain([first], tables):
                writer.write_table(rows.cast(schema), row_group_size=ROW_GROUP_ROWS)
        return sink.publish(key)


def _tables(plan_id: str, trials: Iterable[PlannedTrial]) -> Iterator[pa.Table]:
    rows = iter(trials)
    while chunk := list(islice(rows, ROW_GROUP_ROWS)):
        yield _rows(plan_id, chunk)


def _rows(plan_id: str, trials: Sequence[PlannedTrial]) -> pa.Table:
    ids, seeds, probes, *others = zip(*trials, strict=True)
    texts = {item: json.dumps(sorted(item)) for item in set(probes)}
    columns = ([plan_id] * len(trials), ids, seeds, [texts[item] for item in probes], *others)
    arrays = [pa.array(column, item.type) for column, item in zip(columns, PLAN_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=PLAN_SCHEMA)


def read_plans(files: Files) -> tuple[tuple[PlanRecord, ...], tuple[SetAside, ...]]:
    """Every plan, oldest first, and the files that should be one and cannot be read."""
    plans, set_aside = [], []
    for key in sorted(files.scan(paths.PLANS)):
        named = paths.parse_plan(key)
        if named and named.part is not None:
            continue
        try:
            record = _read(files, key)[0]
            read_rounds(files, record.plan_id)
            plans.append(record)
        except UnreachableError:
            raise
        except StoreError as error:
            set_aside.append(SetAside(files.location(key), str(error)))
    return tuple(sorted(plans, key=lambda plan: (plan.created_at, plan.plan_id))), tuple(set_aside)


def read_plan(files: Files, plan_id: str) -> tuple[PlanRecord, pa.Table]:
    """One plan and its rows so far, of ``PLAN_SCHEMA``; raises UnknownNameError, listing the known ones."""
    try:
        record, rows = _read(files, paths.plan(paths.check("plan_id", plan_id, paths.PLAN)))
        return record, pa.concat_tables([rows, *read_rounds(files, plan_id)])
    except FileNotFoundError as error:
        known = [plan.plan_id for plan in read_plans(files)[0]]
        raise UnknownNameError(plan_id, kind="plan", known=known) from error


def _read(files: Files, key: str) -> tuple[PlanRecord, pa.Table]:
    try:
        rows, entries = read_bytes(files.read(key))
        document = dict(entries["plan"])
        created_at = datetime.fromisoformat(document.pop("created_at"))
        record = PlanRecord(**document, created_at=created_at)
        check_plan(vars(record), key)
        is_open = record.is_open and not is_closed(files, record.plan_id)
        return replace(record, kind=PlanKind(record.kind), is_open=is_open), _filled(rows)
    except UnreachableError:
        raise
    except (StoreError, KeyError, TypeError, ValueError) as error:
        msg = f"{files.location(key)} holds no plan ({error}); move it out of the store"
        raise StoreError(msg) from error


def _rows_of(files: Files, key: str) -> pa.Table:
    try:
        return _filled(read_bytes(files.read(key))[0])
    except UnreachableError:
        raise
    except (StoreError, KeyError, TypeError, ValueError) as error:
        msg = f"{files.location(key)} holds no round ({error}); restore it from a copy of the store"
        raise StoreError(msg) from error


def _filled(rows: pa.Table) -> pa.Table:
    """Rows with every column; files made before a nullable one existed hold none of it."""
    for item in PLAN_SCHEMA:
        if item.name not in rows.column_names and item.name not in ("plan_id", "trial_id", "seed", "probes"):
            rows = rows.append_column(item, pa.nulls(len(rows), item.type))
    check_probes(rows)
    return rows.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA)
