"""What becomes visible at once, and the rows of ``trials`` that say which of it counts.

These rows are kept of all units in one table: a table for each commit would take ten times the memory of
its rows, which a driver of a million trials would feel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.store.parquet import DataFile
from gradlaw.store.paths import PackKey
from gradlaw.store.winners import INDEX_SCHEMA


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Unit:
    """Files that became visible at once.

    Attributes:
        study: Name of the study.
        packs: The commits it stands for.
        files: Its files, the one of ``trials`` first.
        num_rows: Rows of ``trials``.
    """

    study: str
    packs: frozenset[PackKey]
    files: tuple[DataFile, ...]
    num_rows: int

    @property
    def key(self) -> str:
        """Key of its file of ``trials``."""
        return self.files[0].key


class _Place(NamedTuple):
    table: pa.Table
    start: int
    stop: int


class IndexRows:
    """The columns ``INDEX_COLUMNS`` of many units, by the key of each."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def add(self, rows: Mapping[str, pa.Table]) -> None:
        """Takes the rows of units that are new."""
        table = _one_table(rows.values())
        ends = [0, *accumulate(part.num_rows for part in rows.values())]
        for key, start, stop in zip(rows, ends, ends[1:], strict=False):
            self._places[key] = _Place(table, start, stop)

    def gather(self, keys: Sequence[str]) -> pa.Table:
        """The rows of units in this order, as one table; from now on they are held so, and no others."""
        places = [self._places[key] for key in keys]
        runs: list[_Place] = []
        for place in places:
            if runs and runs[-1].table is place.table and runs[-1].stop == place.start:
                runs[-1] = runs[-1]._replace(stop=place.stop)
            else:
                runs.append(place)
        table = _one_table(run.table.slice(run.start, run.stop - run.start) for run in runs)
        ends = [0, *accumulate(place.stop - place.start for place in places)]
        found = zip(keys, ends, ends[1:], strict=False)
        self._places = {key: _Place(table, start, stop) for key, start, stop in found}
        pa.default_memory_pool().release_unused()  # of a million rows a hundred MB more than they take
        return table


def _one_table(parts: Iterable[pa.Table]) -> pa.Table:
    """Tables as one, in one piece."""
    tables = list(parts)
    if len(tables) == 1 and tables[0].column(0).num_chunks == 1:
        return tables[0]
    return pa.concat_tables([INDEX_SCHEMA.empty_table(), *tables]).unify_dictionaries().combine_chunks()
