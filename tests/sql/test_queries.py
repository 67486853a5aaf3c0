"""Statements that only read: right answers, typed columns, honest errors."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlaw.errors import ConfigurationError, QueryError
from gradlaw_analysis.sql import Limits, ViewSource, iter_sql, run_sql
from gradlaw_analysis.sql.child import distinct
from gradlaw_analysis.sql.request import Query, Request

ANSWERS: list[tuple[str, list[dict[str, object]]]] = [
    ("SELECT count(*) AS n, sum(step) AS s FROM metrics", [{"n": 4, "s": 8}]),
    ("FROM metrics SELECT max(loss) AS a WHERE NOT isnan(loss);", [{"a": 2.0}]),
    ("WITH best AS (SELECT min(loss) AS a FROM metrics) SELECT a FROM best -- end", [{"a": 0.5}]),
    (
        "SELECT trial_id, rank() OVER (ORDER BY step DESC) AS r FROM metrics LIMIT 1",
        [{"trial_id": "c", "r": 1}],
    ),
    (
        "PIVOT (FROM metrics WHERE step = 0) ON trial_id USING sum(loss) GROUP BY step",
        [{"step": 0, "a": 1.0, "b": 2.0}],
    ),
    (
        "PIVOT (FROM metrics WHERE step = 0) ON trial_id IN ('b') USING sum(loss) GROUP BY step",
        [{"step": 0, "b": 2.0}],
    ),
    ("UNPIVOT (SELECT 1 AS a, 2 AS b) ON a, b INTO NAME k VALUE v", [{"k": "a", "v": 1}, {"k": "b", "v": 2}]),
    (
        "WITH RECURSIVE t(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM t WHERE a < 9) SELECT max(a) a FROM t",
        [{"a": 9}],
    ),
    ("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY a", [{"a": 1}, {"a": 2}]),
    (
        "SELECT a.step, b.step FROM metrics a JOIN metrics b USING (trial_id) WHERE trial_id = 'c'",
        [{"step": 7, "step_1": 7}],
    ),
    (
        "SELECT extra FROM _files_metrics ORDER BY step",
        [{"extra": None}, {"extra": None}, {"extra": None}, {"extra": "x"}],
    ),
    ("SELECT unnest([1, 2]) AS a", [{"a": 1}, {"a": 2}]),
    ("SELECT a FROM generate_series(1, 2) t(a)", [{"a": 1}, {"a": 2}]),
    ("SELECT 'x'::ENUM('x', 'y') AS a", [{"a": "x"}]),
    ("SELECT {'a': [1, NULL]} AS s", [{"s": {"a": [1, None]}}]),
    ("SELECT list_transform([1, 2], lambda x: x + 1) AS a", [{"a": [2, 3]}]),
    ("SELECT TIMESTAMP '2026-01-02 03:04:05' AS t", [{"t": dt.datetime(2026, 1, 2, 3, 4, 5)}]),
    ("SELECT hour(TIMESTAMPTZ '2026-01-02 03:00:00+00') AS h", [{"h": 3}]),
    ("SELECT 1 AS a WHERE false", []),
]


@pytest.mark.parametrize(("statement", "rows"), ANSWERS)
def test_reading_statements_answer(
    statement: str, rows: list[dict[str, object]], views: list[ViewSource], limits: Limits
) -> None:
    assert run_sql(statement, views, limits).to_pylist() == rows


@pytest.mark.parametrize(
    ("statement", "column", "cell"),
    [
        ("EXPLAIN SELECT count(*) FROM metrics", "explain_value", "(?is)aggregate"),
        ("explain /* é */ analyze select count(*) from metrics", "explain_value", "(?is)total time"),
        ("EXPLAIN (SELECT 1)", "explain_value", ""),
        ("EXPLAIN ANALYZE PIVOT metrics ON trial_id IN ('a') USING sum(loss)", "explain_value", ""),
        ("DESCRIBE metrics", "column_name", "trial_id"),
        ("DESCRIBE SELECT 1 AS a", "column_name", "a"),
        ("SUMMARIZE (SELECT trial_id FROM metrics)", "column_name", "trial_id"),
        ("SHOW TABLES", "name", "_files_metrics"),
    ],
)
def test_statements_about_statements_answer(
    statement: str, column: str, cell: str, views: list[ViewSource], limits: Limits
) -> None:
    found = run_sql(statement, views, limits)[column].to_pylist()
    assert found
    assert re.search(cell, found[0])


def test_parameters_are_bound_not_pasted(views: list[ViewSource], limits: Limits) -> None:
    statement = "SELECT $name AS name, $number > 1 AS more, $nothing IS NULL AS missing, isnan($nan) AS nan"
    parameters = {"name": "a'; DROP VIEW metrics; --", "number": 2, "nothing": None, "nan": math.nan}
    row = {"name": parameters["name"], "more": True, "missing": True, "nan": True}
    assert run_sql(statement, views, limits, parameters).to_pylist() == [row]


@pytest.mark.parametrize("parameters", [{}, {"a": 1, "b": 2}])
def test_missing_and_unknown_parameters_raise(parameters: dict[str, int], limits: Limits) -> None:
    with pytest.raises(QueryError, match=r"(?i)parameter"):
        run_sql("SELECT $a", [], limits, parameters)


def test_an_answer_equals_that_of_arrow_alone(
    views: list[ViewSource], files: list[Path], limits: Limits
) -> None:
    table = pa.concat_tables([pq.read_table(file) for file in files], promote_options="permissive")
    got = run_sql("SELECT * FROM _files_metrics", views, limits)
    assert got.drop(["loss"]).sort_by("step").to_pylist() == table.drop(["loss"]).sort_by("step").to_pylist()
    assert got.schema.field("step").type == pa.int64()  # the wider of the two files' types


@pytest.mark.parametrize(
    "clause",
    [
        "WHERE trial_id = 't3'",
        "WHERE trial_id <> 't3' AND step < 5",
        "WHERE trial_id IN ('t1', 't4', 'no')",
        "WHERE trial_id > 't2' OR step = 0",
        "WHERE trial_id LIKE '%4'",
        "WHERE trial_id IS NULL",
        "WHERE trial_id = 'no'",
        "SEMI JOIN (SELECT DISTINCT trial_id, pack_id FROM {} WHERE step = 7) USING (trial_id, pack_id)",
        "WHERE trial_id = ANY(SELECT max(trial_id) FROM {} GROUP BY pack_id)",
    ],
)
def test_columns_in_codes_answer_as_text(clause: str, tmp_path: Path, limits: Limits) -> None:
    files = [str(tmp_path / f"{number}.parquet") for number in (0, 1)]
    for number, file in enumerate(files):  # one with a dictionary and a file that has none
        ids = [f"t{step % 5 + number}" for step in range(40)]
        table = pa.table({"trial_id": ids, "pack_id": [f"p{number}"] * 40, "step": [*range(40)]})
        pq.write_table(table, file, use_dictionary=number == 0, row_group_size=16)
    views = [ViewSource(name="coded", files=files, schema=table.schema)]
    query = (
        "SELECT trial_id, pack_id, count(*) AS n, sum(step) AS s FROM {} "
        + clause
        + " GROUP BY ALL ORDER BY ALL"
    )
    with duckdb.connect() as connection:
        expected = connection.sql(query.format(*[f"read_parquet({files})"] * 2)).to_arrow_table()
    found = run_sql(query.format("coded", "coded"), views, limits)
    assert found.to_pylist() == expected.to_pylist()
    assert found.schema.field("trial_id").type == pa.string()


def test_a_declared_schema_is_what_is_read(files: list[Path], limits: Limits) -> None:
    schema = pa.schema({"step": pa.float64(), "absent": pa.string()})
    views = [
        ViewSource(name="given", files=[str(file) for file in files], schema=schema),
        ViewSource(name="none", files=[], schema=schema),
    ]
    assert run_sql("SELECT sum(step) AS s, count(absent) AS n FROM given", views, limits).to_pylist() == [
        {"s": 8.0, "n": 0}
    ]
    empty = run_sql("FROM none", views, limits)
    assert (empty.num_rows, empty.schema) == (0, schema)


def test_rows_sent_along_join_with_files(views: list[ViewSource], limits: Limits) -> None:
    gate = ViewSource(name="gate", table=pa.table({"trial_id": ["a"]}))
    inside = ViewSource(name="inside", sql="FROM metrics SEMI JOIN gate USING (trial_id)")
    assert run_sql("SELECT count(*) AS n FROM inside", [*views, gate, inside], limits).to_pylist() == [
        {"n": 2}
    ]


def test_a_damaged_file_is_named(tmp_path: Path, limits: Limits) -> None:
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 no")
    with pytest.raises(QueryError, match=r"view 'm' cannot be opened: .*bad\.parquet"):
        run_sql("SELECT 1", [ViewSource(name="m", files=[str(bad)])], limits)
    with pytest.raises(QueryError, match=r"bad\.parquet"):
        run_sql(
            "FROM m", [ViewSource(name="m", files=[str(bad)], schema=pa.schema({"a": pa.int64()}))], limits
        )


def test_a_view_that_fails_is_named(limits: Limits) -> None:
    with pytest.raises(QueryError, match=r"view 'm' cannot be opened: .*nothing does not exist"):
        run_sql("SELECT 1", [ViewSource(name="m", sql="SELECT * FROM nothing")], limits)


def test_the_iterator_gives_the_schema_first_and_errors_in_their_place(limits: Limits) -> None:
    schema, batches = iter_sql("SELECT range AS a FROM range(30000)", [], replace(limits, max_rows=20_000))
    assert schema == pa.schema({"a": pa.int64()})
    assert next(batches).num_rows > 0
    with pytest.raises(QueryError, match="more than 20000 rows"):
        list(batches)


def test_repeated_names_stay_apart() -> None:
    assert distinct(["a", "a", "a_1"]) == ["a", "a_1", "a_1_1"]


def test_faults_of_a_source_and_of_limits_are_reported_together() -> None:
    with pytest.raises(
        ConfigurationError, match=r"(?s)3 faults.*view name.*exactly one.*schema without files"
    ):
        ViewSource(name='a"b', schema=pa.schema({"a": pa.int64()}))
    with pytest.raises(ConfigurationError, match="no file and no schema"):
        ViewSource(name="a", files=[])
    with pytest.raises(ConfigurationError, match=r"(?s)4 faults.*wall_s.*memory_bytes.*max_rows.*max_bytes"):
        Limits(wall_s=0, memory_bytes=1, max_rows=0, max_bytes=0)


def test_a_request_survives_its_json(views: list[ViewSource], limits: Limits) -> None:
    sent = [
        *views,
        ViewSource(name="t", table=pa.table({"a": [1, None]})),
        ViewSource(name="e", files=[], schema=pa.schema({"a": pa.int8()})),
    ]
    request = Request(
        query=Query(statement="SELECT 1", parameters={"a": 1.5, "b": True}), views=sent, limits=limits
    )
    assert Request.from_json(request.to_json()) == request
