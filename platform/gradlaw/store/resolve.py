"""Which files of a store count, right now: the newest generation, and the commits it did not merge.

A *unit* is what becomes visible at once: one commit, or one part of a generation, which stands for the
commits merged into it. A unit with a file that is missing or damaged is set aside whole and named, and
its trials count as missing; of a part set aside, the merged commits count again while they are there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types
from numpy.typing import NDArray

from gradlaw.store import paths
from gradlaw.store.damage import (
    DamagedError,
    check_content,
    check_mark,
    index_of,
    parsed,
    read_manifest,
    sound,
)
from gradlaw.store.files import Content, Entry, Files
from gradlaw.store.named import commit_files
from gradlaw.store.parquet import DataFile
from gradlaw.store.paths import PackKey
from gradlaw.store.units import IndexRows, Unit
from gradlaw.store.winners import INDEX_COLUMNS, Needed, winners

_TRIES = 20
_THREADS = min(4, os.cpu_count() or 1)
_BATCH = 512
"""Commits that are held spelt out at once."""

_Examined = tuple[Unit, pa.Table | None]


@dataclass(frozen=True)
class SetAside:
    """A file that is not read, and why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Resolved:
    """What a reader reads: exact files, fixed at one moment; they stay for an hour at least.

    Attributes:
        generation: Number of the newest generation; 0: none.
        units: What counts.
        index: The columns ``INDEX_COLUMNS`` of every committed row of ``trials``, in the order of the units.
        live: Keys of the live parts of packs that are not committed.
        set_aside: Files that should count and cannot be read, and foreign files.
        unread: The commits set aside.
    """

    generation: int
    units: tuple[Unit, ...]
    index: pa.Table
    live: tuple[str, ...]
    set_aside: tuple[SetAside, ...]
    unread: frozenset[PackKey] = frozenset()

    def keys(self, table: str) -> list[str]:
        """Keys of a table's files."""
        return [file.key for unit in self.units for file in unit.files if file.table == table]

    def wins(self, needed: Needed | None = None) -> NDArray[np.bool_]:
        """The rows of ``index`` that win, shape [rows]: see :mod:`gradlaw.store.winners`."""
        if self.without_rivals:
            return np.ones(self.index.num_rows, dtype=np.bool_)
        return winners(self.index, needed)

    @cached_property
    def without_rivals(self) -> bool:
        """Whether no trial stands in several commits, as is the rule: then every row wins."""
        return bool(len(pc.unique(self.index["trial_id"])) == self.index.num_rows)

    def winners(self, needed: Needed | None = None) -> pa.Table:
        """The rows of ``index`` that win."""
        return self.index.filter(pa.array(self.wins(needed)))

    def losers(self) -> pa.Table:
        """The other rows of ``index``: few, as a rule none."""
        return self.index.filter(pa.array(~self.wins()))

    def holding(self, rows: NDArray[np.bool_]) -> tuple[Unit, ...]:
        """The units with any of some rows of ``index``, shape [rows of index]."""
        ends = np.cumsum([0, *(unit.num_rows for unit in self.units)])
        before = np.concatenate([[0], np.cumsum(rows)])[ends]
        return tuple(unit for unit, num in zip(self.units, np.diff(before), strict=True) if num)


@dataclass
class Cache:
    """What is known of files that never change: resolving again reads only new ones.

    One thread at a time takes and changes it.
    """

    units: dict[str, Unit] = field(default_factory=dict)
    rows: IndexRows = field(default_factory=IndexRows)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    checked: set[DataFile] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)


def resolve(files: Files, cache: Cache, *, verify: bool = True) -> Resolved:
    """Finds the files that count.

    Args:
        files: The store's.
        cache: Of this store.
        verify: Whether to compare every file's digest, once; else sizes and end marks only.
    """
    for _ in range(_TRIES):
        newest = max(_manifests(files), default=0)
        with cache.lock:
            found = _Resolution(files, cache, verify).run()
        # A file that vanished meanwhile was merged and deleted; then there is a newer generation.
        if not found.set_aside or newest == max(_manifests(files), default=0):
            break
    return found


def _manifests(files: Files) -> list[int]:
    numbers = map(paths.parse_manifest, files.scan(paths.GENERATIONS))
    return [number for number in numbers if number is not None]


class _Resolution:
    """One pass over a store."""

    def __init__(self, files: Files, cache: Cache, verify: bool) -> None:
        self._files, self._cache, self._verify = files, cache, verify
        self._covered: set[PackKey] = set()
        self._taken: dict[str, Unit] = {}
        self._set_aside: list[SetAside] = []
        self._unread: set[PackKey] = set()

    def run(self) -> Resolved:
        generations = self._files.scan(paths.GENERATIONS)
        commits = sorted(self._files.scan(paths.TRIALS))
        live = self._files.scan(paths.LIVE)
        # After the commits: what a commit lists is on disk before it.
        self._entries = generations | self._tables()
        numbers = sorted(filter(None, map(paths.parse_manifest, generations)), reverse=True)
        with ThreadPoolExecutor(_THREADS) as pool:
            for number in numbers:
                self._read_generation(number, pool)
            self._read_commits(commits, pool)
        self._name_foreign(commits)
        self._cache.units = self._taken
        return Resolved(
            generation=numbers[0] if numbers else 0,
            units=tuple(self._taken.values()),
            index=self._cache.rows.gather([*self._taken]),
            live=tuple(key for key in sorted(self._running(live)) if self._is_parquet(key)),
            set_aside=tuple(dict.fromkeys(self._set_aside)),
            unread=frozenset(self._unread),
        )

    def _tables(self) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for folder in self._files.folders():
            if not folder.startswith(("_", ".")) and folder not in paths.RESERVED:
                found |= self._files.scan(folder)
        return found

    def _read_generation(self, number: int, pool: Executor) -> None:
        """Takes the parts of a generation; of an older one only what newer ones do not cover."""
        key = paths.manifest(number)
        try:
            manifest = self._cache.manifests.get(key) or read_manifest(self._files, key)
            self._cache.manifests[key] = manifest
        except DamagedError as error:
            self._name(error)
            return
        except FileNotFoundError:
            return
        listed = [(part, frozenset(PackKey(*pack) for pack in part["packs"])) for part in manifest["parts"]]
        asked = [(part, packs) for part, packs in listed if self._covered.isdisjoint(packs)]
        examined = pool.map(lambda pair: _or_damage(self._part, *pair), asked)
        fresh: dict[str, pa.Table] = {}
        for (_, packs), found in zip(asked, examined, strict=True):
            if isinstance(found, DamagedError):
                self._name(found)
                self._unread |= packs
            elif self._covered.isdisjoint(packs):
                unit, rows = found
                fresh |= {unit.key: rows} if rows is not None else {}
                self._take(unit)
        self._cache.rows.add(fresh)

    def _part(self, part: Mapping[str, Any], packs: frozenset[PackKey]) -> _Examined:
        """A part, and its rows of the index unless they are held."""
        listed = tuple(DataFile(**file) for file in part["files"])
        trials = next(file for file in listed if file.table == paths.TRIALS)
        if trials.key in self._taken:
            raise DamagedError(trials.key, "two generations name it, each for other packs")
        self._check(listed)
        if known := self._cache.units.get(trials.key):
            return known, None
        rows, _ = parsed(trials.key, self._files.read_or_error(trials.key), INDEX_COLUMNS)
        others = (file for file in listed if file is not trials)
        unit = Unit(study=part["study"], packs=packs, files=(trials, *others), num_rows=rows.num_rows)
        return unit, index_of(trials.key, rows, part["study"])

    def _read_commits(self, commits: Sequence[str], pool: Executor) -> None:
        """Takes what generations do not cover; what is not known is read, on a bucket many at once."""
        named = {key: name for key in commits if (name := paths.parse_data(key))}
        counting = iter([(key, name) for key, name in named.items() if name.pack not in self._covered])
        while batch := list(islice(counting, _BATCH)):
            known = {key: unit for key, _ in batch if (unit := self._known(key))}
            contents = self._files.read_each(key for key, _ in batch if key not in known)
            given = [(key, name, known.get(key) or next(contents)[1]) for key, name in batch]
            examined = pool.map(lambda each: _or_damage(self._commit, *each), given)
            fresh: dict[str, pa.Table] = {}
            for (key, name), found in zip(batch, examined, strict=True):
                if isinstance(found, DamagedError):
                    self._name(found, commit=key)
                    self._unread.add(name.pack)
                    continue
                unit, rows = found
                fresh |= {key: rows} if rows is not None else {}
                self._take(unit)
            self._cache.rows.add(fresh)

    def _known(self, key: str) -> Unit | None:
        """A commit that was read before, unless its file was cut or replaced since."""
        unit, entry = self._cache.units.get(key), self._entries.get(key)
        return unit if unit and entry and entry.size == unit.files[0].size else None

    def _commit(self, key: str, name: paths.DataKey, found: Unit | Content) -> _Examined:
        """A commit, and its rows of the index unless they are held."""
        unit, rows = (found, None) if isinstance(found, Unit) else self._new_commit(key, name, found)
        self._check(unit.files[1:])
        return unit, rows

    def _new_commit(self, key: str, name: paths.DataKey, content: Content) -> _Examined:
        # Its digest is nowhere, so that all of it is read where it is to be verified.
        whole = self._verify and not self._files.vouches
        rows, entries = parsed(key, content, None if whole else INDEX_COLUMNS)
        with sound(key):
            listed = commit_files(entries.get("commit"), name)
        size = self._entries[key].size if key in self._entries else 0
        own = DataFile(table=paths.TRIALS, key=key, size=size, sha256="", rows=rows.num_rows)
        unit = Unit(
            study=name.study, packs=frozenset({name.pack}), files=(own, *listed), num_rows=rows.num_rows
        )
        return unit, index_of(key, rows, name.study, name.pack)

    def _check(self, listed: Iterable[DataFile]) -> None:
        for file in listed:
            entry = self._entries.get(file.key)
            if entry is None:
                raise DamagedError(file.key, "it is missing")
            if entry.size != file.size:
                raise DamagedError(file.key, f"it has {entry.size} bytes, its commit says {file.size}")
            if file not in self._cache.checked:
                check_content(self._files, file, verify=self._verify)
                self._cache.checked.add(file)

    def _take(self, unit: Unit) -> None:
        self._taken[unit.key] = unit
        self._covered |= unit.packs

    def _name(self, error: DamagedError, commit: str | None = None) -> None:
        reason = error.reason
        if commit not in (None, error.key):
            reason += f"; so the whole commit {commit} is set aside"
        self._set_aside.append(SetAside(self._files.location(error.key), reason))

    def _name_foreign(self, commits: Iterable[str]) -> None:
        for key in sorted({*self._entries, *commits}):
            if key.startswith(f"{paths.GENERATIONS}/") or key.rpartition("/")[2].startswith("."):
                continue
            if paths.parse_data(key) is None:
                self._set_aside.append(
                    SetAside(self._files.location(key), "it was not written by this store")
                )
        for key in sorted(self._files.strange):
            self._set_aside.append(SetAside(self._files.location(key), "it is neither a file nor a folder"))

    def _is_parquet(self, key: str) -> bool:
        """Live parts are not forced to disk, so that a crash of the machine may leave them empty."""
        if self._files.vouches:
            return True
        try:
            check_mark(self._files, key)
        except DamagedError as error:
            self._name(error)
            return False
        return True

    def _running(self, live: Iterable[str]) -> list[str]:
        """Live parts of the newest attempt at each pack, while no attempt as new is committed."""
        newest: dict[str, int] = {}
        for pack in self._covered:
            newest[pack.pack_id] = max(newest.get(pack.pack_id, 0), pack.attempt + 1)
        parts = [(paths.parse_live(key), key) for key in live]
        for name, _ in parts:
            if name is not None:
                newest[name.pack_id] = max(newest.get(name.pack_id, 0), name.attempt)
        return [key for name, key in parts if name is not None and name.attempt == newest[name.pack_id]]


def _or_damage(examine: Callable[..., _Examined], *given: Any) -> _Examined | DamagedError:
    """What is found, or what is wrong with it."""
    try:
        return examine(*given)
    except DamagedError as error:
        return error
