"""Where the engine's rows go. The store's writer is one recorder; a list in memory is another."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradlaw.probe import Columns
from gradlaw.table import Table


class Recorder(Protocol):
    """Takes rows of declared tables as they come."""

    def append(self, table: Table, columns: Columns) -> None:
        """Adds rows: the table's columns and ``trial_id``, of one length."""
        ...

    def flush(self) -> None:
        """Makes what was appended visible to others who look while the pack runs."""
        ...


class MemoryRecorder:
    """Keeps rows in memory, for tests and for looking at a trial without a store."""

    def __init__(self) -> None:
        self.num_flushes = 0
        self._parts: dict[str, list[dict[str, NDArray[Any]]]] = {}

    def append(self, table: Table, columns: Columns) -> None:
        part = {name: np.asarray(values) for name, values in columns.items()}
        self._parts.setdefault(table.name, []).append(part)

    def flush(self) -> None:
        self.num_flushes += 1

    def rows(self, table: str, trial_id: str | None = None) -> dict[str, NDArray[Any]]:
        """All rows of a table by column, of one trial if given, in the order they came."""
        parts = self._parts.get(table, [])
        names = parts[0].keys() if parts else ()
        joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
        if trial_id is None or not joined:
            return joined
        mine = joined["trial_id"] == trial_id
        return {name: values[mine] for name, values in joined.items()}
