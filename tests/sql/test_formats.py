"""Each format read back by something else; a file appears whole or not at all."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from gradlaw.errors import QueryError, StoreError, UnknownNameError, UsageError
from gradlaw_analysis.sql.formats import FORMATS, TABLE_ROWS, write_result

RICH = pa.table(
    {
        "n": pa.array([1, None], pa.int64()),
        "lr": pa.array([0.1, math.nan], pa.float32()),
        "x": [math.inf, None],
        "text": ['a, "b"|\n', ""],
        "ok": [True, None],
        "at": pa.array([dt.datetime(2026, 1, 2, 3, 4, 5), None], pa.timestamp("us")),
        "nested": [{"a": [1.5, None]}, None],
        "exact": [Decimal("1.50"), Decimal("2.00")],
        "raw": [b"\x00\xff", None],
    }
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def write(table: pa.Table, file_format: str, stream: io.StringIO | None = None) -> str:
    stream = stream or io.StringIO()
    assert (
        write_result(table.schema, table.to_batches(), file_format=file_format, stream=stream)
        == table.num_rows
    )
    return stream.getvalue()


def test_json_is_a_list_of_objects_without_nan() -> None:
    def refuse(name: str) -> object:
        raise AssertionError(name)

    first, second = json.loads(write(RICH, "json"), parse_constant=refuse)
    assert first == {
        "n": 1, "lr": 0.1, "x": None, "text": 'a, "b"|\n', "ok": True, "at": "2026-01-02T03:04:05",
        "nested": {"a": [1.5, None]}, "exact": 1.5, "raw": "00ff",
    }  # fmt: skip
    assert second["lr"] is None
    assert second["text"] == ""
    assert json.loads(write(RICH.slice(0, 0), "json")) == []


def test_csv_reads_back_in_two_other_readers() -> None:
    text = write(RICH, "csv")
    header, first, second = csv.reader(io.StringIO(text))
    assert header == RICH.schema.names
    expected = [
        "1",
        "0.1",
        "inf",
        'a, "b"|\n',
        "true",
        "2026-01-02T03:04:05",
        '{"a": [1.5, null]}',
        "1.5",
        "00ff",
    ]
    assert first == expected
    assert second == ["", "nan", "", "", "", "", "", "2", ""]
    options = pa_csv.ConvertOptions(
        strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
    )
    parsing = pa_csv.ParseOptions(newlines_in_values=True)
    table = pa_csv.read_csv(io.BytesIO(text.encode()), parse_options=parsing, convert_options=options)
    assert table["text"].to_pylist() == ['a, "b"|\n', ""]  # the empty string is not NULL
    assert table["n"].to_pylist() == [1, None]


def test_markdown_keeps_one_row_a_line() -> None:
    lines = write(RICH.select(["n", "text"]), "markdown").splitlines()
    assert lines == ["| n | text |", "| ---: | --- |", r'| 1 | a, "b"\|\n |', "| NULL |  |"]


def test_a_plain_table_is_aligned() -> None:
    table = pa.table({"batch_size": [8, 128], "name": ["é", None]})
    assert (
        write(table, "table")
        == "batch_size  name\n----------  ----\n         8  é\n       128  NULL\n(2 rows)\n"
    )


def test_a_terminal_gets_lines_and_no_escape_from_the_data() -> None:
    table = pa.table({"a": ["\x1b[2J[red]x[/red]"]})
    text = write(table, "table", Terminal())
    assert "\x1b[2J" not in text
    assert "\\x1b[2J[red]x[/red]" in text
    assert "(1 row)" in text
    assert "\x1b" not in write(table, "table")


def test_a_long_table_says_what_it_leaves_out() -> None:
    table = pa.table({"a": range(TABLE_ROWS + 5)})
    text = write(table, "table")
    assert len(text.splitlines()) == TABLE_ROWS + 3
    assert text.endswith(f"(first {TABLE_ROWS} of {TABLE_ROWS + 5} rows; the other formats write all)\n")
    assert len(write(table, "csv").splitlines()) == TABLE_ROWS + 6


@pytest.mark.parametrize("file_format", [*FORMATS, "parquet"])
def test_an_empty_result_is_valid(file_format: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write_result(RICH.schema, [], file_format=file_format, out=out) == 0
    assert out.read_bytes()


def test_parquet_reads_back_equal(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    write_result(RICH.schema, RICH.to_batches(), file_format="parquet", out=out)
    back = pq.read_table(out)
    assert back.schema == RICH.schema
    assert back.drop(["lr"]).equals(RICH.drop(["lr"]))  # NaN equals nothing
    stream = io.TextIOWrapper(io.BytesIO())
    write_result(RICH.schema, RICH.to_batches(), file_format="parquet", stream=stream)
    assert pq.read_table(pa.BufferReader(stream.buffer.getvalue())).num_rows == 2


@pytest.mark.parametrize("file_format", [*FORMATS, "parquet"])
def test_a_file_appears_whole_or_not_at_all(file_format: str, tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from RICH.to_batches()
        msg = "stopped"
        raise QueryError(msg)

    out = tmp_path / "out"
    out.write_text("before")
    with pytest.raises(QueryError, match="stopped"):
        write_result(RICH.schema, broken(), file_format=file_format, out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert out.read_text() == "before"
    write_result(RICH.schema, RICH.to_batches(), file_format=file_format, out=out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert out.read_bytes() != b"before"


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'parquet'"):
        write_result(RICH.schema, [], file_format="parket")
    with pytest.raises(UsageError, match="parquet is binary"):
        write_result(RICH.schema, [], file_format="parquet", stream=Terminal())
    with pytest.raises(StoreError, match=r"cannot write .*No such file"):
        write_result(RICH.schema, [], file_format="csv", out=tmp_path / "none" / "out")
    interval = pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(QueryError, match=r"parquet cannot hold.*CAST"):
        write_result(interval.schema, interval.to_batches(), file_format="parquet", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
