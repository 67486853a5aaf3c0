"""The store: a folder or a bucket of Parquet that many processes write and read at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError
from gradlaw.hyperparameter import Scalar
from gradlaw.store import paths
from gradlaw.store.files import TEMPORARY, content_of, open_files
from gradlaw.store.named import numbered
from gradlaw.store.parquet import SCHEMA_VERSION
from gradlaw.store.plans import (
    PlannedTrial,
    PlanRecord,
    close_plan,
    is_closed,
    read_plan,
    read_plans,
    read_rounds,
    write_plan,
    write_round,
)
from gradlaw.store.registry import registered_columns, registered_tables
from gradlaw.store.resolve import Cache, Resolved, resolve
from gradlaw.store.winners import Needed, TrialIndex
from gradlaw.store.writer import PackWriter
from gradlaw.table import Column, Table
from gradlaw.text import redacted

Document = dict[str, Any]
"""One numbered JSON document of a lock or of the verdicts."""


class Store:
    """One store, opened. Many processes may open it and many threads ask it; hand its ``path`` to others.

    Attributes:
        path: The folder, or the bucket's address.
        files: Its file operations.
    """

    def __init__(self, path: str | Path) -> None:
        self.files = open_files(path)
        self.path = self.files.path
        self._cache = Cache()
        self._check_version()

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Opens a store that is there.

        Raises:
            StoreError: If there is none, it cannot be read, or it has another schema version.
        """
        return cls(path)

    @classmethod
    def create(cls, path: str | Path) -> Store:
        """Creates a store in a new or empty place, or opens the one that is there.

        Raises:
            StoreError: If the place holds something else, cannot be written, or holds a store of
                another schema version.
        """
        files = open_files(path)
        names = files.names()
        if paths.STORE not in names:
            taken = [name for name in names if name != TEMPORARY]
            if taken:
                msg = f"{files.path} is not a store and not empty (it holds {taken[0]}); choose another place"
                raise StoreError(msg)
            files.prepare()
            document = {"kind": "gradlaw store", "schema_version": SCHEMA_VERSION}
            files.create(paths.STORE, json.dumps(document).encode())
        return cls(path)

    @classmethod
    def find(cls, path: str | Path) -> Store | None:
        """Opens a store; None if there is nothing at all at its place. Raises as :meth:`open`."""
        return cls(path) if open_files(path).names() else None

    def _check_version(self) -> None:
        try:
            document = json.loads(self.files.read(paths.STORE))
            version = document["schema_version"]
        except FileNotFoundError as error:
            msg = f"{self.path} is not a store: it has no {paths.STORE}; name another place, or run a study"
            raise StoreError(msg) from error
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{self.files.location(paths.STORE)} is damaged ({error!r}); restore it from a copy"
            raise StoreError(msg) from error
        if version != SCHEMA_VERSION:
            msg = (
                f"{self.path} has schema version {version}, this gradlaw reads {SCHEMA_VERSION}; "
                "use the gradlaw that wrote it, or another store"
            )
            raise StoreError(msg)

    def writer(
        self,
        study: str,
        pack_id: str,
        *,
        hyperparameters: Mapping[str, Scalar] | None = None,
        tables: Sequence[Table] = (),
        first_attempt: int = 0,
    ) -> PackWriter:
        """Reserves the next attempt at a pack and opens its writer.

        Args:
            study: Name of the study.
            pack_id: Of the pack.
            hyperparameters: Those of any member: a clash with the columns of ``trials`` is then found
                before the pack runs, not at its commit.
            tables: What the pack will fill, for the same reason. Others may follow.
            first_attempt: The smallest number the attempt may have.

        Raises:
            SchemaError: If the store holds a table or column of that name with other types.
            StoreError: If the store cannot be written.
        """
        return PackWriter(
            self.files,
            study,
            pack_id,
            hyperparameters=hyperparameters,
            tables=tables,
            first_attempt=first_attempt,
        )

    def resolve(self, *, verify: bool = True) -> Resolved:
        """The files that count now; ``verify``: compare every file's digest (once a file)."""
        return resolve(self.files, self._cache, verify=verify)

    def index(self, needed: Needed | None = None) -> TrialIndex:
        """State, attempts and probes of every trial; ``needed``: the probes wanted, by trial_id."""
        return TrialIndex(self.resolve().index, needed)

    def tables(self) -> dict[str, Table]:
        """The study tables registered in this store, by name."""
        return registered_tables(self.files)

    def columns(self, table: str) -> tuple[Column, ...]:
        """The columns that ``trials`` (hyperparameters) or ``metrics`` has grown so far."""
        return registered_columns(self.files, table)

    def write_plan(self, plan: PlanRecord, trials: Iterable[PlannedTrial]) -> bool:
        """Writes a plan; returns False, changing nothing, if there is one with this plan_id."""
        return write_plan(self.files, plan, trials)

    def write_round(self, plan_id: str, number: int, trials: Iterable[PlannedTrial]) -> bool:
        """Writes a round of a plan; returns False, changing nothing, if there is one of this number."""
        return write_round(self.files, plan_id, number, trials)

    def rounds(self, plan_id: str) -> list[pa.Table]:
        """The rounds of a plan so far, in order; their rows as of :meth:`plan`."""
        return read_rounds(self.files, plan_id)

    def is_closed(self, plan_id: str) -> bool:
        """Whether it is noted that no round of a plan follows."""
        return is_closed(self.files, plan_id)

    def close_plan(self, plan_id: str) -> None:
        """Notes that no round of a plan follows."""
        close_plan(self.files, plan_id)

    def plans(self) -> tuple[PlanRecord, ...]:
        """Every plan that can be read, oldest first."""
        return read_plans(self.files)[0]

    def plan(self, plan_id: str) -> tuple[PlanRecord, pa.Table]:
        """One plan and its rows so far, of :class:`gradlaw.store.plans.PlannedTrial`, in order."""
        return read_plan(self.files, plan_id)

    def append_lock(self, study: str, document: Mapping[str, Any]) -> int:
        """Appends a document to a study's lock; returns its number, from 1. Nothing is ever replaced."""
        return self._append(paths.LOCKS, study, document)

    def append_lock_after(self, study: str, document: Mapping[str, Any], num_held: int) -> bool:
        """Appends a document to a study's lock if it holds so many and no more; whether it did."""
        return self._create(paths.LOCKS, study, document, num_held + 1)

    def studies_with(self, folder: str) -> tuple[str, ...]:
        """Names of the studies that have documents in ``locks`` or ``verdicts``."""
        named = map(paths.parse_document, self.files.scan(folder))
        return tuple(sorted({study for study in named if study is not None}))

    def locks(self, study: str) -> tuple[Document, ...]:
        """The documents of a study's lock in order, each with its ``number``."""
        return self._documents(paths.LOCKS, study)

    def append_verdict(self, study: str, document: Mapping[str, Any]) -> int:
        """Appends a verdict as it was given; returns its number, from 1."""
        return self._append(paths.VERDICTS, study, document)

    def verdicts(self, study: str) -> tuple[Document, ...]:
        """The verdicts given on a study in order, each with its ``number``."""
        return self._documents(paths.VERDICTS, study)

    def _append(self, folder: str, study: str, document: Mapping[str, Any]) -> int:
        held = len(self.files.scan(f"{folder}/{paths.check('study', study)}"))
        return next(number for number in count(held + 1) if self._create(folder, study, document, number))

    def _create(self, folder: str, study: str, document: Mapping[str, Any], number: int) -> bool:
        paths.check("study", study)
        text = json.dumps(redacted({**document, "number": number}), sort_keys=True, indent=1)
        return self.files.create(paths.document(folder, study, number), text.encode())

    def _documents(self, folder: str, study: str) -> tuple[Document, ...]:
        found = []
        for key, content in self.files.read_each(sorted(self.files.scan(f"{folder}/{study}"))):
            data = content_of(content)
            try:
                found.append(numbered(json.loads(data)))
            except (ValueError, RecursionError) as error:
                msg = f"{self.files.location(key)} is damaged ({error}); restore it from a copy of the store"
                raise StoreError(msg) from error
        return tuple(found)
