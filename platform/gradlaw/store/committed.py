"""Rows of single trials as they stand in one unit of the store, read group by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError
from gradlaw.store.files import Files
from gradlaw.store.paths import PackKey
from gradlaw.store.schema import KEYS
from gradlaw.store.units import Unit

_KEYS = [column.name for column in KEYS]

Wanted = Mapping[str, PackKey]
"""Trials by id, each with the commit whose rows of it are wanted."""


def committed_rows(
    files: Files, unit: Unit, table: str, wanted: Wanted, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Rows of a table, with one row group of one file in memory at a time.

    Args:
        files: The store's.
        unit: The commit, or the part of a generation that stands for it.
        table: Name of the table.
        wanted: Which trials, of which commits of the unit.
        columns: Columns to read; None: all.

    Raises:
        StoreError: If a file cannot be read.
    """
    for file in unit.files:
        if file.table != table:
            continue
        try:
            with (
                files.open(file.key) as handle,
                pq.ParquetFile(handle, page_checksum_verification=True) as parquet,
            ):
                for number in range(parquet.num_row_groups):
                    mask = _mask(parquet.read_row_group(number, _KEYS, use_threads=False), wanted)
                    if pc.any(mask).as_py():  # of large columns only what is wanted is read
                        yield parquet.read_row_group(number, columns, use_threads=False).filter(mask)
        except (pa.ArrowException, OSError) as error:
            msg = f"{files.location(file.key)} cannot be read: {error}; run again, or restore it from a copy"
            raise StoreError(msg) from error


def _mask(keys: pa.Table, wanted: Wanted) -> pa.ChunkedArray:
    """Which rows are of a wanted trial and commit."""
    packs = pa.array([pack.pack_id for pack in wanted.values()], pa.string())
    attempts = pa.array(np.array([pack.attempt for pack in wanted.values()], dtype=np.int32))
    place = pc.index_in(keys["trial_id"], value_set=pa.array(list(wanted), pa.string()))
    same_pack = pc.equal(keys["pack_id"], pc.take(packs, place))
    return pc.fill_null(pc.and_(same_pack, pc.equal(keys["attempt"], pc.take(attempts, place))), False)
