"""How a Parquet file of the store is written, and what its footer says."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import SchemaError, StoreError

SCHEMA_VERSION = 1
ROW_GROUP_ROWS = 122_880
ROW_GROUP_BYTES = 32 << 20
"""In memory: a group is what is held before it is written, and a few times over while it is written."""
MAGIC = b"PAR1"
STEP = "step"
COMPRESSED_ROWS = 1024
"""From how many rows on columns are compressed: in a file of a few kilobytes, most of it footer, nothing is
saved, and setting up a decompressor for every column takes three quarters of the time to read it."""

_PREFIX = "gradlaw."


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of rows, as the commit or manifest that makes it visible lists it.

    Attributes:
        table: Its table.
        key: Where it is in the store.
        size: Bytes.
        sha256: Digest of the content, 64 hexadecimal digits; "" for a commit's own ``trials`` file,
            which cannot hold its own digest: its pages carry checksums.
        rows: Number of rows.
    """

    table: str
    key: str
    size: int
    sha256: str
    rows: int


class BinarySink(Protocol):
    """What Parquet is written to."""

    def write(self, data: bytes) -> int: ...


def footer(**entries: object) -> dict[str, str]:
    """Footer entries as JSON, with the schema version and where the file was written."""
    entries = {
        "schema_version": SCHEMA_VERSION,
        "provenance": {"host": platform.node(), "python": platform.python_version()},
        **entries,
    }
    return {_PREFIX + name: json.dumps(value, sort_keys=True) for name, value in entries.items()}


def read_footer(schema: pa.Schema) -> dict[str, Any]:
    """The entries that ``footer`` wrote; raises SchemaError for a file of another kind or version."""
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    entries = {}
    for name, value in metadata.items():
        if name.startswith(_PREFIX.encode()):
            entries[name.decode().removeprefix(_PREFIX)] = json.loads(value)
    version = entries.get("schema_version")
    if version != SCHEMA_VERSION:
        msg = f"it is not a file of this store: schema version {version}, allowed {SCHEMA_VERSION}"
        raise SchemaError(msg)
    return entries


def open_writer(sink: BinarySink, schema: pa.Schema, num_rows: int) -> pq.ParquetWriter:
    """A writer of Parquet: floats split by byte (half the size), steps as differences, others coded.

    Args:
        sink: Where to.
        schema: Columns and footer.
        num_rows: Rows that will be written at least.
    """
    floats = {field.name for field in schema if pa.types.is_floating(field.type)}
    encodings = dict.fromkeys(floats, "BYTE_STREAM_SPLIT")
    if STEP in schema.names and pa.types.is_integer(schema.field(STEP).type):
        encodings[STEP] = "DELTA_BINARY_PACKED"  # along a trial's curve nearly all are one
    blobs = {field.name for field in schema if pa.types.is_binary(field.type)}  # none repeats or is compared
    plain = {*encodings, *blobs, *(field.name for field in schema if pa.types.is_boolean(field.type))}
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd" if num_rows >= COMPRESSED_ROWS else "none",
        use_dictionary=[field.name for field in schema if field.name not in plain],
        column_encoding=encodings,
        write_statistics=[name for name in schema.names if name not in blobs] if blobs else True,
        write_page_checksum=True,
        coerce_timestamps="us",
    )


def to_bytes(rows: pa.Table, **entries: object) -> bytes:
    """Rows as one Parquet file in memory."""
    schema = rows.schema.with_metadata(footer(**entries))
    sink = pa.BufferOutputStream()
    with open_writer(sink, schema, rows.num_rows) as writer:
        writer.write_table(rows.cast(schema), row_group_size=ROW_GROUP_ROWS)
    return bytes(sink.getvalue())


def read_bytes(data: bytes, columns: Sequence[str] | None = None) -> tuple[pa.Table, dict[str, Any]]:
    """Rows and footer of a file in memory; the checksum of every page that is read is verified.

    Args:
        data: The file.
        columns: Columns to read; None: all.

    Raises:
        StoreError: If it is not Parquet, is damaged, or is not a file of this store; says why, not which.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        entries = read_footer(file.schema_arrow)
        return file.read(columns if columns is None else list(columns), use_threads=False), entries
    except (pa.ArrowException, OSError, ValueError, RecursionError) as error:
        if isinstance(error, SchemaError):
            raise
        msg = f"it is not a readable Parquet file: {error}"
        raise StoreError(msg) from error
