"""Tables of the store, declared: columns with types and units. A mismatch raises; nothing is coerced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

ColumnType = Literal["bool", "int32", "int64", "float32", "float64", "string", "binary", "timestamp"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: Lower-case words joined by underscores; unit suffixes where there is a unit (``wall_s``).
        type: Type on disk. ``timestamp`` is UTC in microseconds, without a zone; ``binary`` is bytes, BLOB
            in SQL.
        unit: Unit, or "" for a pure number.
        doc: One line on what it holds.
        nullable: Whether a value may be missing.
    """

    name: str
    type: ColumnType
    unit: str = ""
    doc: str = ""
    nullable: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A declared table. The store adds ``trial_id``, ``pack_id`` and ``attempt`` to every row.

    Attributes:
        name: Name of the table, its folder in the store and its view in SQL.
        grain: What one row is, in a sentence.
        columns: The declared columns, without the three that the store adds.
        version: Raised when the columns change; a store holds one version, a new one needs a new store.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    version: int = 1


class Coded(Sequence[str]):
    """A column of text in which few values repeat, as a pack's trial ids do: ``values[codes[row]]``.

    It reads as the sequence of its rows; the store takes it without looking at every row.

    Attributes:
        codes: Index into ``values``, of any integer type, shape [rows].
        values: The distinct values.
    """

    def __init__(self, codes: NDArray[Any], values: Sequence[str]) -> None:
        self.codes, self.values = codes, values

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> Coded: ...

    def __getitem__(self, row: int | slice) -> str | Coded:
        return Coded(self.codes[row], self.values) if isinstance(row, slice) else self.values[self.codes[row]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        del copy
        rows: NDArray[Any] = np.asarray(self.values, dtype=dtype or object)[self.codes]
        return rows
