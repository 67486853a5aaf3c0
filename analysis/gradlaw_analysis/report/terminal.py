"""Verdicts as text: a line a claim and what it says, in colour on a terminal; or JSON."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import IO

from rich.console import Console
from rich.text import Text

from gradlaw.errors import UnknownNameError
from gradlaw.plan_kind import PlanKind
from gradlaw.text import printable
from gradlaw_analysis.figures.numbers import p_text
from gradlaw_analysis.report.words import (
    STYLES,
    data_first,
    estimate_text,
    interval_text,
    level_text,
    target_text,
)
from gradlaw_analysis.verdict import Verdict

WIDTH = 100
FORMATS = ("table", "json")
_HEADINGS = ("verdict", "claim", "estimate", "interval", "claimed", "seeds", "p adj.")
_NUMERIC = frozenset({2, 5, 6})
_CLAIM = 1


def write_verdicts(
    verdicts: Sequence[Verdict], file_format: str = "table", stream: IO[str] | None = None
) -> None:
    """Writes verdicts for people, or for programs.

    Args:
        verdicts: Of one or more studies.
        file_format: "table" or "json" (a list of objects).
        stream: None: standard output. There are colours on a terminal only.

    Raises:
        UnknownNameError: For an unknown format.
    """
    stream = stream or sys.stdout
    if file_format not in FORMATS:
        raise UnknownNameError(file_format, kind="format", known=FORMATS)
    if file_format == "json":
        json.dump([verdict.document() for verdict in verdicts], stream, indent=2, allow_nan=False)
        stream.write("\n")
        return
    for line in _lines(verdicts):
        if stream.isatty():
            Console(file=stream, highlight=False).print(line, soft_wrap=True)
        else:
            stream.write(line.plain.rstrip() + "\n")


def _lines(verdicts: Sequence[Verdict]) -> Iterable[Text]:
    if not verdicts:
        yield Text(
            "no claim has a plan in this store: run a study that declares one (sweeps declare none), or name "
            "the folder of one that is not installed"
        )
    for number, (_, group) in enumerate(groupby(verdicts, lambda verdict: (verdict.study, verdict.plan))):
        if number:
            yield Text()
        yield from _study_lines(list(group))


def _study_lines(verdicts: Sequence[Verdict]) -> Iterable[Text]:
    first, *_ = verdicts = data_first(verdicts)
    heading = f"{first.study}, plan {first.plan}: {first.num_trials:,} of {first.num_planned:,} trials"
    yield Text(_line(heading), style="bold")
    notes = [_notes(verdict) for verdict in verdicts]
    shared = [note for note in notes[0] if len(notes) > 1 and all(note in other for other in notes)]
    for note in shared:  # what holds of every claim is said once
        yield from _wrapped(note, "yellow", indent=2)
    cells = [_cells(verdict) for verdict in verdicts]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *cells, strict=True)]
    # Names too long for one line: they get one of their own, so that nothing is cut.
    alone = sum(widths) + 2 * len(widths) > WIDTH
    if alone:
        widths[_CLAIM] = 0
    yield _row(("verdict", "" if alone else "claim", *_HEADINGS[2:]), widths, "dim")
    for verdict, row, own in zip(verdicts, cells, notes, strict=True):
        if alone:
            yield Text(row[_CLAIM], style="bold")
            row = (row[0], "", *row[2:])
        yield _row(row, widths, STYLES[verdict.verdict])
        yield from _wrapped(verdict.claim.statement, "dim")
        for note in own:
            if note not in shared:
                yield from _wrapped(note, "yellow")


def _cells(verdict: Verdict) -> tuple[str, ...]:
    interval = interval_text(verdict)
    return (
        f"{verdict.verdict.value}{'*' if verdict.exploratory else ''}",
        _line(verdict.claim.name),
        estimate_text(verdict),
        f"{interval} {level_text(verdict)}" if interval else "-",
        target_text(verdict.claim.test),
        str(verdict.num_seeds),
        p_text(verdict.p_adjusted),
    )


def _row(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    line = Text()
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        padded = cell.rjust(width) if index in _NUMERIC else cell.ljust(width)
        line.append(padded, style if index == 0 or style == "dim" else "")
        line.append("  " if width and index < len(cells) - 1 else "")
    return line


def _notes(verdict: Verdict) -> list[str]:
    notes = []
    if verdict.reason:
        notes.append(f"{'* exploratory: ' if verdict.exploratory else ''}{verdict.reason}")
    if not verdict.declared_before_data and verdict.kind != PlanKind.SMOKE:
        notes.append("not declared before data: no lock older than it holds this claim")
    return notes


def _wrapped(text: str, style: str, indent: int = 4) -> Iterable[Text]:
    blank = " " * indent
    for line in textwrap.wrap(_line(text), WIDTH, initial_indent=blank, subsequent_indent=blank):
        yield Text(line, style=style)


def _line(text: str) -> str:
    """On one line, and without what could move a terminal's cursor."""
    return printable(" ".join(text.split()))
