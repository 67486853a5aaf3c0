"""What each table of a store holds, registered once and for all writers.

A study's table is registered whole. ``trials`` and ``metrics`` grow by name: their columns are
registered one by one (hyperparameters, metrics), a float32 and a float64 column of one name as one.
The registry is also how a view knows its columns before there is a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from gradlaw.errors import SchemaError, StoreError
from gradlaw.store import paths
from gradlaw.store.files import Content, Files, content_of
from gradlaw.store.named import check_schema
from gradlaw.store.schema import check_table
from gradlaw.table import Column, Table

_OF_METRICS = {"step", "loss"}  # what the engine always writes there


def register_table(files: Files, table: Table) -> None:
    """Registers a declaration; raises SchemaError if the store holds another of that name."""
    paths.check("table name", table.name)
    check_table(table)
    if table.name == paths.METRICS and {column.name for column in table.columns} >= _OF_METRICS:
        register_columns(files, paths.METRICS, table.columns)
        return
    if table.name in paths.RESERVED | {paths.TRIALS, paths.METRICS}:
        msg = f"table name: got {table.name!r}, which the store itself uses; rename the table"
        raise SchemaError(msg)
    key = paths.table_schema(table.name)
    held = _register(files, key, asdict(table), files.read_or_error(key))
    if _identity(_table(held)) != _identity(table):
        msg = (
            f"table {table.name}: the store holds version {held['version']} with columns "
            f"{_columns_text(_table(held))}; got version {table.version} with {_columns_text(table)}; "
            "write to another store"
        )
        raise SchemaError(msg)


def register_columns(files: Files, table: str, columns: Iterable[Column]) -> None:
    """Registers columns of a table that grows by name; raises SchemaError if a type differs."""
    asked = {
        paths.column_schema(table, paths.check(f"column of {table}", column.name)): column
        for column in columns
    }
    for key, content in files.read_each(asked):
        column = asked[key]
        kind = "float64" if column.type == "float32" else column.type
        document = {"name": column.name, "type": kind, "unit": column.unit, "doc": column.doc}
        held = _register(files, key, document, content)
        if held["type"] != kind:
            msg = (
                f"column {column.name} of {table}: the store holds it as {held['type']}, got {column.type}; "
                "rename it, or write to another store"
            )
            raise SchemaError(msg)


def registered_tables(files: Files) -> dict[str, Table]:
    """The study tables of a store by name."""
    keys = [key for key in sorted(files.scan(paths.SCHEMAS)) if key.count("/") == 1]
    found = (_table(_parsed(files, key, content)) for key, content in files.read_each(keys))
    return {table.name: table for table in found}


def registered_columns(files: Files, table: str) -> tuple[Column, ...]:
    """The columns, all nullable, that a table which grows by name has grown so far."""
    keys = sorted(files.scan(f"{paths.SCHEMAS}/{table}"))
    documents = [_parsed(files, key, content) for key, content in files.read_each(keys)]
    return tuple(Column(**document, nullable=True) for document in documents)


def _register(files: Files, key: str, document: dict[str, Any], content: Content) -> dict[str, Any]:
    """Creates a document unless there is one, as was just read; returns the one there is."""
    if isinstance(content, FileNotFoundError):
        if files.create(key, json.dumps(document, sort_keys=True).encode()):
            return document
        content = files.read(key)
    return _parsed(files, key, content)


def _parsed(files: Files, key: str, content: Content) -> dict[str, Any]:
    data = content_of(content)
    try:
        document: dict[str, Any] = json.loads(data)
        check_schema(document, key)
    except (ValueError, RecursionError, StoreError) as error:
        msg = f"{files.location(key)} is damaged ({error}); restore it from a copy of the store"
        raise StoreError(msg) from error
    return document


def _table(document: dict[str, Any]) -> Table:
    fields = dict(document)
    columns = fields.pop("columns")
    assert isinstance(columns, Sequence)
    return Table(**fields, columns=tuple(Column(**column) for column in columns))


def _identity(table: Table) -> object:
    """What must agree: wording may change."""
    return table.version, [(column.name, column.type, column.nullable) for column in table.columns]


def _columns_text(table: Table) -> str:
    return ", ".join(f"{column.name} {column.type}" for column in table.columns)
