"""Compaction: many packs' files merged into few, while others read and write.

A generation is a manifest, written last and exclusively; it names the commits that each of its parts
stands for, so that no row is seen twice. What it replaces stays until two generations later, and an hour
at least, for readers that began before. A part that cannot be read is replaced by nothing: its other files
stay until they are removed by hand. A part that needs no new rows is carried over by name. Tables with a
column of bytes, weights above all, may be larger than memory: they are copied group by group, as they come.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, groupby, pairwise
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError
from gradlaw.store import paths
from gradlaw.store.damage import DamagedError, check_content, read_manifest
from gradlaw.store.faults import reach
from gradlaw.store.files import STALE_S, Content, Files, content_of
from gradlaw.store.parquet import (
    ROW_GROUP_BYTES,
    ROW_GROUP_ROWS,
    SCHEMA_VERSION,
    DataFile,
    footer,
    open_writer,
    read_bytes,
)
from gradlaw.store.paths import PackKey
from gradlaw.store.registry import registered_tables
from gradlaw.store.resolve import Resolved, SetAside
from gradlaw.store.store import Store
from gradlaw.store.units import Unit
from gradlaw.store.writer import sweep_live

KEEP_S = 3600.0
"""How long what was replaced stays at least: longer than any reader takes."""

PART_BYTES = 32 << 20
"""Size of a part's inputs, on disk. In memory they take about ten times that, which bounds a merge."""

Part = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """What a compaction did.

    Attributes:
        generation: Number of the newest generation now; 0: none.
        merged: Number of commits it merged.
        deleted: Number of files it deleted.
        set_aside: Damaged files that it left out, and why.
    """

    generation: int
    merged: int
    deleted: int
    set_aside: tuple[SetAside, ...]

    def __str__(self) -> str:
        lines = [f"generation {self.generation}: {self.merged} packs merged, {self.deleted} files deleted"]
        lines += [f"set aside: {item.path}: {item.reason}" for item in self.set_aside]
        if any(_is_manifest(item.path) for item in self.set_aside):
            lines.append(
                "no merged file is deleted while a manifest cannot be read: restore it from a copy of the "
                "store, or move it out of the store if there is none"
            )
        if any(item.path.endswith(".parquet") for item in self.set_aside):
            lines.append(
                "what is set aside stays: put a good copy in its place, or remove it; of a merged part all "
                "files, whose names differ in the table alone"
            )
        return "\n".join(lines)


def compact(store: Store, *, keep_s: float = KEEP_S, part_bytes: int = PART_BYTES) -> Compaction:
    """Merges what was committed since the last generation into a new one.

    Args:
        store: The store; others may write to it and read it meanwhile.
        keep_s: How long files that were replaced stay at least, in seconds.
        part_bytes: Size of a part.

    Raises:
        StoreError: If the store cannot be written. It is then as it was.
    """
    files = store.files
    files.sweep()
    resolved = store.resolve()
    fresh = [unit for unit in resolved.units if not _is_part(unit)]
    generation, merged, named = resolved.generation, 0, list(resolved.set_aside)
    if fresh or _waiting(files, resolved, keep_s):
        paths.manifest(resolved.generation + 1)  # raises before anything is written
        parts = _Merge(files, resolved.generation + 1, part_bytes).run(resolved.units, named)
        if _publish(files, resolved.generation + 1, parts):
            packs = _packs_of(parts)
            generation, merged = resolved.generation + 1, sum(unit.packs <= packs for unit in fresh)
    deleted = _clean(files, keep_s) + sweep_live(files)
    return Compaction(generation=generation, merged=merged, deleted=deleted, set_aside=tuple(named))


def _is_manifest(location: str) -> bool:
    return paths.parse_manifest("/".join(location.split("/")[-2:])) is not None


def _is_part(unit: Unit) -> bool:
    return any(file.key.startswith(f"{paths.GENERATIONS}/") for file in unit.files)


def _waiting(files: Files, resolved: Resolved, keep_s: float) -> bool:
    """Whether merged inputs are still there and only wait for the next generation to be deleted."""
    covered = {pack for unit in resolved.units if _is_part(unit) for pack in unit.packs}
    names = (paths.parse_data(key) for key in files.scan(paths.TRIALS))
    left = any(name is not None and name.pack in covered for name in names)
    manifest = files.scan(paths.GENERATIONS).get(paths.manifest(resolved.generation))
    return left and manifest is not None and manifest.modified_s < files.now() - keep_s


def _publish(files: Files, generation: int, parts: list[Part]) -> bool:
    """Makes a generation visible; the one that comes second removes its files."""
    reach("compaction_before_manifest")
    manifest = json.dumps({"schema_version": SCHEMA_VERSION, "parts": parts}).encode()
    try:
        won = files.create(paths.manifest(generation), manifest)
    except BaseException:
        if not (
            files.late or files.exists(paths.manifest(generation))
        ):  # else what it names must stay, whoever wrote it
            _discard(files, generation, parts)
        raise
    if not won:
        _discard(files, generation, parts)
    reach("compaction_after_manifest")
    return won


def _discard(files: Files, generation: int, parts: Iterable[Part]) -> None:
    own = f"{paths.GENERATIONS}/{generation}/"
    files.delete_each(file for file in _files_of(parts) if file.startswith(own))


def _files_of(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        for file in part["files"]:
            yield file["key"]


def _packs_of(parts: Iterable[Part]) -> set[PackKey]:
    return {PackKey(*pack) for part in parts for pack in part["packs"]}


class _Merge:
    """Writes the files of one generation."""

    def __init__(self, files: Files, generation: int, part_bytes: int) -> None:
        self._files, self._generation, self._part_bytes = files, generation, part_bytes
        self._token = uuid.uuid4().hex[:12]
        self._parts: list[Part] = []
        self._copied = {
            table.name
            for table in registered_tables(files).values()
            if any(column.type == "binary" for column in table.columns)
        }

    def run(self, units: Iterable[Unit], named: list[SetAside]) -> list[Part]:
        """Returns the parts; damaged units are left out and named."""
        try:
            for group in self._groups(units):
                if len(group) == 1 and _is_part(group[0]):
                    self._carry(group[0])
                else:
                    self._merge(group, named)
        except BaseException:
            _discard(self._files, self._generation, self._parts)
            raise
        return self._parts

    def _groups(self, units: Iterable[Unit]) -> Iterator[list[Unit]]:
        """Units to merge, of one study and about the size of a part; those to carry over alone."""
        studies: dict[str, list[Unit]] = {}
        for unit in units:
            studies.setdefault(unit.study, []).append(unit)
        for study in sorted(studies):
            grown = any(not _is_part(unit) for unit in studies[study])
            group: list[Unit] = []
            size = 0
            for unit in sorted(studies[study], key=lambda unit: min(unit.packs)):
                if _is_part(unit) and (not grown or _size(unit) >= self._part_bytes):
                    yield [unit]
                    continue
                if group and size + _size(unit) > self._part_bytes:
                    yield group
                    group, size = [], 0
                group.append(unit)
                size += _size(unit)
            if group:
                yield group

    def _carry(self, unit: Unit) -> None:
        self._add(unit.study, unit.packs, [asdict(file) for file in unit.files])

    def _add(self, study: str, packs: Iterable[PackKey], listed: list[dict[str, Any]]) -> None:
        self._parts.append({"study": study, "packs": sorted(packs), "files": listed})

    def _merge(self, group: list[Unit], named: list[SetAside]) -> None:
        tables: dict[str, list[pa.Table]] = {}
        copied: dict[str, list[DataFile]] = {}
        packs: set[PackKey] = set()
        loading = [file for unit in group for file in unit.files if file.table not in self._copied]
        contents = self._files.read_each(file.key for file in loading)  # on a bucket many at once
        for unit in group:
            small = [(file, next(contents)[1]) for file in unit.files if file.table not in self._copied]
            large = [file for file in unit.files if file.table in self._copied]
            try:
                for file in large:
                    check_content(self._files, file, verify=True)
                loaded = [(file.table, _loaded(file, content)) for file, content in small]
            except DamagedError as error:
                named.append(SetAside(self._files.location(error.key), error.reason))
                continue
            packs |= unit.packs
            for name, rows in loaded:
                tables.setdefault(name, []).append(rows)
            for file in large:
                copied.setdefault(file.table, []).append(file)
        if not packs:
            return
        self._add(group[0].study, packs, [])
        for name in sorted(tables):
            rows = _sorted(tables.pop(name))
            self._parts[-1]["files"].append(asdict(self._write(name, [rows], rows.num_rows)))
        for name, listed in sorted(copied.items()):
            groups, num_rows = _groups_of(self._files, listed), sum(file.rows for file in listed)
            self._parts[-1]["files"].append(asdict(self._write(name, groups, num_rows)))

    def _write(self, table: str, groups: Iterable[pa.Table], num_rows: int) -> DataFile:
        """One file of rows that come in groups, at least one; with one group in memory at a time."""
        groups = iter(groups)
        first = next(groups)
        # Nullable, because a column that some packs lack is missing in the others' rows.
        schema = pa.schema([field.with_nullable(True) for field in first.schema], footer())
        key = paths.generation_file(self._generation, self._token, len(self._parts) - 1, table)
        with self._files.sink() as sink:
            with open_writer(sink, schema, num_rows) as writer:
                for rows in chain([first], groups):
                    writer.write_table(rows.cast(schema), row_group_size=ROW_GROUP_ROWS)
            size, sha256 = sink.size, sink.sha256
            if not sink.publish(key):
                msg = f"{self._files.location(key)} exists, though its name was drawn; compact again"
                raise StoreError(msg)
        return DataFile(table=table, key=key, size=size, sha256=sha256, rows=num_rows)


def _joined(pieces: list[pa.Table]) -> pa.Table:
    """By name; a column that is float32 in one pack and float64 in another becomes float64."""
    plain = [piece.replace_schema_metadata() for piece in pieces]
    return pa.concat_tables(plain, promote_options="permissive")


def _sorted(pieces: list[pa.Table]) -> pa.Table:
    rows = _joined(pieces)
    keys = [name for name in ("trial_id", "pack_id", "attempt", "step") if name in rows.column_names]
    return rows.sort_by([(name, "ascending") for name in keys])


def _groups_of(files: Files, listed: Iterable[DataFile]) -> Iterator[pa.Table]:
    """The rows of files of one table in their order, in groups that are neither small nor large."""
    held: list[pa.Table] = []
    size = 0
    for file in listed:
        with (
            files.open(file.key) as handle,
            pq.ParquetFile(handle, page_checksum_verification=True) as parquet,
        ):
            for number in range(parquet.num_row_groups):
                held.append(parquet.read_row_group(number, use_threads=False))
                size += held[-1].nbytes
                if size >= ROW_GROUP_BYTES:
                    yield _joined(held)
                    held, size = [], 0
    if held:
        yield _joined(held)


def _size(unit: Unit) -> int:
    return sum(file.size for file in unit.files)


def _loaded(file: DataFile, content: Content) -> pa.Table:
    """The rows of a file, from the very bytes whose digest is compared."""
    try:
        data = content_of(content)
        if file.sha256 and hashlib.sha256(data).hexdigest() != file.sha256:
            raise DamagedError(file.key, "its content is not what was committed (digest)")
        return read_bytes(data)[0]
    except FileNotFoundError as error:
        raise DamagedError(file.key, "it is missing") from error
    except DamagedError:
        raise
    except StoreError as error:
        raise DamagedError(file.key, str(error)) from error


def _clean(files: Files, keep_s: float) -> int:
    """Deletes what no reader can need any more; returns the number of files."""
    entries = files.scan(paths.GENERATIONS)
    if not entries:
        return 0
    now = files.now()
    ages = {
        number: now - entry.modified_s
        for key, entry in entries.items()
        if (number := paths.parse_manifest(key)) is not None
    }
    newest = max(ages, default=0)
    manifests = _manifests(files, ages)
    if len(manifests) < len(ages):  # then none says what is still needed
        return 0
    doomed: list[str] = []
    for number, manifest in sorted(manifests.items()):
        if number <= newest - 2 and ages[number] >= keep_s:
            doomed += _inputs(files, manifest, manifests[newest])
    alone = _held_alone(manifests, entries)
    kept = {key for keys in alone.values() for key in keys}
    for number, following in pairwise(sorted(manifests)):  # between them others may have gone before
        if number <= newest - 2 and ages[following] >= keep_s:
            needed = kept.union(*(_files_of(manifests[n]["parts"]) for n in manifests if n > number))
            files_of = _files_of(manifests[number]["parts"])
            doomed += [key for key in files_of if key in entries and key not in needed]
            doomed += [] if number in alone else [paths.manifest(number)]
    listed = {key for manifest in manifests.values() for key in _files_of(manifest["parts"])}
    for key, entry in entries.items():  # files of a compaction that was killed
        if paths.parse_manifest(key) is None and key not in listed and now - entry.modified_s >= STALE_S:
            doomed.append(key)
    for _, step in groupby(dict.fromkeys(doomed), key=_step):  # many at once, as far as the order allows
        files.delete_each(step, before=partial(reach, "compaction_between_deletes"))
    return len(set(doomed))


def _step(key: str) -> tuple[bool, int | None]:
    """Rows go before the commits that list them, and files of a generation before its manifest."""
    return key.startswith(f"{paths.TRIALS}/"), paths.parse_manifest(key)


def _manifests(files: Files, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Every manifest that can be read, if all can: a damaged one may name what is still needed."""
    found = {}
    for number in numbers:
        try:
            found[number] = read_manifest(files, paths.manifest(number))
        except (DamagedError, FileNotFoundError):
            return {}
    return found


def _held_alone(manifests: Mapping[int, Mapping[str, Any]], there: Container[str]) -> dict[int, list[str]]:
    """By generation, files of commits that no newer one has: of parts that could not be read.

    They stay, for a good copy of the damaged one to be put back, as long as any of a part's files is there.
    """
    found: dict[int, list[str]] = {}
    newer = set[PackKey]()
    for number, manifest in sorted(manifests.items(), reverse=True):
        for part in manifest["parts"]:
            keys = list(_files_of([part]))
            if not _packs_of([part]) <= newer and any(key in there for key in keys):
                found.setdefault(number, []).extend(keys)
        newer |= _packs_of(manifest["parts"])
    return found


def _inputs(files: Files, manifest: Mapping[str, Any], newest: Mapping[str, Any]) -> list[str]:
    """Files of commits that a generation merged and the newest still stands for, commits last."""
    merged = _packs_of(manifest["parts"]) & _packs_of(newest["parts"])
    keys = [key for folder in files.folders() if not folder.startswith("_") for key in files.scan(folder)]
    names = [(key, paths.parse_data(key)) for key in keys]
    mine = [key for key, name in names if name is not None and name.pack in merged]
    return sorted(mine, key=lambda key: key.startswith(f"{paths.TRIALS}/"))
