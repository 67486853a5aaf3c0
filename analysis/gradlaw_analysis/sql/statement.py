"""Which statements are allowed: those that read. Checked on DuckDB's own parse tree.

That a statement can reach no file does not rest on this check, but on a database without file access
(see :mod:`gradlaw_analysis.sql.child`). The check gives a clear refusal, and closes the table functions
that run SQL from a string or follow an address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import duckdb

from gradlaw.errors import QueryError

ALLOWED = "allowed: one SELECT, EXPLAIN [ANALYZE] SELECT, DESCRIBE, SUMMARIZE, SHOW TABLES or PIVOT"

_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}

# fmt: off
TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns", "duckdb_functions", "duckdb_keywords", "duckdb_tables", "duckdb_types",
        "duckdb_views", "generate_series", "histogram", "histogram_values", "json_each", "json_tree",
        "pragma_table_info", "range", "repeat", "repeat_row", "summary", "unnest",
    }
)

# What a statement may hold nowhere if it has no parse tree to look at (see _check_words).
_WRITING_WORDS = frozenset(
    {
        "alter", "attach", "call", "checkpoint", "copy", "create", "delete", "detach", "drop",
        "execute", "export", "import", "insert", "install", "load", "merge", "pragma", "prepare",
        "reset", "set", "truncate", "update", "vacuum",
    }
)
# fmt: on

_TOKEN = re.compile(r'"(?:[^"]|"")*"|\w+|.', re.DOTALL)


def check_statement(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Raises QueryError unless ``statement`` is one that only reads.

    Args:
        connection: A connection that may open no file: parsing some statements would.
        statement: What the user wrote.

    Raises:
        QueryError: With what was found, what is allowed and what to do instead.
    """
    if "\x00" in statement:
        msg = f"the statement holds a zero byte; {ALLOWED}; remove it"
        raise QueryError(msg)
    try:
        # By this connection: IMPORT DATABASE is expanded while it is parsed, by reading files.
        statements = connection.extract_statements(statement)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    # DuckDB 1.5 gives the expansion of a PIVOT, later versions one statement of type MULTI.
    expanded = len(statements) > 1 and ";" not in _words(statement.rstrip().rstrip(";"))
    if len(statements) != 1 and not expanded:
        msg = f"got {len(statements)} statements; {ALLOWED}; send one at a time"
        raise QueryError(msg)
    kind = statements[0].type
    if expanded or kind == duckdb.StatementType.MULTI:
        _check_words(connection, statement)
    elif kind == duckdb.StatementType.SELECT:
        _check_tree(connection, statement)
    elif kind == duckdb.StatementType.EXPLAIN:
        check_statement(connection, _explained(statement))
    else:
        name = kind.name.replace("_", " ")
        msg = f"got a {name} statement; {ALLOWED}; the store is changed by `gradlaw run` alone"
        raise QueryError(msg)


def _check_tree(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    # All rows: a result that is not read to its end keeps the connection from other work.
    [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()
    try:
        tree = json.loads(text)
    except RecursionError as error:
        msg = "the statement is nested too deeply to be checked; split it with WITH"
        raise QueryError(msg) from error
    if tree["error"]:
        msg = f"the statement cannot be checked ({tree.get('error_message')}); {ALLOWED}"
        raise QueryError(msg)
    for node in _dicts(tree):
        kind = str(node.get("type"))
        if kind.endswith("_NODE") and kind not in _NODES:
            word = kind.split("_", maxsplit=1)[0]
            msg = f"got {word} inside the statement; {ALLOWED}; read only, also in WITH"
            raise QueryError(msg)
        if kind == "TABLE_FUNCTION":
            _check_function(str(node["function"].get("function_name")))


def _check_function(name: str) -> None:
    if name.lower() not in TABLE_FUNCTIONS:
        msg = (
            f"the table function {name!r} is refused; allowed: {', '.join(sorted(TABLE_FUNCTIONS))}; "
            "data is read through the views, which SHOW TABLES lists"
        )
        raise QueryError(msg)


def _dicts(tree: object) -> Iterator[dict[str, Any]]:
    """Yields every object of a JSON tree; iterative, because a statement may nest deeply."""
    todo = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            yield item
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)


def _explained(statement: str) -> str:
    """Returns what an EXPLAIN explains.

    With options in parentheses the rest does not parse as one SELECT, and so is refused.
    """
    tokens = _tokens(statement)
    start, _ = tokens[2 if tokens[1][1].startswith("analy") else 1]
    return statement.encode()[start:].decode()


def _tokens(statement: str) -> list[tuple[int, str]]:
    """Returns the byte offset and text of each token, names in lower case and without their quotes."""
    encoded = statement.encode()
    tokens = []
    for start, kind in duckdb.tokenize(statement):
        match = _TOKEN.match(encoded[start:].decode())
        if kind != duckdb.token_type.comment and match:
            tokens.append((start, match[0].strip('"').lower()))
    return tokens


def _words(statement: str) -> list[str]:
    return [word for _, word in _tokens(statement)]


def _check_words(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Checks a PIVOT whose columns depend on the data: DuckDB expands it before there is a tree.

    So it may hold no word that writes, not even as a name, and call no table function that is not
    allowed.
    """
    words = _words(statement)
    found = sorted(_WRITING_WORDS.intersection(words))
    if found:
        msg = f"got {', '.join(found)} in a PIVOT; {ALLOWED}; to use such a name, list the values: IN (...)"
        raise QueryError(msg)
    kinds = "('table', 'table_macro', 'pragma')"
    query = f"SELECT function_name FROM duckdb_functions() WHERE function_type IN {kinds}"  # noqa: S608 - fixed text
    callable_in_from = {name for (name,) in connection.execute(query).fetchall()}
    for word, following in pairwise(words):
        if following == "(" and word in callable_in_from:
            _check_function(word)
