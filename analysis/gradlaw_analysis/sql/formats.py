"""Writing a result: a table to read, or CSV, JSON, Markdown and Parquet to go on with.

All but ``table`` write batch by batch and hold one at a time; ``table`` shows the first rows and says how
many there were.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import QueryError, UnknownNameError, UsageError
from gradlaw_analysis.json_values import plain
from gradlaw_analysis.whole_file import whole_file

Batches = Iterable[pa.RecordBatch]
Writer = Callable[[pa.Schema, Batches, IO[str]], int]

TABLE_ROWS = 1000
SHOWN_BYTES = 8
"""Of a binary value, in the formats that are read by people."""


def write_result(
    schema: pa.Schema,
    batches: Batches,
    *,
    file_format: str,
    out: Path | None = None,
    stream: IO[str] | None = None,
) -> int:
    """Writes a result and returns its number of rows.

    Args:
        schema: Columns of the result.
        batches: Its rows.
        file_format: A name of :data:`FORMATS`, or "parquet".
        out: File to write; it appears whole or not at all. None: write to ``stream``.
        stream: None: standard output. On a terminal "table" is drawn with lines.

    Raises:
        UnknownNameError: For an unknown format.
        UsageError: For Parquet on a terminal.
        QueryError: For a column that Parquet cannot hold.
        StoreError: If ``out`` cannot be written.
    """
    if file_format not in {*FORMATS, "parquet"}:
        raise UnknownNameError(file_format, kind="format", known=[*FORMATS, "parquet"])
    if out is not None:
        return _write_file(schema, batches, file_format, out)
    stream = stream or sys.stdout
    if file_format != "parquet":
        return FORMATS[file_format](schema, batches, stream)
    if stream.isatty():
        msg = "parquet is binary and standard output is a terminal; give a file or pipe the output"
        raise UsageError(msg)
    binary: IO[bytes] = getattr(stream, "buffer")  # noqa: B009 - of text over bytes, as standard output is
    return _write_parquet(schema, batches, binary)


def _write_file(schema: pa.Schema, batches: Batches, file_format: str, out: Path) -> int:
    with whole_file(out) as binary:
        if file_format == "parquet":
            return _write_parquet(schema, batches, binary)
        with open(binary.fileno(), "w", encoding="utf-8", newline="", closefd=False) as text:
            return FORMATS[file_format](schema, batches, text)


def _write_parquet(schema: pa.Schema, batches: Batches, sink: IO[bytes]) -> int:
    rows = 0
    try:
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
    except pa.ArrowNotImplementedError as error:
        msg = f"parquet cannot hold a column of the result: {error}; CAST it, say to VARCHAR"
        raise QueryError(msg) from error
    return rows


def _text(value: object) -> str | None:
    """Returns a cell as text, None for NULL; NaN and infinities keep their names here."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    simple = plain(value)
    return simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False)


def _shown(value: object) -> str | None:
    """As :func:`_text`, for a person to read: of many bytes the first few, and how many there are."""
    if isinstance(value, bytes) and len(value) > SHOWN_BYTES:
        return f"{value[:SHOWN_BYTES].hex()}... ({len(value)} bytes)"
    return _text(value)


def _rows(batches: Batches) -> Iterator[tuple[object, ...]]:
    for batch in batches:
        yield from zip(*[_values(column) for column in batch.columns], strict=True)


def _values(column: pa.Array) -> list[object]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_float32(column.type):  # .1 stays .1, not 0.10000000149011612
        return [None if value is None else float(str(np.float32(value))) for value in values]
    return values


def _write_table(schema: pa.Schema, batches: Batches, stream: IO[str]) -> int:
    rows = _rows(batches)
    cells = [["NULL" if (text := _shown(value)) is None else _printable(text) for value in row]
             for row in islice(rows, TABLE_ROWS)]  # fmt: skip
    total = len(cells) + sum(1 for _ in rows)
    numeric = [_is_number(field.type) for field in schema]
    names = [_printable(name) for name in schema.names]
    (_draw if stream.isatty() else _align)(names, cells, numeric, stream)
    shown = f"{total} row{'' if total == 1 else 's'}"
    if total > len(cells):
        shown = f"first {len(cells)} of {shown}; the other formats write all"
    stream.write(f"({shown})\n")
    return total


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _printable(text: str) -> str:
    """Escapes what could move a terminal's cursor or break a row."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _draw(names: list[str], cells: list[list[str]], numeric: list[bool], stream: IO[str]) -> None:
    from rich.console import Console  # needed on a terminal only
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name, right in zip(names, numeric, strict=True):
        table.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))  # Text: a cell is data, not markup
    Console(file=stream).print(table)


def _align(names: list[str], cells: list[list[str]], numeric: list[bool], stream: IO[str]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for row in [names, ["-" * width for width in widths], *cells]:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        stream.write("  ".join(padded).rstrip() + "\n")


def _write_csv(schema: pa.Schema, batches: Batches, stream: IO[str]) -> int:
    """RFC 4180 with LF; NULL is an empty field and the empty string a quoted one."""
    stream.write(",".join(map(_csv_cell, schema.names)) + "\n")
    count = 0
    for count, row in enumerate(_rows(batches), start=1):  # noqa: B007 - read after the loop
        stream.write(",".join(_csv_cell(_text(value)) for value in row) + "\n")
    return count


def _csv_cell(text: str | None) -> str:
    if text is None:
        return ""
    quoted = not text or any(sign in text for sign in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if quoted else text


def _write_json(schema: pa.Schema, batches: Batches, stream: IO[str]) -> int:
    """A list of objects, one a line."""
    stream.write("[")
    count = 0
    for count, row in enumerate(_rows(batches), start=1):
        fields = dict(zip(schema.names, map(plain, row), strict=True))
        stream.write(
            ("\n" if count == 1 else ",\n") + json.dumps(fields, ensure_ascii=False, allow_nan=False)
        )
    stream.write("\n]\n" if count else "]\n")
    return count


def _write_markdown(schema: pa.Schema, batches: Batches, stream: IO[str]) -> int:
    marks = ["---:" if _is_number(field.type) else "---" for field in schema]
    for line in (map(_markdown_cell, schema.names), marks):
        stream.write("| " + " | ".join(line) + " |\n")
    count = 0
    for count, row in enumerate(_rows(batches), start=1):  # noqa: B007 - read after the loop
        stream.write("| " + " | ".join(_markdown_cell(_shown(value)) for value in row) + " |\n")
    return count


def _markdown_cell(text: str | None) -> str:
    return "NULL" if text is None else _printable(text).replace("|", "\\|")


FORMATS: Mapping[str, Writer] = {
    "table": _write_table,
    "csv": _write_csv,
    "json": _write_json,
    "markdown": _write_markdown,
}
