"""Tables of the store, declared: columns with types and units. A mismatch raises; nothing is coerced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["bool", "int32", "int64", "float32", "float64", "string", "timestamp"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: Lower-case words joined by underscores; unit suffixes where there is a unit (``wall_s``).
        type: Type on disk. ``timestamp`` is UTC in microseconds, without a zone.
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
        version: Raised when the columns change.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    version: int = 1
