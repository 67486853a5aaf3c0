"""The database that every query runs on: in memory, with nothing to load and nobody to ask."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

_CLOSED = {
    "allow_community_extensions": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_persistent_secrets": False,
    "python_enable_replacements": False,
}


def open_database(settings: Mapping[str, str | int] | None = None) -> duckdb.DuckDBPyConnection:
    """Opens an empty database without extensions.

    Files are in its reach until its caller has set ``enable_external_access`` to false.

    Args:
        settings: DuckDB's own, besides those that keep it closed.
    """
    connection = duckdb.connect(":memory:", config={**(settings or {}), **_CLOSED})
    connection.execute("SET TimeZone = 'UTC'")  # one answer on every machine
    return connection
