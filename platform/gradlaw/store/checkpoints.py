"""Checkpoints of packs that run: tensors, and the rows up to them, so that another attempt can go on.

A checkpoint is a JSON document, written last: it names the file of its tensors and all files of rows, each
with size and digest. Rows are written once: each checkpoint adds files of the rows since the one before. An
older checkpoint goes only when a newer one is whole, so a process may be killed at any instant.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import groupby
from types import TracebackType
from typing import Any, Self

import safetensors
from numpy.typing import NDArray
from safetensors import numpy as tensors

from gradlaw.errors import GradlawError, StoreError
from gradlaw.store import paths
from gradlaw.store.faults import reach
from gradlaw.store.files import STALE_S, Entry, Files, UnreachableError
from gradlaw.store.parquet import SCHEMA_VERSION, DataFile, read_bytes
from gradlaw.store.schema import Columns, to_arrow
from gradlaw.store.winners import TrialStatus
from gradlaw.store.writer import PackWriter, TableWriter
from gradlaw.table import Table
from gradlaw.trial import SETTLED

KEEP_S = 3600.0
"""How long a checkpoint stays at least though its trials have ended: another driver may be at them."""

DOCUMENT, TENSORS = ".json", ".safetensors"

Arrays = Mapping[str, NDArray[Any]]


class CheckpointGoneError(StoreError):
    """A checkpoint was deleted while it was read: what was read of it must be forgotten."""


class PackStoppedError(GradlawError):
    """A pack that ends before it is done, because its run is told to end; its checkpoint is kept."""


class PackCheckpoints:
    """The checkpoints of one attempt at a pack. Its rows go through here on their way to the writer.

    Use as a context manager, within the writer's.

    Args:
        files: The store's.
        writer: Of the attempt.
        tables: All that the pack may fill.
        every_s: Seconds between checkpoints, > 0; infinite: none are kept, but one may be found.

    Attributes:
        notes: What became of checkpoints, a line each, for the user.
    """

    def __init__(self, files: Files, writer: PackWriter, tables: Iterable[Table], *, every_s: float) -> None:
        self.every_s = every_s
        self.notes: list[str] = []
        self._files, self._writer = files, writer
        self._tables = {table.name: table for table in tables}
        self._logs: dict[str, TableWriter] = {}
        self._rows: list[DataFile] = []
        self._last: tuple[str, ...] = ()
        self._number = 0
        self._keeps = every_s < float("inf")
        self._stopping = False

    def append(self, table: Table, columns: Columns) -> None:
        """As of the writer; the rows are held for the next checkpoint too."""
        rows = to_arrow(table, columns)
        if rows.num_rows == 0:
            return
        self._writer.copy(table, rows, live=True)
        if self._keeps:
            with self._or_without():
                if table.name not in self._logs:
                    self._logs[table.name] = TableWriter(self._files, table, self._writer.pack)
                self._logs[table.name].append(rows)

    def flush(self) -> None:
        """As of the writer."""
        self._writer.flush()
        for log in self._logs.values():
            log.touch()

    def find(self, refusal: Callable[[Mapping[str, Any]], str]) -> tuple[Mapping[str, Any], Arrays] | None:
        """The newest whole checkpoint of the pack that is not refused; its rows are then with the writer.

        Others are left where they are, and a note says why.

        Args:
            refusal: Why a checkpoint of this content may not be used; "" if it may.

        Raises:
            CheckpointGoneError: Another driver deleted it half-way; abandon the attempt and begin another.
        """
        for key in reversed(_documents(self._files.scan(paths.CHECKPOINTS), self._writer.pack.pack_id)):
            try:
                held = _read(self._files, key)
                reason = refusal(held["content"])
                arrays = {} if reason else self._arrays(held)
            except FileNotFoundError:  # a newer one was written meanwhile
                continue
            except (KeyError, TypeError, AttributeError, IndexError) as error:  # no pack wrote it
                reason = f"it is damaged: {error!r}"
            except UnreachableError:
                raise
            except StoreError as error:
                reason = str(error)
            if reason:
                self.notes.append(f"checkpoint {self._files.location(key)} is not used: {reason}")
                continue
            self._take(key, held)
            return held["content"], arrays
        return None

    def stop(self) -> None:
        """Ends the pack at the end of its segment, once a checkpoint is kept there."""
        self._stopping, self.every_s = True, 0.0

    def keep(self, content: Mapping[str, Any], arrays: Arrays) -> None:
        """Keeps a checkpoint that stands for all rows appended so far; the one before it goes.

        If it cannot be written, the pack goes on without: a note says so, and the last whole one stays.

        Raises:
            PackStoppedError: After :meth:`stop`.
        """
        if self._keeps:
            with self._or_without():
                self._keep(content, arrays)
        if self._stopping:
            raise PackStoppedError

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """What cannot be written here is no reason to end a pack."""
        try:
            yield
        except StoreError as error:
            self._keeps = False
            self._discard()
            self.notes.append(f"no more checkpoints of pack {self._writer.pack.pack_id}: {error}")

    def _keep(self, content: Mapping[str, Any], arrays: Arrays) -> None:
        for name, log in self._logs.items():
            file = log.publish(self._key(f"-{name}.parquet"))
            self._rows += [file] if file else []
        self._logs = {}
        document = {
            "schema_version": SCHEMA_VERSION,
            "content": content,
            "sha256": _digest(content),
            "tensors": self._create(TENSORS, tensors.save(dict(arrays))),
            "rows": [asdict(file) for file in self._rows],
        }
        reach("checkpoint_before_manifest")
        self._create(DOCUMENT, json.dumps(document).encode())
        reach("checkpoint_after_manifest")
        with suppress(StoreError):  # older ones do no harm, and go with the pack's others at its commit
            self._files.delete_each(self._last)
        self._last = self._key(DOCUMENT), self._key(TENSORS)
        self._number += 1

    def _key(self, ending: str) -> str:
        return paths.checkpoint(self._writer.pack, self._number, ending)

    def _create(self, ending: str, data: bytes) -> Mapping[str, Any]:
        key = self._key(ending)
        with self._files.sink() as sink:
            sink.write(data)
            if not sink.publish(key):
                msg = f"{self._files.location(key)} exists, though its number was reserved"
                raise StoreError(msg)
            return {"key": key, "size": sink.size, "sha256": sink.sha256}

    def _arrays(self, held: Mapping[str, Any]) -> Arrays:
        """The tensors, after a look at every file that the checkpoint names."""
        for file in held["rows"]:
            _checked(self._files, file)
            if file["table"] not in self._tables:
                msg = f"it has rows of a table {file['table']}, which the pack does not fill"
                raise StoreError(msg)
        try:
            arrays: Arrays = tensors.load(_checked(self._files, held["tensors"]))
        except safetensors.SafetensorError as error:
            msg = f"{held['tensors']['key']}: {error}"
            raise StoreError(msg) from error
        return arrays

    def _take(self, key: str, held: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint: its rows are this attempt's, and the next one adds to its files."""
        self._rows = [DataFile(**file) for file in held["rows"]]
        self._last = key, held["tensors"]["key"]
        for file in self._rows:
            try:
                rows, _ = read_bytes(self._files.read(file.key))
            except FileNotFoundError as error:
                msg = f"{self._files.location(file.key)} went as it was read: another driver is at the pack"
                raise CheckpointGoneError(msg) from error
            self._writer.copy(self._tables[file.table], rows, live=True)
            self._writer.flush()
        pack_id = self._writer.pack.pack_id
        self.notes.append(f"pack {pack_id} goes on from its checkpoint {self._files.location(key)}")

    def _discard(self) -> None:
        for log in self._logs.values():
            log.discard()
        self._logs = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()


def newest_checkpoints(files: Files) -> dict[str, paths.CheckpointKey]:
    """The newest checkpoint by pack id, as its name tells: it may yet be damaged, or be refused."""
    names = map(paths.parse_checkpoint, files.scan(paths.CHECKPOINTS))
    documents = [name for name in names if name and name.ending == DOCUMENT]
    return {name.pack.pack_id: name for name in sorted(documents)}


def clear_checkpoints(files: Files, pack_id: str) -> int:
    """Deletes all checkpoints of a pack, since it is committed; returns the number of files."""
    return _delete(files, _of_pack(files.scan(paths.CHECKPOINTS), pack_id))


def sweep_checkpoints(files: Files, index: Mapping[str, TrialStatus], *, keep_s: float = KEEP_S) -> int:
    """Deletes what is left of checkpoints whose trials have all ended: a worker was killed before it could.

    What failed for good may be tried again, and then goes on: its checkpoints stay.

    Args:
        files: The store's.
        index: What the store knows of each trial.
        keep_s: Seconds that one stays at least after it was written.

    Returns:
        The number of files deleted.
    """
    packs: dict[str, list[Entry]] = {}
    for key, entry in files.scan(paths.CHECKPOINTS).items():
        name = paths.parse_checkpoint(key)
        if name is not None:
            packs.setdefault(name.pack.pack_id, []).append(entry)
    old: list[str] = []
    now = files.now() if packs else 0.0
    for pack_id, entries in packs.items():
        age_s, keys = now - max(entry.modified_s for entry in entries), [entry.key for entry in entries]
        if age_s >= keep_s and _ended(files, _documents(keys, pack_id), index, age_s):
            old += keys
    return _delete(files, old)


def _delete(files: Files, keys: Iterable[str]) -> int:
    """Deletes files of checkpoints, documents first: none names what is gone. Returns their number."""
    ordered = sorted(keys, key=_is_no_document)
    for _, step in groupby(ordered, key=_is_no_document):
        files.delete_each(step)
    return len(ordered)


def _is_no_document(key: str) -> bool:
    return not key.endswith(DOCUMENT)


def _ended(files: Files, documents: Sequence[str], index: Mapping[str, TrialStatus], age_s: float) -> bool:
    """Whether all trials of a pack's checkpoints have ended, none as failed, with the probes asked for."""
    for key in reversed(documents):
        try:
            data = files.read(key)
        except FileNotFoundError:
            continue
        except StoreError:  # it may be whole, though it cannot be read now
            return False
        try:
            held = _understood(key, data)["content"]["identity"]
            probes, statuses = set(held["probes"]), [index.get(trial_id) for trial_id in held["trials"]]
        except (StoreError, KeyError, TypeError):
            continue
        return all(status and status.state in SETTLED and probes <= status.probes for status in statuses)
    return age_s >= STALE_S  # files of a checkpoint that was never whole, or is damaged


def _of_pack(keys: Iterable[str], pack_id: str) -> list[str]:
    """Those of these keys that are files of a pack's checkpoints, oldest first."""
    names = [(paths.parse_checkpoint(key), key) for key in keys]
    return [
        key for _, key in sorted((name, key) for name, key in names if name and name.pack.pack_id == pack_id)
    ]


def _documents(keys: Iterable[str], pack_id: str) -> list[str]:
    """The documents among them."""
    return [key for key in _of_pack(keys, pack_id) if key.endswith(DOCUMENT)]


def _read(files: Files, key: str) -> Mapping[str, Any]:
    """The document of a checkpoint; raises StoreError if it cannot be read or understood."""
    return _understood(key, files.read(key))


def _understood(key: str, data: bytes) -> Mapping[str, Any]:
    """The document that a checkpoint's file holds; raises StoreError if it is none."""
    try:
        document: Mapping[str, Any] = json.loads(data)
        version = document["schema_version"]
        whole = document["sha256"] == _digest(document["content"])
        keys = [document["tensors"]["key"], *(DataFile(**file).key for file in document["rows"])]
        foreign = [name for name in keys if not _is_of(key, name)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"it is damaged: {error!r}"
        raise StoreError(msg) from error
    msg = "" if whole else "it is damaged: its content is not what was written (digest)"
    if foreign:  # the older one's files are deleted later
        msg = f"it is damaged: it names {foreign[0]}, which is no file of its pack's checkpoints"
    if version != SCHEMA_VERSION:
        msg = f"its schema version is {version}, allowed {SCHEMA_VERSION}"
    if msg:
        raise StoreError(msg)
    return document


def _is_of(document: str, key: str) -> bool:
    """Whether a key is that of a file of the same pack's checkpoints."""
    own, other = paths.parse_checkpoint(document), paths.parse_checkpoint(key)
    return own is not None and other is not None and own.pack.pack_id == other.pack.pack_id


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checked(files: Files, file: Mapping[str, Any]) -> bytes:
    """The content of a file that a checkpoint names; raises StoreError unless it is what was written."""
    try:
        data = files.read(file["key"])
    except FileNotFoundError as error:
        msg = f"{file['key']} is missing"
        raise StoreError(msg) from error
    if len(data) != file["size"] or hashlib.sha256(data).hexdigest() != file["sha256"]:
        msg = f"{file['key']} is not what was written (size or digest)"
        raise StoreError(msg)
    return data
