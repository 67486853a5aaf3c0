"""Declared tables as Arrow schemas, and rows checked against them. Nothing is coerced.

What fits a column: an array of its own kind whose every value the column holds exactly (int32 in int64,
float32 in float64), text in codes, a sequence of Python's bool, int, float, str or bytes, and for a timestamp
a datetime (UTC if it has no zone). A Python float may go to float32, since Python has no other float; an int
never goes to a float column, nor the other way. A missing value (None) only where the column is nullable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
from numpy.typing import NDArray

from gradlaw.errors import SchemaError
from gradlaw.store import paths
from gradlaw.table import Coded, Column, ColumnType, Table

Columns = Mapping[str, NDArray[Any] | Sequence[object]]

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us"),
}

_PYTHON_TYPES: dict[ColumnType, tuple[type, ...]] = {
    "bool": (bool, np.bool_),
    "int32": (int, np.integer),
    "int64": (int, np.integer),
    "float32": (float, np.floating),
    "float64": (float, np.floating),
    "string": (str,),
    "binary": (bytes,),
    "timestamp": (datetime,),
}

KEYS = (
    Column(name="trial_id", type="string", doc="fingerprint of the trial"),
    Column(name="pack_id", type="string", doc="the pack it ran in"),
    Column(name="attempt", type="int32", doc="number of the attempt at the pack, from 0"),
)


def field(column: Column, *, nullable: bool | None = None) -> pa.Field:
    """The Arrow field of a column, with its unit and meaning as metadata."""
    metadata = {key: text for key, text in (("unit", column.unit), ("doc", column.doc)) if text}
    return pa.field(
        column.name,
        ARROW_TYPES[column.type],
        nullable=column.nullable if nullable is None else nullable,
        metadata=metadata or None,
    )


def arrow_schema(columns: Sequence[Column], *, nullable: bool | None = None) -> pa.Schema:
    """The Arrow schema of columns; ``nullable`` overrides what they declare."""
    return pa.schema([field(column, nullable=nullable) for column in columns])


def check_table(table: Table) -> None:
    """Raises if a declaration cannot be stored.

    A column twice, one the store adds, no name for SQL, or a type that there is not: what is written of it
    stays.
    """
    names = [paths.check(f"column of {table.name}", column.name) for column in table.columns]
    added = {column.name for column in KEYS}
    faults = sorted({name for name in names if names.count(name) > 1 or name in added})
    if faults:
        msg = f"table {table.name}: columns {', '.join(faults)} are declared twice or added by the store"
        raise SchemaError(msg)
    strange = [f"{item.name}: got {item.type!r}" for item in table.columns if item.type not in ARROW_TYPES]
    if strange:
        msg = f"table {table.name}: types: {'; '.join(strange)}; allowed {', '.join(ARROW_TYPES)}"
        raise SchemaError(msg)


def to_arrow(table: Table, columns: Columns) -> pa.Table:
    """Returns rows as an Arrow table with the declared columns, ``trial_id`` first.

    Args:
        table: The declaration.
        columns: Rows by column: those declared and ``trial_id``, all of one length.

    Raises:
        SchemaError: With every fault: columns missing or unknown, lengths, types, missing values.
    """
    declared = (KEYS[0], *table.columns)
    faults = _check_names([column.name for column in declared], columns)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        faults.append(f"columns of different lengths: {lengths}")
    arrays = []
    for column in declared:
        if column.name in columns:
            try:
                arrays.append(to_array(column, columns[column.name]))
            except SchemaError as error:
                faults.append(str(error))
    if faults:
        msg = f"rows do not fit table {table.name} (version {table.version}): {'; '.join(faults)}"
        raise SchemaError(msg)
    return pa.Table.from_arrays(arrays, schema=arrow_schema(declared))


def _check_names(declared: Sequence[str], columns: Columns) -> list[str]:
    missing = [name for name in declared if name not in columns]
    unknown = [name for name in columns if name not in declared]
    faults = []
    if missing:
        faults.append(f"missing columns: {', '.join(missing)}")
    if unknown:
        faults.append(f"unknown columns: {', '.join(unknown)} (declared: {', '.join(declared)})")
    return faults


def to_array(column: Column, values: NDArray[Any] | Sequence[object]) -> pa.Array:
    """Returns the values of one column in its declared type; raises SchemaError if they do not fit."""
    if isinstance(values, Coded) and column.type == "string":
        return _from_sequence(column, list(values.values)).take(pa.array(values.codes))
    if isinstance(values, np.ndarray) and values.dtype != object:
        return _from_numpy(column, values)
    if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)):
        msg = f"{column.name}: got {type(values).__name__}, allowed an array or a sequence"
        raise SchemaError(msg)
    return _from_sequence(column, list(values))


def _from_numpy(column: Column, values: NDArray[Any]) -> pa.Array:
    if values.ndim != 1:
        msg = f"{column.name}: got an array of {values.ndim} dimensions, allowed 1"
        raise SchemaError(msg)
    if column.type == "string":
        fits = values.dtype.kind == "U"
    elif column.type == "binary":
        fits = False  # numpy's own bytes lose the zeros they end in
    else:
        # datetime64[us] is the one unit that neither loses digits nor range
        kind = "datetime64[us]" if column.type == "timestamp" else column.type
        wanted = np.dtype(kind)
        fits = values.dtype.kind == wanted.kind and np.can_cast(values.dtype, wanted, casting="safe")
    if not fits:
        msg = f"{column.name}: got an array of {values.dtype}, allowed {column.type}"
        raise SchemaError(msg)
    array = pa.array(values).cast(ARROW_TYPES[column.type])
    if column.type == "timestamp" and array.null_count and not column.nullable:
        raise SchemaError(_missing(column))
    return array


def _from_sequence(column: Column, values: Sequence[object]) -> pa.Array:
    for kind in set(map(type, values)):  # few kinds, many values
        if not _allowed(column, kind):
            value = next(value for value in values if type(value) is kind)
            if value is None:
                raise SchemaError(_missing(column))
            msg = f"{column.name}: got {value!r} ({kind.__name__}), allowed {column.type}"
            raise SchemaError(msg)
    if column.type == "timestamp":
        values = [to_utc(value) if isinstance(value, datetime) else None for value in values]
    try:
        return pa.array(values, type=ARROW_TYPES[column.type])
    except (pa.ArrowException, OverflowError) as error:
        msg = f"{column.name}: {error}, allowed {column.type}"
        raise SchemaError(msg) from error


def _allowed(column: Column, kind: type) -> bool:
    if kind is type(None):
        return column.nullable
    return issubclass(kind, _PYTHON_TYPES[column.type]) and (column.type == "bool" or kind is not bool)


def _missing(column: Column) -> str:
    return f"{column.name}: a value is missing, and the column is not declared nullable"


def to_utc(moment: datetime) -> datetime:
    """The moment in UTC, without a zone; without a zone it is UTC already."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
