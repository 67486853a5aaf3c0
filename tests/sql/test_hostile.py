"""Statements that mean harm: each is refused or stopped, nothing is written, the caller stays small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from gradlaw.errors import QueryError
from gradlaw_analysis.sql import Limits, ViewSource, iter_sql, run_sql
from gradlaw_analysis.sql.child import connect
from gradlaw_analysis.sql.sources import register
from gradlaw_analysis.sql.statement import check_statement

# {file} is a data file the views stand on, {out} a path that does not exist yet.
REFUSED = {
    "got a COPY statement": [
        "COPY (SELECT 1) TO '{out}'",
        "COPY (SELECT 1) TO '{file}' (USE_TMP_FILE false)",
        "COPY (SELECT 1) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)",
        "COPY (SELECT 1) TO '/dev/stdout'",
        "COPY metrics FROM '{file}'",
        "/* SELECT */ COPY (SELECT 1) TO '{out}' -- SELECT",
    ],
    "got a ATTACH statement": ["ATTACH '{out}' AS other", "ATTACH '{file}' AS other (TYPE sqlite)"],
    "got a DETACH statement": ["DETACH memory"],
    "got a LOAD statement": ["INSTALL httpfs", "LOAD httpfs", "LOAD '{file}'"],
    "got a PRAGMA statement": ["PRAGMA enable_profiling"],
    "got a (SET|VARIABLE SET) statement": [
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "RESET memory_limit",
        "SET VARIABLE a = 1",
        "USE memory",
    ],
    "got a EXPORT statement": ["EXPORT DATABASE '{out}'"],
    "got a PRAGMA statement|disabled by configuration": ["IMPORT DATABASE '{out}'"],
    "got a INSERT statement": ["INSERT INTO metrics VALUES ('z', 1, 1)"],
    "got a DELETE statement": ["DELETE FROM metrics", "TRUNCATE metrics"],
    "got a UPDATE statement": ["UPDATE metrics SET loss = 0"],
    "got a MERGE INTO statement": [
        "MERGE INTO metrics USING (SELECT 1 AS step) s USING (step) WHEN MATCHED THEN DELETE"
    ],
    "got INSERT inside|A CTE needs a SELECT": [
        "WITH x AS (INSERT INTO metrics VALUES ('z', 1, 1) RETURNING *) SELECT * FROM x",
        "EXPLAIN ANALYZE WITH x AS (INSERT INTO metrics VALUES ('z', 1, 1) RETURNING *) SELECT * FROM x",
    ],
    "got DELETE inside|A CTE needs a SELECT": ["WITH x AS (DELETE FROM metrics RETURNING *) SELECT * FROM x"],
    "got UPDATE inside|A CTE needs a SELECT": [
        "SELECT * FROM (WITH x AS (UPDATE metrics SET loss = 0 RETURNING *) SELECT * FROM x)"
    ],
    "got COPY inside|A CTE needs a SELECT": [
        "WITH x AS (COPY metrics TO '{out}') SELECT 1",
        "WITH x AS (COPY metrics TO '{file}') FROM x",
    ],
    "got copy in a PIVOT|A CTE needs a SELECT": [
        "WITH x AS (COPY metrics TO '{out}') PIVOT metrics ON trial_id USING sum(loss)"
    ],
    "got 2 statements": [
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{out}'",
        "SELECT 1; -- x\n DROP VIEW metrics",
    ],
    "got 0 statements": ["", ";", "-- nothing", "/* SELECT 1 */"],
    "got a CREATE statement": [
        "CREATE TABLE t (a INTEGER)",
        "CREATE OR REPLACE VIEW metrics AS SELECT 1",
        "CREATE TEMP MACRO m(a) AS a",
        "CREATE SECRET s (TYPE s3)",
    ],
    "got a DROP statement": ["DROP VIEW metrics"],
    "got a ALTER statement": ["ALTER VIEW metrics RENAME TO m"],
    "got a CALL statement": ["CALL pragma_version()"],
    "got a (CALL|CHECKPOINT|PRAGMA) statement": ["CHECKPOINT", "FORCE CHECKPOINT"],
    "got a (VACUUM|ANALYZE) statement": ["VACUUM", "ANALYZE"],
    "got a PREPARE statement": ["PREPARE p AS SELECT 1"],
    "got a EXECUTE statement": ["EXECUTE p"],
    "got a TRANSACTION statement": ["BEGIN", "COMMIT"],
    "got a COPY statement; allowed": [
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
        "EXPLAIN COPY (SELECT 1) TO '{out}'",
    ],
    "is refused; allowed": [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM Read_Blob('/etc/passwd')",
        "SELECT * FROM \"read_text\"('/etc/passwd')",
        "SELECT * FROM system.main.read_text('/etc/passwd')",
        "SELECT (SELECT max(content) FROM read_text('/etc/passwd'))",
        "DESCRIBE SELECT * FROM read_json('{file}')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM read_parquet('{file}')",
        "SELECT * FROM parquet_metadata('{file}')",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table('metrics')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "PIVOT (FROM read_text('/etc/passwd')) ON size USING max(content)",
        "PIVOT (FROM arrow_scan /**/ (1, 2, 3)) ON a USING max(b)",
    ],
    "does not exist|disabled by configuration": [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '{file}'",
        "SELECT * FROM 'file://{file}'",
        "SELECT * FROM 'https://example.org/x.parquet'",
        "SUMMARIZE '{file}'",
        "SELECT getenv('PATH')",
        "SELECT * FROM request",
        "SELECT * FROM unknown_view",
    ],
    "syntax error|does not exist|zero byte": [
        "\uff23\uff2f\uff30\uff39 (SELECT 1) TO '{out}'",  # full-width letters
        "CO\u200bPY (SELECT 1) TO '{out}'",  # a zero-width space
        "SELECT 1\u037e DROP VIEW metrics",  # a Greek question mark looks like a semicolon
        "SELECT 1\uff1b DROP VIEW metrics",
        "SELECT 1\x00; DROP VIEW metrics",
        "SELEC 1",
    ],
    "COPY statement|syntax error": ["COPY\u00a0(SELECT\u00a01)\u00a0TO\u00a0'{out}'"],
}

MEMORY = [
    "SELECT len(range(100000000))",
    "SELECT len(repeat('x', 3000000000))",
    "SELECT unnest(range(2000000000))",
    "SELECT list(a) FROM range(1000000000) t(a)",
    "SELECT string_agg(repeat('x', 1000), '') FROM range(100000000)",
    "SELECT a, count(*) FROM range(1000000000) t(a) GROUP BY a",
]
TIME = [
    "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) SELECT max(a) FROM t",
    "SELECT lpad('x', 2000000000, 'y')",
    "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1",
    "SELECT count(*) FROM range(100000000000) t(a) WHERE regexp_matches(a || repeat('a', 300), '(a|aa)+$b')",
]
FLOODS = [
    ("rows", "SELECT * FROM range(1000000000000)"),
    ("rows", "SELECT a.range, b.range FROM range(1000000) a, range(1000000) b"),
    ("bytes", "SELECT repeat('x', 1000) AS a FROM range(100000)"),
    ("bytes", "SELECT repeat('x', 50000000) AS a"),
]


# One statement for each way of refusing goes all the way through a child process.
THROUGH_A_CHILD = [
    "got a COPY statement",
    "got COPY inside|A CTE needs a SELECT",
    "got copy in a PIVOT|A CTE needs a SELECT",
    "got 2 statements",
    "is refused; allowed",
    "does not exist|disabled by configuration",
]


@pytest.fixture(scope="module")
def connection(views: list[ViewSource]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The child's own connection, in this process, to save a start for each statement."""
    with connect(512 << 20) as connection:
        register(connection, views)
        connection.execute("SET lock_configuration = true")
        yield connection


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("message", "statement"),
    [(message, statement) for message, group in REFUSED.items() for statement in group],
)
def test_a_statement_that_does_not_only_read_the_views_is_refused(
    message: str, statement: str, connection: duckdb.DuckDBPyConnection, files: list[Path], tmp_path: Path
) -> None:
    statement = _fill(statement, files, tmp_path)
    with pytest.raises((QueryError, duckdb.Error), match=message):
        _run_here(connection, statement)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("message", THROUGH_A_CHILD)
def test_a_refusal_comes_back_from_the_child(
    message: str, views: list[ViewSource], files: list[Path], tmp_path: Path, limits: Limits
) -> None:
    with pytest.raises(QueryError, match=message):
        run_sql(_fill(REFUSED[message][-1], files, tmp_path), views, limits)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("statement", MEMORY)
def test_a_memory_bomb_ends_its_own_process_only(
    statement: str, views: list[ViewSource], limits: Limits
) -> None:
    start = _reset_peak_bytes()
    with pytest.raises(QueryError, match=r"memory limit of 536870912 bytes|time limit"):
        run_sql(statement, views, replace(limits, wall_s=20.0))
    assert _peak_bytes() - start < 32 << 20


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("statement", TIME)
def test_an_endless_statement_is_killed_at_its_time_limit(
    statement: str, views: list[ViewSource], limits: Limits
) -> None:
    with pytest.raises(QueryError, match=r"time limit of 2 s|memory limit"):
        run_sql(statement, views, replace(limits, wall_s=2.0))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("what", "statement"), FLOODS)
def test_a_flood_is_stopped_and_the_caller_stays_small(
    what: str, statement: str, views: list[ViewSource], limits: Limits
) -> None:
    start = _reset_peak_bytes()
    with pytest.raises(QueryError, match=f"result has more than {getattr(limits, f'max_{what}')} {what}"):
        run_sql(statement, views, limits)
    assert _peak_bytes() - start < 32 << 20


def test_streaming_a_long_result_holds_one_frame(limits: Limits) -> None:
    wide = replace(limits, max_rows=10**7, max_bytes=1 << 30)
    _, batches = iter_sql("SELECT range AS a, repeat('x', 90) AS b FROM range(1000000)", [], wide)
    start = _reset_peak_bytes()
    assert sum(batch.num_rows for batch in batches) == 1_000_000  # about 100 MB in all
    assert _peak_bytes() - start < 32 << 20


def test_a_variable_of_the_caller_is_no_table(limits: Limits) -> None:
    secret = pa.table({"a": [1]})
    with pytest.raises(QueryError, match="secret does not exist"):
        run_sql("SELECT * FROM secret", [], limits)
    assert secret.num_rows == 1


def _run_here(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    check_statement(connection, statement)
    connection.sql(statement).fetchall()


def _fill(statement: str, files: list[Path], tmp_path: Path) -> str:
    return statement.replace("{file}", str(files[0])).replace("{out}", str(tmp_path / "work" / "out"))


def _reset_peak_bytes() -> int:
    """Sets the process's peak back to its present size (Linux, ``man 5 proc``) and returns it."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024
