"""Writing one pack: rows as they come, live parts at each flush, and one commit at the end."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import SchemaError, StoreError
from gradlaw.hyperparameter import Scalar
from gradlaw.store import paths
from gradlaw.store.faults import reach
from gradlaw.store.files import Files
from gradlaw.store.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, DataFile, footer, open_writer, to_bytes
from gradlaw.store.paths import PackKey
from gradlaw.store.registry import register_columns, register_table
from gradlaw.store.schema import KEYS, Columns, arrow_schema, field, to_arrow
from gradlaw.store.trials import TrialRow, columns_of, hyperparameter_columns, trials_table
from gradlaw.table import Table

LIVE_KEEP_S = 3600.0
"""How long live parts stay after the last one of their attempt."""

LIVE_SWEEP_EVERY = 64
"""Writers that a process opens between two sweeps of old live parts: a sweep lists all parts there are,
and at every writer the listing would cost the square of the number of packs."""

_opened = count()


def reserve_attempt(files: Files, pack_id: str, first: int = 0) -> PackKey:
    """Reserves the smallest free attempt at a pack, from ``first`` on: two drivers never get the same one."""
    paths.check("pack_id", pack_id, paths.PACK)
    document = {"host": platform.node(), "pid": os.getpid(), "started_at": datetime.now(UTC).isoformat()}
    pack = PackKey(pack_id, first)
    while not files.create(paths.attempt(pack), json.dumps(document).encode()):
        pack = PackKey(pack_id, pack.attempt + 1)
    return pack


def sweep_live(files: Files, *, keep_s: float = LIVE_KEEP_S) -> int:
    """Deletes the live parts of attempts that added none for ``keep_s``; returns how many."""
    entries = [(paths.parse_live(key), entry) for key, entry in files.scan(paths.LIVE).items()]
    latest: dict[PackKey | None, float] = {}
    for pack, entry in entries:
        latest[pack] = max(latest.get(pack, 0.0), entry.modified_s)
    now = files.now() if entries else 0.0
    old = [entry.key for pack, entry in entries if latest[pack] < now - keep_s]
    files.delete_each(old)
    return len(old)


class PackWriter:
    """The rows of one attempt at a pack. Nothing but live parts is seen until :meth:`commit` returns.

    Live parts stay on disk for a while even after a commit, since readers may be at them; which of them
    are shown is decided by the commits: see :mod:`gradlaw.store.resolve`.

    Use as a context manager: leaving without a commit abandons the attempt.

    Attributes:
        study: Name of the study.
        pack: The pack and the number of this attempt.
    """

    def __init__(
        self,
        files: Files,
        study: str,
        pack_id: str,
        *,
        hyperparameters: Mapping[str, Scalar] | None = None,
        tables: Sequence[Table] = (),
        first_attempt: int = 0,
    ) -> None:
        self.study = paths.check("study", study)
        self._files = files
        self._registered = hyperparameter_columns(hyperparameters or {})
        register_columns(files, paths.TRIALS, self._registered)
        self._tables: dict[str, TableWriter] = {}
        self.pack = reserve_attempt(files, pack_id, first_attempt)
        for table in tables:
            self._writer(table)
        self._live: list[pa.Table] = []
        self._num_live = 0
        self._open = True
        if next(_opened) % LIVE_SWEEP_EVERY == 0:
            sweep_live(files)

    def append(self, table: Table, columns: Columns) -> None:
        """Adds rows to a table.

        Args:
            table: Its declaration.
            columns: The declared columns and ``trial_id``, of one length.

        Raises:
            SchemaError: If the rows do not fit, or the store holds another table of that name.
            StoreError: If they cannot be written; abandon the attempt then.
        """
        self._check_open()
        rows = to_arrow(table, columns)
        if rows.num_rows == 0:
            return
        self._writer(table).append(rows)
        if table.name == paths.METRICS:
            self._live.append(rows)

    def copy(self, table: Table, rows: pa.Table, *, live: bool = False) -> None:
        """Adds rows of another attempt as they stand in the store.

        Args:
            table: Its declaration.
            rows: With ``trial_id`` and the declared columns; others are left out.
            live: Whether live parts show them, as they show those of :meth:`append`.

        Raises:
            SchemaError: If a column is missing, or of a type that does not hold its values.
            StoreError: If they cannot be written; abandon the attempt then.
        """
        self._check_open()
        schema = arrow_schema((KEYS[0], *table.columns))
        try:
            held = rows.select(schema.names).cast(schema)
        except (KeyError, ValueError, pa.ArrowException) as error:
            msg = f"rows in the store do not fit table {table.name} (version {table.version}): {error}"
            raise SchemaError(msg) from error
        self._writer(table).append(held)
        if live and table.name == paths.METRICS:
            self._live.append(held)

    def flush(self) -> None:
        """Shows the rows of ``metrics`` since the last flush in ``metrics_live``."""
        self._check_open()
        reach("flush")
        for writer in self._tables.values():
            writer.touch()
        if not self._live:
            return
        rows = of_pack(pa.concat_tables(self._live, promote_options="default"), self.pack)
        key = paths.live(self.pack, pc.min(rows["step"]).as_py(), self._num_live)
        self._files.create(key, to_bytes(rows, study=self.study), durable=False)
        self._num_live += 1
        self._live = []

    def commit(self, rows: Sequence[TrialRow]) -> None:
        """Makes everything appended visible, with these rows of ``trials``, at once.

        Args:
            rows: One for every trial with appended rows, and for any other that ended.

        Raises:
            SchemaError: If the rows do not fit; nothing was written, a corrected call may follow.
            StoreError: If they cannot be written; nothing of this attempt is visible, unless only the last
                step failed, to force the commit's name to disk.
        """
        self._check_open()
        trials = trials_table(self.study, self.pack, rows)
        self._check_trials({row.trial_id for row in rows})
        new = [column for column in columns_of(rows) if column not in self._registered]
        register_columns(self._files, paths.TRIALS, new)
        self._open = False
        listed: list[DataFile] = []
        try:
            for name, writer in self._tables.items():
                file = writer.publish(paths.data(name, self.study, self.pack))
                if file is not None:
                    listed.append(file)
                reach("between_files")
            self._publish_trials(trials, listed)
        except BaseException:
            # an interrupt may come when the commit is there already: then what it lists must stay
            if not (self._files.late or self._files.exists(paths.data(paths.TRIALS, self.study, self.pack))):
                self._files.delete_each(file.key for file in listed)
            raise
        finally:
            self._clear()

    def abandon(self) -> None:
        """Forgets the rows of this attempt; its number stays taken."""
        if self._open:
            self._open = False
            self._clear()

    def _publish_trials(self, trials: pa.Table, listed: Sequence[DataFile]) -> None:
        commit = {
            "study": self.study,
            "pack_id": self.pack.pack_id,
            "attempt": self.pack.attempt,
            "files": [asdict(file) for file in listed],
        }
        key = paths.data(paths.TRIALS, self.study, self.pack)
        reach("before_commit")
        if not self._files.create(key, to_bytes(trials, commit=commit)):
            msg = (
                f"{self._files.location(key)} exists, though its number was reserved; remove the foreign file"
            )
            raise StoreError(msg)
        reach("after_commit")

    def _check_trials(self, committed: set[str]) -> None:
        for name, writer in self._tables.items():
            unknown = sorted(writer.trial_ids - committed)
            if unknown:
                msg = f"table {name} has rows of trials that are not committed: {', '.join(unknown)}"
                raise SchemaError(msg)

    def _writer(self, table: Table) -> TableWriter:
        held = self._tables.get(table.name)
        if held is None:
            register_table(self._files, table)
            held = self._tables[table.name] = TableWriter(self._files, table, self.pack)
        elif held.table.columns != table.columns:
            msg = f"table {table.name} is given to one pack with two sets of columns; declare it once"
            raise SchemaError(msg)
        return held

    def _check_open(self) -> None:
        if not self._open:
            msg = f"pack {self.pack.pack_id}, attempt {self.pack.attempt}, is committed or abandoned already"
            raise StoreError(msg)

    def _clear(self) -> None:
        for writer in self._tables.values():
            writer.discard()
        self._live = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()


class TableWriter:
    """Rows of one table, in row groups of full size, in a file not yet published."""

    def __init__(self, files: Files, table: Table, pack: PackKey) -> None:
        self.table = table
        self.trial_ids: set[str] = set()
        self._files, self._pack = files, pack
        self._held: list[pa.Table] = []
        self._num_held = 0
        self._held_bytes = 0
        self._num_rows = 0
        self._parquet: Any = None

    def append(self, rows: pa.Table) -> None:
        self.trial_ids.update(pc.unique(rows["trial_id"]).to_pylist())
        self._held.append(rows)
        self._num_held += rows.num_rows
        self._held_bytes += rows.nbytes
        self._num_rows += rows.num_rows
        if self._held_bytes >= ROW_GROUP_BYTES:
            self._write(self._num_held)
        elif self._num_held >= ROW_GROUP_ROWS:
            self._write(self._num_held - self._num_held % ROW_GROUP_ROWS)

    def touch(self) -> None:
        if self._parquet is not None:
            self._sink.flush()

    def publish(self, key: str) -> DataFile | None:
        """Completes the file under its key; None if there is no row."""
        if not self._num_rows:
            return None
        self._write(self._num_held)
        self._parquet.close()
        size, sha256 = self._sink.size, self._sink.sha256
        if not self._sink.publish(key):
            msg = (
                f"{self._files.location(key)} exists, though its number was reserved; remove the foreign file"
            )
            raise StoreError(msg)
        return DataFile(table=self.table.name, key=key, size=size, sha256=sha256, rows=self._num_rows)

    def discard(self) -> None:
        if self._parquet is not None:
            self._sink.discard()
        self._held = []

    def _write(self, count: int) -> None:
        if not count:
            return
        held = pa.concat_tables(self._held)
        rows = of_pack(by_trial(held.slice(0, count)), self._pack)
        if self._parquet is None:
            self._sink = self._files.sink()
            schema = rows.schema.with_metadata(footer(table_version=self.table.version))
            self._parquet = open_writer(self._sink, schema, count)
        self._parquet.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        rest = held.slice(count)
        self._held = [rest] if rest.num_rows else []
        self._num_held, self._held_bytes = rest.num_rows, rest.nbytes


def of_pack(rows: pa.Table, pack: PackKey) -> pa.Table:
    """The rows with the columns ``pack_id`` and ``attempt`` after ``trial_id``."""
    for position, (column, value) in enumerate(zip(KEYS[1:], pack, strict=True), start=1):
        item = field(column)
        rows = rows.add_column(position, item, pa.repeat(pa.scalar(value, item.type), rows.num_rows))
    return rows


def by_trial(rows: pa.Table) -> pa.Table:
    """The rows of each trial together, in the order they came.

    The engine's rows come step by step. A trial's own curve is what changes little from row to row, and
    what a reader filters by: it takes less space and is found faster.
    """
    coded = rows["trial_id"].combine_chunks().dictionary_encode()
    codes = coded.indices.to_numpy()
    narrow = np.min_scalar_type(len(coded.dictionary))  # a stable sort of 16 bits takes linear time
    return rows.take(pa.array(np.argsort(codes.astype(narrow), kind="stable")))
