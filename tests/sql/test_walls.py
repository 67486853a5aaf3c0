"""The walls hold without the check of statements, and the child always ends."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from processes import kill

from gradlaw.errors import QueryError
from gradlaw_analysis.sql import Limits, Query, ViewSource, iter_sql, run_sql
from gradlaw_analysis.sql.request import Request

ENDLESS = "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) SELECT max(a) FROM t"

# Runs statements on the child's own connection, past the check; prints what succeeded.
UNCHECKED = """
import json, os, sys
import duckdb
from gradlaw_analysis.sql.child import confine, connect
from gradlaw_analysis.sql.request import Request
from gradlaw_analysis.sql.sources import register
request = Request.from_json(sys.stdin.readline())
connection = connect(request.limits.memory_bytes)
register(connection, request.views)
connection.execute("SET lock_configuration = true")
confine(request.limits)
done = []
for statement in json.loads(sys.stdin.readline()):
    try:
        connection.execute(statement).fetchall()
        done.append(statement)
    except duckdb.Error:
        pass
try:
    with open("probe", "wb", buffering=0) as file:
        file.write(b"x")
    done.append("a byte on disk")
except OSError as error:
    os.unlink("probe")
print(json.dumps(done))
"""


def sql_children(pid: int | None = None) -> list[psutil.Process]:
    """The processes that answer SQL for a process; other tests may have left it others."""
    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            if "gradlaw_analysis.sql.child" in child.cmdline():
                found.append(child)
    return found


@pytest.mark.usefixtures("untouched")
def test_no_statement_reaches_a_file_even_unchecked(
    views: list[ViewSource], files: list[Path], tmp_path: Path, limits: Limits
) -> None:
    out = tmp_path / "work" / "out"
    statements = [
        f"COPY (SELECT 1) TO '{files[0]}' (FORMAT parquet, USE_TMP_FILE false)",
        f"COPY (SELECT 1) TO '{out}.csv'",
        f"COPY (SELECT 1) TO '{out}.csv' (USE_TMP_FILE false)",
        f"COPY (SELECT 1) TO '{Path.cwd()}/:memory:' (USE_TMP_FILE false)",
        f"COPY (SELECT 1) TO '{Path.cwd()}/.tmp/x' (USE_TMP_FILE false)",
        "COPY (SELECT 1) TO '/dev/stdout'",
        f"WITH x AS (COPY metrics TO '{out}.csv') SELECT 1",
        f"EXPORT DATABASE '{out}'",
        f"ATTACH '{out}.db' AS other",
        f"FROM read_parquet('{files[0]}')",
        f"FROM '{files[0]}'",
        "FROM read_text('/etc/passwd')",
        "FROM read_csv('/etc/passwd')",
        "FROM read_blob('/proc/self/environ')",
        "FROM glob('/*')",
        "FROM 'https://example.org/x.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET disabled_filesystems = ''",
        "SET temp_directory = '/tmp'",
        "SET lock_configuration = false",
        "SET memory_limit = '100GB'",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
        "FROM statements",  # a variable of the process
    ]
    request = Request(query=Query(statement=""), views=views, limits=limits)
    done = subprocess.run(
        [sys.executable, "-c", UNCHECKED],
        input=request.to_json() + "\n" + json.dumps(statements),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == []


@pytest.mark.usefixtures("untouched")
def test_a_module_in_the_current_folder_is_not_imported(limits: Limits, tmp_path: Path) -> None:
    trap = tmp_path / "work" / "duckdb.py"
    trap.write_text("raise SystemExit('trapped')")
    try:
        assert run_sql("SELECT 1 AS a", [], limits).to_pylist() == [{"a": 1}]
    finally:
        trap.unlink()


def test_a_dropped_iterator_ends_its_child(limits: Limits) -> None:
    _, batches = iter_sql("SELECT * FROM range(1000000000000)", [], replace(limits, max_rows=10**12))
    assert next(batches).num_rows
    [child] = sql_children()
    del batches
    assert not child.is_running()


@pytest.mark.slow
def test_the_time_limit_holds_for_a_caller_that_reads_slowly(limits: Limits) -> None:
    before = time.monotonic()
    run_sql("SELECT 1", [], limits)
    wall_s = round(2.0 + 4.0 * (time.monotonic() - before))  # what a child's start takes, and some
    _, batches = iter_sql(
        "SELECT * FROM range(1000000000000)", [], replace(limits, wall_s=wall_s, max_rows=10**12)
    )
    next(batches)
    time.sleep(wall_s)
    with pytest.raises(QueryError, match=f"time limit of {wall_s} s"):
        list(batches)


@pytest.mark.slow
def test_a_child_outlives_a_killed_caller_by_its_time_limit_at_most() -> None:
    script = f"from gradlaw_analysis.sql import Limits, run_sql; run_sql('{ENDLESS}', [], Limits(wall_s=2))"
    caller = subprocess.Popen([sys.executable, "-c", script])
    try:
        child = _first_child(caller.pid)
    finally:
        caller.kill()
        caller.wait()
    assert child.is_running()
    child.wait(timeout=120)


def test_a_child_that_is_killed_says_so(limits: Limits) -> None:
    def kill_soon() -> None:
        end = time.monotonic() + 60
        while not (started := sql_children()) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        kill(started)

    killer = threading.Thread(target=kill_soon)
    killer.start()
    try:
        with pytest.raises(
            QueryError, match=r"ended without a result \(SIGKILL\); most often it passed its memory"
        ):
            run_sql(ENDLESS, [], limits)
    finally:
        killer.join()


def test_a_child_that_cannot_start_says_why(
    limits: Limits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "duckdb.py").write_text("raise ImportError('no duckdb here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(QueryError, match=r"\(exit code 1: ImportError: no duckdb here\)"):
        run_sql("SELECT 1", [], limits)


def test_the_caller_needs_neither_torch_nor_ray_nor_duckdb() -> None:
    script = (
        "import sys; import gradlaw_analysis.sql, gradlaw_analysis.sql.formats; "
        "print([name for name in ('torch', 'ray', 'duckdb', 'pandas', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _first_child(pid: int) -> psutil.Process:
    end = time.monotonic() + 120
    while not (children := sql_children(pid)):
        assert time.monotonic() < end, "no child process"
        time.sleep(0.05)
    return children[0]
