"""The child process: one query on a database that can reach nothing, then the end.

Run as ``python -P -m gradlaw_analysis.sql.child`` with a request on standard input; frames come out on
standard output. Four walls, each enough against what it is for:

- Harm: the database has no file system, no extensions and a locked configuration; data comes through
  Arrow (:mod:`gradlaw_analysis.sql.sources`). RLIMIT_FSIZE 0 lets no byte reach any disk even so.
- Memory: RLIMIT_AS, because DuckDB's own limit does not see ``range``, ``repeat`` or ``lpad``.
- Time: a kernel timer whose signal ends the process, because an interrupt is seen too late. It also
  ends a child whose parent was killed.
- Floods: rows and bytes are counted before they are sent.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO, NoReturn

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import QueryError
from gradlaw_analysis.sql.database import open_database
from gradlaw_analysis.sql.frames import ERROR_BYTES, HEADER, Kind, pack_batch, split
from gradlaw_analysis.sql.request import Limits, Request
from gradlaw_analysis.sql.statement import check_statement

_THREADS = 2
_BATCH_ROWS = 8192
_MEMORY_ERRORS = (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError)


class _NoPandas:
    """Keeps pandas out: pyarrow.dataset imports it if it can, which doubles the time to start."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004 - the protocol
        """Refuses pandas and leaves every other module to the other finders."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def connect(memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """Opens a database in memory that may open no file and load nothing."""
    connection = open_database(
        {
            "threads": _THREADS,
            # Below the address-space limit, so that DuckDB's own, clearer error comes first if it can.
            "memory_limit": f"{memory_bytes * 3 // 4}B",
            "temp_directory": "",  # no spilling
            "max_temp_directory_size": "0B",
        }
    )
    # In this order: without external access the folder for spilling can no longer be unset.
    connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
    connection.execute("SET enable_external_access = false")
    return connection


def confine(limits: Limits) -> None:
    """Lowers this process's limits for good: no core, no byte to disk, a bounded address space."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails with EFBIG
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(kind, (0, 0))
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere (macOS) RLIMIT_AS is not enforced and DuckDB's limit stands alone
        pages = int(statm.read_text(encoding="ascii").split()[0])
        allowed = pages * resource.getpagesize() + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def serve(request: Request, out: BinaryIO) -> None:
    """Runs the request and writes its frames, the last of kind ERROR or END."""
    from gradlaw_analysis.sql.sources import register  # after main has kept pandas out

    limits = request.limits
    try:
        connection = connect(limits.memory_bytes)
        register(connection, request.views, request.query.statement)
        connection.execute("SET lock_configuration = true")
        confine(limits)
        check_statement(connection, request.query.statement)
        for frame in _frames(connection, request):
            _send(out, Kind.DATA, frame)
    except QueryError as error:
        _send(out, Kind.ERROR, str(error).encode())
    except _MEMORY_ERRORS:
        text = f"the query passed its memory limit of {limits.memory_bytes} bytes and was stopped; "
        _send(out, Kind.ERROR, f"{text}aggregate or filter earlier, or raise memory_bytes".encode())
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        _send(out, Kind.ERROR, str(error).encode())
    else:
        _send(out, Kind.END, b"")


def _frames(connection: duckdb.DuckDBPyConnection, request: Request) -> Iterator[bytes]:
    parameters = dict(request.query.parameters)
    relation = connection.sql(request.query.statement, params=parameters or None)
    if relation is None:  # DuckDB 1.5 ends the expansion of EXPLAIN PIVOT with a statement without result
        msg = "the statement gives no result; explain a PIVOT whose values are listed: IN (...)"
        raise QueryError(msg)
    reader = relation.to_arrow_reader(_BATCH_ROWS)
    schema = pa.schema(
        [
            field.with_name(name)
            for field, name in zip(reader.schema, distinct(reader.schema.names), strict=True)
        ]
    )
    yield pack_batch(schema, None)
    limits, rows, size = request.limits, 0, 0
    for batch in reader:
        rows += batch.num_rows
        size += batch.nbytes
        _check_flood("rows", rows, limits.max_rows)
        _check_flood("bytes", size, limits.max_bytes)
        for part in split(batch):
            yield pack_batch(schema, pa.RecordBatch.from_arrays(part.columns, schema=schema))


def distinct(names: Sequence[str]) -> list[str]:
    """Numbers repeated names, as DuckDB does in a subquery: ``SELECT *`` of a join repeats its key.

    >>> distinct(["a", "b", "a"])
    ['a', 'b', 'a_1']
    """
    taken: list[str] = []
    for name in names:
        candidates = chain([name], (f"{name}_{number}" for number in count(1)))
        taken.append(next(candidate for candidate in candidates if candidate not in taken))
    return taken


def _check_flood(what: str, got: int, allowed: int) -> None:
    if got > allowed:
        msg = f"the result has more than {allowed} {what}; aggregate, add LIMIT, or raise max_{what}"
        raise QueryError(msg)


def _send(out: BinaryIO, kind: Kind, body: bytes) -> None:
    body = body[:ERROR_BYTES] if kind is Kind.ERROR else body
    out.write(HEADER.pack(kind.value, len(body)))
    out.write(body)
    out.flush()


def main() -> NoReturn:
    """Serves the one request on standard input; leaves without the destructors a dead query may block."""
    sys.meta_path.insert(0, _NoPandas)
    request = Request.from_json(sys.stdin.read())
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, request.limits.wall_s)
    os.chdir("/")
    pa.set_cpu_count(_THREADS)
    pa.set_io_thread_count(_THREADS)
    with contextlib.suppress(BrokenPipeError), os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # whatever a library prints cannot break into the frames
        serve(request, out)
    os._exit(0)


if __name__ == "__main__":
    main()
