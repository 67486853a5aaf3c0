"""The catalog: a store's files as SQL views, fixed at one moment.

Views: ``trials`` (a row a trial), ``metrics`` (a row a trial and logged step), ``metrics_live`` (the same,
of trials that still run), ``plans`` (a row a plan and planned trial, in an adaptive plan one for each
time it is asked for), ``locks`` and ``verdicts`` (a row a
document), and the tables of the studies. Every view is there, with its columns, before there is a row.

Of a trial that several commits hold, one wins (:mod:`gradlaw.store.winners`); the views show its rows
alone. Restricted to a plan, they show the plan's trials alone, and what the plan asks to be measured
takes part in the choice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError
from gradlaw.store import paths
from gradlaw.store.files import UnreachableError
from gradlaw.store.plans import PLAN_SCHEMA, PlanRecord, plan_files, read_plans
from gradlaw.store.resolve import Resolved, SetAside
from gradlaw.store.schema import KEYS, arrow_schema
from gradlaw.store.store import Document, Store
from gradlaw.store.trials import TRIAL_COLUMNS
from gradlaw.store.units import Unit
from gradlaw.table import Column
from gradlaw.trial import SETTLED
from gradlaw_analysis.plan_rows import PlanRows
from gradlaw_analysis.sql.database import open_database
from gradlaw_analysis.sql.request import ViewSource
from gradlaw_analysis.sql.sources import register

LIVE = paths.METRICS_LIVE
_SETTLED = [state.value for state in sorted(SETTLED)]
_JOIN = [column.name for column in KEYS]
_RECORD_SCHEMA = pa.schema(
    [
        ("plan_id", pa.string()),
        ("study", pa.string()),
        ("preset", pa.string()),
        ("kind", pa.string()),
        ("num_seeds", pa.int64()),
        ("declared_seeds", pa.int64()),
        ("overrides", pa.string()),
        ("created_at", pa.timestamp("us")),
        ("git_commit", pa.string()),
        ("claims_digest", pa.string()),
        ("is_open", pa.bool_()),
    ]
)
_DOCUMENT_SCHEMA = pa.schema(
    [("study", pa.string()), ("number", pa.int64()), ("kind", pa.string()), ("document", pa.string())]
)


@dataclass(frozen=True)
class _Cut:
    """What cuts views down: relations, the clauses for committed and for live rows, and the units to read."""

    units: Sequence[Unit]
    sources: Sequence[ViewSource] = ()
    rows: str = ""
    live: str = ""

    def keys(self, table: str) -> list[str]:
        """Keys of a table's files."""
        return [file.key for unit in self.units for file in unit.files if file.table == table]


class Catalog:
    """A store at the moment of construction; a later look takes a new catalog.

    Its files stay readable for an hour at least, whatever is written, merged or deleted meanwhile.

    Attributes:
        store: The store.
        resolved: The files that count.
        plans: The plans, oldest first.
    """

    def __init__(self, store: Store | str | Path) -> None:
        """Resolves the store.

        Args:
            store: The store, or its folder. Give one store to many catalogs: files are verified once.

        Raises:
            StoreError: If there is no store, or it is of another schema version.
        """
        self.store = store if isinstance(store, Store) else Store.open(store)
        self.resolved: Resolved = self.store.resolve()
        self.plans, damaged = read_plans(self.store.files)
        self._damaged = list(damaged)
        self._plan_rows: dict[str, PlanRows] = {}

    @cached_property
    def set_aside(self) -> tuple[SetAside, ...]:
        """Files that are not read, each with its reason."""
        _ = self._locks, self._verdicts
        return (*self.resolved.set_aside, *self._damaged)

    @cached_property
    def tables(self) -> dict[str, pa.Schema]:
        """Columns of every view whose rows belong to trials, ``trials`` itself first."""
        columns: dict[str, Iterable[Column]] = {
            paths.TRIALS: (*TRIAL_COLUMNS, *self.store.columns(paths.TRIALS)),
            paths.METRICS: (*KEYS, *_metric_columns(self.store.columns(paths.METRICS))),
        }
        columns[LIVE] = columns[paths.METRICS]
        columns |= {name: (*KEYS, *table.columns) for name, table in self.store.tables().items()}
        return {name: arrow_schema(tuple(listed), nullable=True) for name, listed in columns.items()}

    def plan_rows(self, plan_id: str) -> PlanRows:
        """The trials of a plan and what counts for it; raises UnknownNameError if there is no such plan."""
        if plan_id not in self._plan_rows:
            self._plan_rows[plan_id] = PlanRows(self.store.plan(plan_id)[1], self.resolved)
        return self._plan_rows[plan_id]

    def sources(
        self, plan_id: str | None = None, trial_ids: Collection[str] | None = None
    ) -> list[ViewSource]:
        """The views, and what they build on, for :func:`gradlaw_analysis.sql.run_sql`.

        Args:
            plan_id: Restricts every view of trials' rows to the trials of this plan.
            trial_ids: Restricts them further, for example to those that pass a gate.

        Raises:
            UnknownNameError: If there is no such plan.
        """
        cut = self._cut(plan_id, trial_ids)
        found = [*cut.sources, ViewSource(name="_settled", table=self._settled)]
        for name, schema in self.tables.items():
            live = name == LIVE
            files = self._locations(self.resolved.live if live else cut.keys(name))
            clause = f"{cut.live} ANTI JOIN _settled USING (trial_id)" if live else cut.rows
            sql = f"SELECT * FROM _files_{name} {clause}"  # noqa: S608 - checked names
            found.append(ViewSource(name=f"_files_{name}", files=files, schema=schema))
            found.append(ViewSource(name=name, sql=sql))
        return [*found, *self._plan_sources(), *self._document_sources()]

    def connection(
        self, plan_id: str | None = None, trial_ids: Collection[str] | None = None
    ) -> duckdb.DuckDBPyConnection:
        """A connection for SQL that is trusted: a study's, a report's. Arguments as of :meth:`sources`.

        It can reach no file but the store's, and those for reading only; what a user types belongs into
        :func:`gradlaw_analysis.sql.run_sql`, which also bounds memory and time.
        """
        connection = open_database()
        connection.execute("SET enable_external_access = false")
        register(connection, self.sources(plan_id, trial_ids))
        connection.execute("SET lock_configuration = true")
        return connection

    def files(self) -> list[str]:
        """Every data file that the views read, live parts apart."""
        return sorted(file.key for unit in self.resolved.units for file in unit.files)

    def _cut(self, plan_id: str | None, trial_ids: Collection[str] | None) -> _Cut:
        using = f"USING ({', '.join(_JOIN)})"
        index, units = self.resolved.index, self.resolved.units
        if plan_id is None and trial_ids is None:
            losers = self.resolved.losers().select(_JOIN)
            if not losers.num_rows:
                return _Cut(units)
            return _Cut(units, [ViewSource(name="_losers", table=losers)], rows=f"ANTI JOIN _losers {using}")
        if plan_id is None:
            ids = pa.array(trial_ids, pa.string())
            keeps = self.resolved.wins() & pc.is_in(index["trial_id"], value_set=ids).to_numpy()
        else:
            plan = self.plan_rows(plan_id)
            ids, keeps = plan.trials["trial_id"], plan.keeps(trial_ids)
            if trial_ids is not None:
                ids = ids.filter(pc.is_in(ids, value_set=pa.array(trial_ids, pa.string())))
        kept = index if keeps.all() else index.filter(pa.array(keeps))
        units = self.resolved.holding(keeps)
        whole = kept.num_rows == sum(unit.num_rows for unit in units)
        return _Cut(
            units,
            [
                ViewSource(name="_asked", table=pa.table({"trial_id": ids})),
                ViewSource(name="_kept", table=kept.select(_JOIN)),
            ],
            # Most often all that is read is kept, and a join of every row takes longer than all else.
            rows="" if whole else f"SEMI JOIN _kept {using}",
            live="SEMI JOIN _asked USING (trial_id)",
        )

    @cached_property
    def _settled(self) -> pa.Table:
        """Trials that have ended: an old live part of one may still be there, of a pack cut otherwise."""
        if not self.resolved.live:
            return pa.table({"trial_id": pa.array([], pa.string())})
        rows = self.resolved.winners()
        state = rows["state"].cast(pa.string())
        return rows.filter(pc.is_in(state, value_set=pa.array(_SETTLED))).select(["trial_id"])

    def _locations(self, keys: Iterable[str]) -> list[str]:
        return [self.store.files.location(key) for key in keys]

    def _plan_sources(self) -> list[ViewSource]:
        files = self._locations(plan_files(self.store.files, [plan.plan_id for plan in self.plans]))
        return [
            ViewSource(name="_files_plans", files=files, schema=PLAN_SCHEMA),
            ViewSource(name="_records", table=pa.Table.from_pylist(_records(self.plans), _RECORD_SCHEMA)),
            ViewSource(name="plans", sql="SELECT * FROM _files_plans JOIN _records USING (plan_id)"),
        ]

    def _document_sources(self) -> list[ViewSource]:
        return [
            ViewSource(name="locks", table=self._locks),
            ViewSource(name="verdicts", table=self._verdicts),
        ]

    @cached_property
    def _locks(self) -> pa.Table:
        return self._documents(self.store.studies_with(paths.LOCKS), self.store.locks)

    @cached_property
    def _verdicts(self) -> pa.Table:
        return self._documents(self.store.studies_with(paths.VERDICTS), self.store.verdicts)

    def _documents(self, studies: Iterable[str], read: Callable[[str], Iterable[Document]]) -> pa.Table:
        rows = []
        for study in studies:
            try:
                documents = list(read(study))
            except UnreachableError:
                raise
            except StoreError as error:
                self._damaged.append(SetAside(study, str(error)))
                continue
            for document in documents:
                row = {"study": study, "number": document["number"], "kind": document.get("kind")}
                rows.append({**row, "document": json.dumps(document, sort_keys=True)})
        return pa.Table.from_pylist(rows, _DOCUMENT_SCHEMA)


def _metric_columns(columns: Iterable[Column]) -> list[Column]:
    """``step`` and ``loss`` first, the others by name; the engine always writes these two."""
    held = {"step": Column(name="step", type="int64"), "loss": Column(name="loss", type="float64")}
    held |= {column.name: column for column in columns}
    return list(held.values())


def _records(plans: Iterable[PlanRecord]) -> list[dict[str, object]]:
    rows = []
    for plan in plans:
        row = {name: getattr(plan, name) for name in _RECORD_SCHEMA.names}
        rows.append({**row, "overrides": json.dumps(dict(plan.overrides), sort_keys=True)})
    return rows
