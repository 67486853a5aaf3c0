"""Figures of a study, declared: what is queried and what draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradlaw.claim import Scalar


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a study's report: a query, and a function that draws its rows and nothing else.

    Attributes:
        name: Lower-case words joined by underscores.
        caption: What is seen, with units, in one or two sentences.
        sql: File, in the study's folder, that yields the rows; it sees the same views as a claim.
        parameters: Bound parameters of the SQL.
        draw: From the rows, a pandas DataFrame, to a matplotlib Figure.
        claims: Names of the claims it is shown with; empty: shown with the study.
    """

    name: str
    caption: str
    sql: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    draw: Callable[[Any], Any]
    claims: tuple[str, ...] = ()
