"""What a query is: the statement, the relations it may see and the limits it must keep."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import ConfigurationError

Parameter = bool | int | float | str | None

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one query may use. What passes a limit is stopped and raises, never cut short.

    Attributes:
        wall_s: Seconds from the start of the child process to the last row, > 0.
        memory_bytes: Address space beyond what the idle child process holds, >= 64 MiB. The default
            leaves a laptop of 8 GiB usable.
        max_rows: Rows of the result, >= 1.
        max_bytes: Bytes of the result as Arrow sends it, >= 1. It is what the caller's process may
            come to hold.
    """

    wall_s: float = 60.0
    memory_bytes: int = 2 << 30
    max_rows: int = 10_000_000
    max_bytes: int = 256 << 20

    def __post_init__(self) -> None:
        """Reports every limit out of range at once."""
        faults = [
            f"limits.{name}: got {value}, allowed {allowed}"
            for name, value, ok, allowed in (
                ("wall_s", self.wall_s, self.wall_s > 0, "> 0"),
                ("memory_bytes", self.memory_bytes, self.memory_bytes >= 64 << 20, f">= {64 << 20}"),
                ("max_rows", self.max_rows, self.max_rows >= 1, ">= 1"),
                ("max_bytes", self.max_bytes, self.max_bytes >= 1, ">= 1"),
            )
            if not ok
        ]
        if faults:
            raise ConfigurationError(faults)


@dataclass(frozen=True, kw_only=True)
class Query:
    """A statement and the values of its ``$name`` parameters."""

    statement: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ViewSource:
    """One relation that a statement may see; exactly one of ``files``, ``table`` and ``sql`` is given.

    The database has no file access of any kind: the child opens ``files`` itself, for reading, and
    registers them under ``name``. ``sql`` is written by the catalog, not by the user, and refers to
    sources that stand before it in the list; it must hold no ``read_parquet`` or file name.

    Attributes:
        name: What SQL calls it: a letter or underscore, then letters, digits, underscores. A leading
            underscore marks a relation that is only there for other views to build on.
        files: Exact Parquet files of one file system, as paths or URIs (``s3://bucket/key``). Columns
            are joined by name: a file without a column reads as NULL there.
        schema: The columns and types of ``files``, cast to on reading. None: the union of what every
            file's footer declares, which costs one read a file. Required where ``files`` is empty.
        table: Rows small enough to send along, such as the trials that pass a gate.
        sql: A SELECT.
    """

    name: str
    files: Sequence[str] | None = None
    schema: pa.Schema | None = None
    table: pa.Table | None = None
    sql: str | None = None

    def __post_init__(self) -> None:
        """Reports every fault of the source at once."""
        faults = []
        given = [kind for kind in ("files", "table", "sql") if getattr(self, kind) is not None]
        if not _NAME.fullmatch(self.name):
            faults.append(f"view name: got {self.name!r}, allowed letters, digits and underscores")
        if len(given) != 1:
            faults.append(f"view {self.name!r}: got {given}, allowed exactly one of files, table and sql")
        if self.schema is not None and self.files is None:
            faults.append(f"view {self.name!r}: got a schema without files, allowed with files only")
        if self.files is not None and not self.files and self.schema is None:
            faults.append(f"view {self.name!r}: got no file and no schema, allowed one or both")
        if faults:
            raise ConfigurationError(faults)


@dataclass(frozen=True, kw_only=True)
class Request:
    """All that the child process is told, as one line of JSON on its standard input."""

    query: Query
    views: Sequence[ViewSource]
    limits: Limits

    def to_json(self) -> str:
        """Returns the request as JSON; Arrow's schemas and tables travel in base 64."""
        return json.dumps(
            {
                "statement": self.query.statement,
                "parameters": dict(self.query.parameters),
                "views": [_encode_view(view) for view in self.views],
                "limits": vars(self.limits),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Returns the request that ``to_json`` wrote."""
        fields = json.loads(text)
        return cls(
            query=Query(statement=fields["statement"], parameters=fields["parameters"]),
            views=[_decode_view(view) for view in fields["views"]],
            limits=Limits(**fields["limits"]),
        )


def _encode_view(view: ViewSource) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": view.name, "sql": view.sql}
    if view.files is not None:
        fields["files"] = list(view.files)
    if view.schema is not None:
        fields["schema"] = base64.b64encode(view.schema.serialize()).decode()
    if view.table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, view.table.schema) as writer:
            writer.write_table(view.table)
        fields["table"] = base64.b64encode(sink.getvalue()).decode()
    return fields


def _decode_view(fields: dict[str, Any]) -> ViewSource:
    schema, table = fields.pop("schema", None), fields.pop("table", None)
    return ViewSource(
        **fields,
        schema=pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema))) if schema else None,
        table=pa.ipc.open_stream(base64.b64decode(table)).read_all() if table else None,
    )
