"""What somebody who can write to a store may put there."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gradlaw.store.parquet import DataFile, read_bytes, to_bytes

KEYS = (
    "../outside/keep.txt",
    "../outside/p-0.parquet",
    "trials/../../outside/keep.txt",
    "_generations/../../outside/keep.txt",
    "_checkpoints/../../outside/0.json",
    "/etc/passwd",
    "//etc/passwd",
    "C:\\Windows\\win.ini",
    "..\\outside\\keep.txt",
    "file:///etc/passwd",
    "s3://bucket/key",
    "https://example.org/x.parquet",
    "store.json",
    "plans/p.parquet",
    "schemas/metrics/loss.json",
    "trials/study=toy/another-0.parquet",
    "noise/study=toy/p-0.parquet\n",
    "noise/study=toy/p-0.parquet\x00",
    "noise/study=../../outside/p-0.parquet",
    "_generations/1/",
    "",
    ".",
)
NAMES = (
    "../up", "a/b", "/root", "..", ".", "", "a\x00b", "a\nb", "a b", "-rf", "A", "a.b", "a;drop table b", "~",
    'a" AS SELECT 1 --', "a' OR 1=1", "<script>alert(1)</script>", "\u0661\u0662", "a" * 300, "\x1b[2J",
)  # fmt: skip


class Mark:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def pickled(mark: Path) -> bytes:
    """Loaded by anything that loads pickles, it makes a folder of this name."""
    data = pickle.dumps(Mark(mark))
    pickle.loads(data)
    assert mark.is_dir()
    mark.rmdir()
    return data


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], footer: str) -> None:
    """Changes an entry of a Parquet file's footer, which is written anew."""
    rows, entries = read_bytes(path.read_bytes())
    document = entries[footer]
    change(document)
    path.write_bytes(to_bytes(rows, **{footer: document}))


def listed(data: bytes, key: str, table: str) -> dict[str, Any]:
    """What a commit says of a file of this content."""
    digest = hashlib.sha256(data).hexdigest()
    return asdict(DataFile(table=table, key=key, size=len(data), sha256=digest, rows=1))


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes a JSON document."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
