"""Runs a statement in a child process and streams its result, within limits.

The caller's process holds at most one frame of the stream (a few megabytes or one row), whatever the
statement does, and needs neither DuckDB's memory nor its trust.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import QueryError
from gradlaw_analysis.sql.frames import ERROR_BYTES, HEADER, Kind
from gradlaw_analysis.sql.request import Limits, Parameter, Query, Request, ViewSource

# What a frame holds beyond the rows it carries: schema, alignment, dictionaries.
_FRAME_OVERHEAD_BYTES = 1 << 20
# Few heaps and threads: what the child reserves but never uses would count against its limit.
_CHILD_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def run_sql(
    statement: str,
    views: Sequence[ViewSource],
    limits: Limits | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> pa.Table:
    """Runs one reading statement and returns its whole result.

    Args:
        statement: A SELECT, EXPLAIN, DESCRIBE, SUMMARIZE, SHOW TABLES or PIVOT, with ``$name`` parameters.
        views: The relations it may see; a view stands after those it builds on.
        limits: What it may use; None: the defaults.
        parameters: Values of the ``$name`` parameters, no more and no fewer.

    Raises:
        QueryError: If the statement is refused, fails or passes a limit.
    """
    schema, batches = iter_sql(statement, views, limits, parameters)
    return pa.Table.from_batches(list(batches), schema=schema)


def iter_sql(
    statement: str,
    views: Sequence[ViewSource],
    limits: Limits | None = None,
    parameters: Mapping[str, Parameter] | None = None,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Runs one reading statement; returns its schema and its rows as they come.

    The child ends with the iterator: exhausted, closed or dropped. The wall limit runs on while the
    caller works on a batch. Arguments and errors are those of :func:`run_sql`; an error that comes
    after the first rows is raised by the iterator.
    """
    request = Request(
        query=Query(statement=statement, parameters=parameters or {}), views=views, limits=limits or Limits()
    )
    stream = _stream(request)
    first = next(stream)
    return first.schema, (batch for table in stream for batch in table.to_batches())


def _stream(request: Request) -> Generator[pa.Table, None, None]:
    """Yields the empty table that holds the schema, then one table a frame."""
    deadline = time.monotonic() + request.limits.wall_s
    process = _start(request)
    try:
        reader = _Reader(process, request.limits, deadline)
        while (frame := reader.next_frame()) is not None:
            yield pa.ipc.open_stream(frame).read_all()
    finally:
        _end(process)


def _start(request: Request) -> subprocess.Popen[bytes]:
    # A file that has no name cannot block the writer, as a pipe would if the child never read it.
    with tempfile.TemporaryFile() as stdin:
        stdin.write(request.to_json().encode())
        stdin.seek(0)
        return subprocess.Popen(
            # -P: no module is imported from the current folder.
            [sys.executable, "-P", "-m", "gradlaw_analysis.sql.child"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_CHILD_ENVIRONMENT},
            start_new_session=True,  # its group is killed as a whole, and Ctrl-C reaches the parent alone
            bufsize=0,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class _Reader:
    """Reads frames of a child until its deadline, each only after its length is known to be allowed."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits, deadline: float) -> None:
        self._process = process
        self._limits = limits
        self._deadline = deadline

    def next_frame(self) -> bytearray | None:
        """Returns the next data frame, None at the end.

        Raises:
            QueryError: For an error frame, a frame too large, the wall limit or a child that died.
        """
        letter, length = HEADER.unpack(self._exactly(HEADER.size))
        kind = Kind(letter)
        allowed = ERROR_BYTES if kind is Kind.ERROR else self._limits.max_bytes + _FRAME_OVERHEAD_BYTES
        if length > allowed:
            msg = (
                f"one row of the result has {length} bytes; allowed {self._limits.max_bytes}; raise max_bytes"
            )
            raise QueryError(msg)
        body = self._exactly(length)
        if kind is Kind.ERROR:
            raise QueryError(body.decode(errors="replace"))
        return body if kind is Kind.DATA else None

    def _exactly(self, length: int) -> bytearray:
        body = bytearray(length)
        view, filled = memoryview(body), 0
        assert self._process.stdout is not None  # _start asked for it
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while filled < length:
                if not selector.select(max(0.0, self._deadline - time.monotonic())):
                    raise self._timed_out()
                count = os.readv(self._process.stdout.fileno(), [view[filled:]])
                if count == 0:
                    raise self._died()
                filled += count
        return body

    def _timed_out(self) -> QueryError:
        msg = f"the query passed its time limit of {self._limits.wall_s:g} s and was stopped; "
        return QueryError(f"{msg}narrow it or raise wall_s")

    def _died(self) -> QueryError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code == -signal.SIGALRM:
            return self._timed_out()
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        said = (self._process.stderr.read() or b"").decode(errors="replace").strip().rpartition("\n")[2]
        cause = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        msg = (
            f"the query's process ended without a result ({cause}{': ' + said if said else ''}); most often "
            f"it passed its memory limit of {self._limits.memory_bytes} bytes: aggregate or filter earlier, "
            "or raise memory_bytes"
        )
        return QueryError(msg)
