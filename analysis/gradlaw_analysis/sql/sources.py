"""Relations for a database that may open no file: Arrow reads them, DuckDB is handed the rows.

DuckDB still pushes the columns and filters of a statement down into Arrow's scan. Against DuckDB's own
reader this takes about one and a half times as long (``benchmarks/store.py``, ``benchmarks/sql_scan.py``),
and it is sound: ``allowed_paths`` would let COPY overwrite the very files it allows to be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.dataset as ds  # type: ignore[import-untyped]  # pyarrow ships no types
from pyarrow import fs

from gradlaw.errors import QueryError
from gradlaw.store.arrow import arrow_files
from gradlaw_analysis.sql.request import ViewSource

CODED = ("trial_id", "pack_id")
"""Columns in which a value stands for many rows in turn: spelt out for every row, they take longer to read
than all else (grouping 100 million rows by trial: four times as long). But Arrow compares no codes with what
Parquet says of each group of rows, and so reads every one of them to find a trial's."""

_LOOKED_UP = re.compile(r"\btrial_id\b\"?\s*(?:==?|\bIN\b|\bBETWEEN\b)\s*\(?\s*['$]", re.IGNORECASE)


def register(connection: duckdb.DuckDBPyConnection, views: Sequence[ViewSource], statement: str = "") -> None:
    """Makes every source a relation of ``connection``, in order.

    DuckDB does not know how many rows Arrow has, takes it for one, and would build the hash table of a join
    from the hundred million rows of ``metrics`` rather than from the thousand of ``trials``. So joins stay as
    they are written, with the right side in the hash table.

    Args:
        connection: The database.
        views: The sources; a view stands after those it builds on.
        statement: What will be asked, if it is known: what it looks up is read so that it is found fast.

    Raises:
        QueryError: If a file cannot be read or a view's SQL fails; the message names the view.
    """
    connection.execute("SET disabled_optimizers = 'build_side_probe_side'")
    coded = codes(statement)
    for view in views:
        try:
            if view.sql is not None:
                connection.execute(f'CREATE TEMP VIEW "{view.name}" AS {view.sql}')
            else:
                relation = view.table if view.files is None else open_files(view.files, view.schema, coded)
                connection.register(view.name, relation)
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            msg = f"view {view.name!r} cannot be opened: {error}"
            raise QueryError(msg) from error


def codes(statement: str) -> frozenset[str]:
    """The columns that stay in codes: all but ``trial_id`` where it is compared with a text or a parameter.

    By it alone rows are sorted.

    >>> sorted(codes("SELECT * FROM metrics WHERE trial_id = '3f' AND step > 5"))
    ['pack_id']
    >>> sorted(codes("SELECT * FROM metrics JOIN trials ON metrics.trial_id = trials.trial_id"))
    ['pack_id', 'trial_id']
    """
    return frozenset(CODED) - ({"trial_id"} if _LOOKED_UP.search(statement) else set())


def open_files(
    files: Sequence[str], schema: pa.Schema | None, coded: AbstractSet[str] = frozenset(CODED)
) -> ds.Dataset:
    """Opens Parquet files as one dataset, columns joined by name.

    Args:
        files: Paths or URIs, all of one file system.
        schema: Columns and types to read; None: the union over all files, the wider type where two
            files differ.
        coded: Columns of text that stay in codes.
    """
    # On a bucket no digest was compared before; on a disk the pages need no second look.
    remote = bool(files) and "://" in files[0]
    if remote:
        system = arrow_files(files[0])[0]
        paths = [arrow_files(file)[1] for file in files]
    else:
        system, paths = fs.LocalFileSystem(), [str(Path(file)) for file in files]
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=remote)
    form = ds.ParquetFileFormat(dictionary_columns=coded, default_fragment_scan_options=options)
    factory = ds.FileSystemDatasetFactory(system, paths, form)
    if schema is None:
        schema = factory.inspect(promote_options="permissive", fragments=None)
    return factory.finish(pa.schema([_coded(field, coded) for field in schema]))


def _coded(field: pa.Field, coded: AbstractSet[str]) -> pa.Field:
    """A text column that the files hold in codes stays so up to DuckDB, which calls it VARCHAR either way."""
    if field.name in coded and field.type == pa.string():
        return field.with_type(pa.dictionary(pa.int32(), pa.string()))
    return field
