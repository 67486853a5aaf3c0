"""SQL that somebody typed or a study brought: it reaches no network and no address, checked or not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from gradlaw.errors import QueryError
from gradlaw_analysis.catalog import Catalog
from gradlaw_analysis.sql.child import connect
from gradlaw_analysis.sql.statement import check_statement

# {at} is the address of a server that only listens, {out} a file that does not exist.
STATEMENTS = (
    "SELECT * FROM 'http://{at}/x.parquet'",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM read_parquet('http://{at}/x.parquet')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet?s3_endpoint={at}&s3_use_ssl=false')",
    "SELECT * FROM read_csv('http://{at}/x.csv')",
    "SELECT * FROM parquet_scan('gs://bucket/x.parquet')",
    "SELECT * FROM read_text('hf://datasets/a/b')",
    "ATTACH 'http://{at}/x.duckdb' AS other",
    "ATTACH 's3://bucket/x.duckdb' AS other (READ_ONLY)",
    "ATTACH '{out}' AS other",
    "COPY (SELECT 1) TO 's3://bucket/x.parquet'",
    "COPY (SELECT 1) TO 'http://{at}/x.parquet'",
    "COPY (SELECT 1) TO '{out}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "INSTALL httpfs FROM 'http://{at}'",
    "SET custom_extension_repository = 'http://{at}'",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b', ENDPOINT '{at}')",
    "CREATE SECRET s (TYPE s3, PROVIDER credential_chain)",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('AWS_SECRET_ACCESS_KEY')",
)


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server that notes who comes."""
    came: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, address = server.accept()
                    came.append(str(address))
                    client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", came
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=30)


@pytest.fixture(scope="module", params=["typed", "of a study"])
def connection(request: pytest.FixtureRequest, packs: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The child's own for what is typed, and the catalog's for what a study brings."""
    opened = connect(512 << 20) if request.param == "typed" else Catalog(packs).connection()
    with opened:
        opened.execute("SET lock_configuration = true") if request.param == "typed" else None
        yield opened


@pytest.mark.parametrize("statement", STATEMENTS)
def test_sql_reaches_no_address(
    connection: duckdb.DuckDBPyConnection, listening: tuple[str, list[str]], statement: str, tmp_path: Path
) -> None:
    at, came = listening
    text = statement.format(at=at, out=tmp_path / "out")
    if "duckdb_secrets" not in text:  # it has none to show, and is refused to those who type
        with pytest.raises(duckdb.Error):
            connection.execute(text).fetchall()
    else:
        assert connection.execute(text).fetchall() == []
    with pytest.raises((QueryError, duckdb.Error)):
        _checked(connection, text)
    assert came == []
    assert not (tmp_path / "out").exists()


def _checked(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    check_statement(connection, text)
    connection.sql(text).fetchall()


def test_the_server_notes_who_comes(listening: tuple[str, list[str]]) -> None:
    at, came = listening
    host, _, port = at.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        assert client.recv(1) == b""
    assert len(came) == 1
    came.clear()
