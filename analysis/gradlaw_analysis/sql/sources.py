"""Relations for a database that may open no file: Arrow reads them, DuckDB is handed the rows.

DuckDB still pushes the columns and filters of a statement down into Arrow's scan. Against DuckDB's own
reader this costs .01 to .9 s at five million rows on two cores (``benchmarks/sql_scan.py``), and it is
sound: ``allowed_paths`` would let COPY overwrite the very files it allows to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.dataset as ds  # type: ignore[import-untyped]  # pyarrow ships no types
from pyarrow import fs

from gradlaw.errors import QueryError
from gradlaw_analysis.sql.request import ViewSource


def register(connection: duckdb.DuckDBPyConnection, views: Sequence[ViewSource]) -> None:
    """Makes every source a relation of ``connection``, in order.

    Raises:
        QueryError: If a file cannot be read or a view's SQL fails; the message names the view.
    """
    for view in views:
        try:
            if view.sql is not None:
                connection.execute(f'CREATE TEMP VIEW "{view.name}" AS {view.sql}')
            else:
                relation = view.table if view.files is None else open_files(view.files, view.schema)
                connection.register(view.name, relation)
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            msg = f"view {view.name!r} cannot be opened: {error}"
            raise QueryError(msg) from error


def open_files(files: Sequence[str], schema: pa.Schema | None) -> ds.Dataset:
    """Opens Parquet files as one dataset, columns joined by name.

    Args:
        files: Paths or URIs, all of one file system.
        schema: Columns and types to read; None: the union over all files, the wider type where two
            files differ.
    """
    if files and "://" in files[0]:
        system, _ = fs.FileSystem.from_uri(files[0])
        paths = [fs.FileSystem.from_uri(file)[1] for file in files]
    else:
        system, paths = fs.LocalFileSystem(), [str(Path(file)) for file in files]
    factory = ds.FileSystemDatasetFactory(system, paths, ds.ParquetFileFormat())
    if schema is None:
        schema = factory.inspect(promote_options="permissive", fragments=None)
    return factory.finish(schema)
