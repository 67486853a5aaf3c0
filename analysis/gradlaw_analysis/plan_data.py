"""One plan's trials as they stand in the store, and the rows that a study's SQL makes of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import ClaimError
from gradlaw.fingerprint import digest
from gradlaw.store.plans import PlanRecord
from gradlaw.store.units import Unit
from gradlaw.trial import FINAL, State
from gradlaw_analysis.catalog import Catalog
from gradlaw_analysis.plan_rows import PlanRows
from gradlaw_analysis.sample_sql import Scope, mentions
from gradlaw_analysis.verdict import FileSet

MISSING = "missing"
# What DuckDB says of a table or column that a view does not have; every other error is shown as it is.
_NOT_HELD = re.compile(
    r'(Table) with name (\w+) does not exist|(column) named "(\w+)"|Referenced (column) "(\w+)" not found'
    r'|(Column) "(\w+)" referenced that exists in the SELECT clause'  # an alias of the name that is missing
)

_FIRST = """
-- one row: of the plans that hold a trial of this plan the time of the oldest, and the seeds that the oldest
-- of those that decide declares
SELECT min(created_at), arg_min(declared_seeds, (created_at, plan_id)) FILTER (kind = 'confirm')
FROM temp.plans
WHERE study = $study AND trial_id IN (SELECT trial_id FROM temp.plans WHERE plan_id = $plan_id)
"""

_PLANS = """
-- one row: how many plans of the study there are; with one there is nothing to compare
SELECT count(*) FROM temp._records WHERE study = $study
"""


class PlanData:
    """A plan, read at one moment.

    Attributes:
        record: The plan.
        rows_held: Its trials, and the committed rows that count for it.
        trials: One row a planned trial: ``trial_id``, ``seed``, ``tuning``: whether a search asks for it to
            choose by, ``state`` ("missing" without a row) and ``ended``: whether it has a final state and
            was measured with every probe the plan asks for.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, catalog: Catalog, record: PlanRecord) -> None:
        self._connection, self._views = connection, tuple(catalog.tables)
        self.record, self.rows_held = record, catalog.plan_rows(record.plan_id)
        self.trials = planned_trials(self.rows_held)

    @property
    def num_planned(self) -> int:
        """Trials of the plan."""
        return len(self.trials)

    @property
    def num_ended(self) -> int:
        """Trials of the plan that need not run again."""
        return int(self.trials["ended"].sum())

    @property
    def declared_seeds(self) -> int:
        """Number of seeds that were declared before any of the plan's trials ran.

        Of the oldest plan that shares a trial: a number raised once there is data is another look at them.
        """
        return self._first[1]

    @property
    def asked_since(self) -> datetime:
        """When the first of the plan's trials was asked for, by whatever plan; UTC."""
        return self._first[0]

    @property
    def complete(self) -> bool:
        """Whether every planned trial has ended, and no round is to come."""
        return self.num_ended == self.num_planned and not self.record.is_open

    @cached_property
    def states(self) -> Mapping[str, int]:
        """Number of the plan's trials by state."""
        counts = self.trials["state"].value_counts().sort_index()
        return {str(state): int(count) for state, count in counts.items()}

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds all of whose planned trials have ended, those of tuning apart; claims see these alone.

        None while rounds are to come: what a search or an edge comes to is known at its end.
        """
        return self._ended_seeds(self.trials.loc[~self.trials["tuning"]])

    def _ended_seeds(self, trials: pd.DataFrame) -> tuple[int, ...]:
        if self.record.is_open:
            return ()
        ended = trials.groupby("seed")["ended"].all()
        return tuple(int(seed) for seed in sorted(ended.index[ended]))

    @cached_property
    def scope(self) -> Scope:
        """What a study's SQL sees: the trials of tuning too, which may belong to a statement's design."""
        seeds = None if self.complete else self._ended_seeds(self.trials)
        return Scope(plan_id=self.record.plan_id, views=self._views, seeds=seeds)

    def rows(self, sql: str, name: str) -> pd.DataFrame:
        """The rows of a whole statement.

        Raises:
            ClaimError: The statement fails; the message has ``name``.
        """
        try:
            return self._connection.execute(sql).df()
        except duckdb.Error as error:
            msg = f"{name}{_cause(error)}"
            raise ClaimError(msg) from error

    def files(self, sql: str) -> FileSet:
        """The files that a statement reads: of the tables it names, those that hold trials of the plan."""
        tables = set(mentions(sql, {"trials", *self._views}))
        found = {
            file.key: file.sha256 or str(file.size)
            for unit in self._units
            for file in unit.files
            if file.table in tables
        }
        return FileSet(keys=tuple(sorted(found)), digest=digest(found))

    @cached_property
    def _first(self) -> tuple[datetime, int]:
        record = self.record
        if self._connection.execute(_PLANS, {"study": record.study}).fetchall() == [(1,)]:
            return record.created_at, record.declared_seeds
        asked = {"study": record.study, "plan_id": record.plan_id}
        created_at, declared = self._connection.execute(_FIRST, asked).fetchall()[0]
        return created_at or record.created_at, record.declared_seeds if declared is None else int(declared)

    @cached_property
    def _units(self) -> tuple[Unit, ...]:
        return self.rows_held.resolved.holding(self.rows_held.keeps())


def planned_trials(rows: PlanRows) -> pd.DataFrame:
    """One row a planned trial; by codes, for few of a million trials differ in state and probes."""
    held = rows.resolved.index.select(["state", "probes"]).take(pa.array(rows.places, mask=rows.places < 0))
    state = pc.fill_null(held["state"].cast(pa.string()), MISSING)
    columns = (state, rows.trials["asked"], pc.fill_null(held["probes"].cast(pa.string()), "[]"))
    coded = [column.combine_chunks().dictionary_encode() for column in columns]
    texts = [column.dictionary.to_pylist() for column in coded]
    num_texts = [max(1, len(listed)) for listed in texts]
    codes = np.ravel_multi_index([column.indices.to_numpy() for column in coded], num_texts)
    kinds, kind = np.unique(codes, return_inverse=True)
    ended = [
        _ended(*(listed[code] for listed, code in zip(texts, places, strict=True)))
        for places in zip(*np.unravel_index(kinds, num_texts), strict=True)
    ]
    frame: pd.DataFrame = rows.trials.select(["trial_id", "seed", "tuning"]).to_pandas()
    return frame.assign(state=state.to_pandas(), ended=np.array(ended, dtype=np.bool_)[kind])


def _cause(error: duckdb.Error) -> str:
    """Why a statement failed: most often its claim is about trials that this store does not hold."""
    said = str(error).splitlines()[0]
    found = _NOT_HELD.search(said)
    if found is None:
        return f" fails: {said}"
    what, which = filter(None, found.groups())
    return f": this store has no {what.lower()} {which}"


def _ended(state: str, asked: str, held: str) -> bool:
    """As a run sees it: what has ended and was measured as asked is not run again."""
    if state == MISSING or State(state) not in FINAL:
        return False
    return State(state) is State.FAILED or set(json.loads(asked)) <= set(json.loads(held))
