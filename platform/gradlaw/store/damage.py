"""Files as they are read: what cannot be understood is damaged, and nothing in it is believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError
from gradlaw.store import paths
from gradlaw.store.files import Content, Files, UnreachableError, content_of
from gradlaw.store.named import check_index, check_parts
from gradlaw.store.parquet import MAGIC, SCHEMA_VERSION, DataFile, read_bytes
from gradlaw.store.paths import PackKey
from gradlaw.store.winners import INDEX_COLUMNS, INDEX_SCHEMA

_HASHED_BYTES = 8 << 20
"""Read and hashed at once: threads that change places after every few KB would take longer than one."""


class DamagedError(StoreError):
    """A file that cannot be read."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key, self.reason = key, reason


def parsed(key: str, content: Content, columns: Sequence[str] | None) -> tuple[pa.Table, dict[str, Any]]:
    """Rows and footer of a file that was read; raises DamagedError if it cannot be understood."""
    try:
        return read_bytes(content_of(content), columns)
    except FileNotFoundError as error:
        raise DamagedError(key, "it is missing") from error
    except StoreError as error:
        raise DamagedError(key, str(error)) from error


def check_content(files: Files, file: DataFile, *, verify: bool) -> None:
    """Raises DamagedError unless a file's content is what was committed."""
    if files.vouches:
        return
    if not verify:
        check_mark(files, file.key)
        return
    with _reading(files, file.key) as handle:
        digest = hashlib.sha256()
        while piece := handle.read(_HASHED_BYTES):
            digest.update(piece)
        if digest.hexdigest() != file.sha256:
            raise DamagedError(file.key, "its content is not what was committed (digest)")


def check_mark(files: Files, key: str) -> None:
    """Raises DamagedError unless a file ends as Parquet does."""
    with _reading(files, key) as handle:
        handle.seek(-min(len(MAGIC), handle.seek(0, 2)), 2)
        if handle.read() != MAGIC:
            raise DamagedError(key, "it is not a Parquet file")


@contextmanager
def _reading(files: Files, key: str) -> Iterator[BufferedReader]:
    try:
        with files.open(key) as handle:
            yield handle
    except (DamagedError, UnreachableError):
        raise
    except FileNotFoundError as error:
        raise DamagedError(key, "it is missing") from error
    except OSError as error:
        raise DamagedError(key, f"it cannot be read: {error}") from error


def read_manifest(files: Files, key: str) -> dict[str, Any]:
    """A generation's manifest; raises DamagedError if it cannot be understood."""
    try:
        manifest: dict[str, Any] = json.loads(files.read(key))
        version = manifest["schema_version"]
        parts = manifest["parts"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(key, f"it is no manifest: {error!r}") from error
    if version != SCHEMA_VERSION:
        raise DamagedError(key, f"schema version {version}, allowed {SCHEMA_VERSION}")
    with sound(key):
        check_parts(parts, paths.parse_manifest(key) or 0)
    return manifest


def index_of(key: str, rows: pa.Table, study: str, pack: PackKey | None = None) -> pa.Table:
    """The columns ``INDEX_COLUMNS`` of rows of ``trials``; raises DamagedError if they are not sound."""
    try:
        index = rows.select(list(INDEX_COLUMNS)).cast(INDEX_SCHEMA)
    except (KeyError, pa.ArrowException) as error:
        raise DamagedError(key, f"it has not the columns of trials: {error}") from error
    with sound(key):
        check_index(index, study, pack)
    return index


@contextmanager
def sound(key: str) -> Iterator[None]:
    """What is found wrong is the fault of this file."""
    try:
        yield
    except StoreError as error:
        raise DamagedError(key, str(error)) from error
