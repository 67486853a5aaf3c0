"""What a report says, gathered before anything is written in any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from gradlaw import provenance
from gradlaw.errors import ClaimError, UnknownNameError
from gradlaw.figure import Figure
from gradlaw.studies import StudyFolder
from gradlaw_analysis.declared import ClaimChange
from gradlaw_analysis.figures.render import Drawing, draw
from gradlaw_analysis.plan_data import PlanData
from gradlaw_analysis.report.words import data_first
from gradlaw_analysis.sample_sql import bind, sample_sql
from gradlaw_analysis.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class FigureContent:
    """One figure: its drawing, or why there is none.

    Attributes:
        name, caption: As declared.
        claims: Claims it is shown with; empty: shown with the study.
        drawing: The image; None if it failed.
        error: Why it failed; "" if it did not.
        empty: Whether there are no rows to draw.
        sql: The statement behind its rows.
    """

    name: str
    caption: str
    claims: tuple[str, ...]
    drawing: Drawing | None
    error: str
    empty: bool
    sql: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a plan's numbers come from.

    Attributes:
        plan_id, preset, kind, git_commit: Of the plan.
        overrides: What was set by hand.
        created_at: When the plan was made, UTC.
        seeds: Seeds of the plan, as text.
        started_at, ended_at: First start and last end of its trials, UTC; None without trials.
        trial_s: Seconds of all its trials together.
        facts: Of its trials: for each of host, device, mode and so on, every value with its number of trials.
    """

    plan_id: str
    preset: str
    kind: str
    git_commit: str
    overrides: Mapping[str, Any]
    created_at: datetime
    seeds: str
    started_at: datetime | None
    ended_at: datetime | None
    trial_s: float
    facts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class StudyContent:
    """All that a report says of one study.

    Attributes:
        name: Of the study.
        title: First heading of its README, or its name.
        verdicts: In the order of the claims, those without data last.
        figures: In the order declared.
        changes: Claims that differ from what was locked.
        num_planned, num_ended: Trials of the plan, and those that have ended.
        states: Number of the plan's trials by state.
        provenance: Of the plan's numbers.
    """

    name: str
    title: str
    verdicts: tuple[Verdict, ...]
    figures: tuple[FigureContent, ...]
    changes: tuple[ClaimChange, ...]
    num_planned: int
    num_ended: int
    states: Mapping[str, int]
    provenance: Provenance

    def figures_of(self, claim: str | None) -> list[FigureContent]:
        """The figures shown with a claim; None: with the study itself."""
        if claim is None:
            return [figure for figure in self.figures if not figure.claims]
        return [figure for figure in self.figures if claim in figure.claims]

    def is_drawn_with(self, figure: FigureContent, claim: str) -> bool:
        """Whether this is the first claim that the figure belongs to; with the others it is named."""
        return claim == next(item.claim.name for item in self.verdicts if item.claim.name in figure.claims)


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """All that a report says.

    Attributes:
        store: Last part of the store's path.
        written_at: UTC.
        git_commit: Of the code that wrote it.
        studies: In the order asked for.
        set_aside: Files of the store that could not be read, each with the reason.
    """

    store: str
    written_at: datetime
    git_commit: str
    studies: tuple[StudyContent, ...]
    set_aside: tuple[tuple[str, str], ...]


def report_content(
    store: str, studies: Sequence[StudyContent], set_aside: Sequence[tuple[str, str]]
) -> ReportContent:
    """Puts studies together."""
    return ReportContent(
        store=store.rpartition("/")[2] if "://" in store else Path(store).resolve().name,
        written_at=provenance.utc_now(),
        git_commit=provenance.git_commit(),
        studies=tuple(studies),
        set_aside=tuple(set_aside),
    )


def study_content(
    folder: StudyFolder, plan: PlanData, verdicts: Sequence[Verdict], changes: Sequence[ClaimChange]
) -> StudyContent:
    """Gathers one study: draws its figures and sums up where its numbers come from."""
    return StudyContent(
        name=folder.name,
        title=_title(folder),
        verdicts=tuple(data_first(verdicts)),
        figures=tuple(_figure(folder, figure, plan) for figure in folder.figures),
        changes=tuple(changes),
        num_planned=plan.num_planned,
        num_ended=plan.num_ended,
        states=plan.states,
        provenance=_provenance(plan),
    )


def _title(folder: StudyFolder) -> str:
    readme = folder.path / "README.md"
    if readme.is_file():
        for line in readme.read_text(encoding="utf-8").splitlines():
            if line.startswith("# "):
                return line[2:].strip()
    return folder.name


def _figure(folder: StudyFolder, figure: Figure, plan: PlanData) -> FigureContent:
    drawing, error, empty, sql = None, "", False, ""
    known = [claim.name for claim in folder.claims]
    try:
        for name in sorted(set(figure.claims) - set(known)):
            raise UnknownNameError(name, kind=f"claim of study {folder.name}", known=known)
        sql = sample_sql(plan.scope, bind(folder.sql(figure.sql), figure.parameters, figure.sql))
        rows = plan.rows(sql, figure.sql)
        empty = rows.empty
        drawing = None if empty else draw(figure.draw, rows)
    except (ClaimError, UnknownNameError) as fault:
        error = str(fault)
    except Exception as fault:  # noqa: BLE001 - a study's own code: one figure never costs the report
        error = f"{type(fault).__name__}: {fault}"
    return FigureContent(
        name=figure.name,
        caption=figure.caption,
        claims=tuple(name for name in figure.claims if name in known),
        drawing=drawing,
        error=error,
        empty=empty,
        sql=sql,
    )


_FACTS = ("host", "device", "mode", "threads", "pack_width", "dtype", "git_commit", "versions")
_TRIALS = """
-- one row a trial of the plan
SELECT * FROM trials
"""


def _provenance(plan: PlanData) -> Provenance:
    rows = plan.rows(sample_sql(plan.scope, _TRIALS), "trials")
    facts = {
        name: {str(value): int(number) for value, number in rows[name].value_counts().items()}
        for name in _FACTS
        if name in rows.columns and len(rows)
    }
    record = plan.record
    return Provenance(
        plan_id=record.plan_id,
        preset=record.preset,
        kind=record.kind,
        git_commit=record.git_commit,
        overrides=record.overrides,
        created_at=record.created_at,
        seeds=ranges(sorted(set(plan.trials["seed"].astype(int)))),
        started_at=rows["started_at"].min().to_pydatetime() if len(rows) else None,
        ended_at=_ended_at(rows) if len(rows) else None,
        trial_s=float(rows["wall_s"].sum()),
        facts=facts,
    )


def _ended_at(rows: pd.DataFrame) -> datetime:
    """The last end of a pack: a trial's ``wall_s`` is its share of its pack's time."""
    packs = rows.groupby(["study", "pack_id", "attempt"]).agg({"started_at": "min", "wall_s": "sum"})
    ends = packs["started_at"] + pd.to_timedelta(packs["wall_s"], unit="s")
    latest: datetime = ends.max().floor("us").to_pydatetime()
    return latest


def ranges(numbers: Sequence[int]) -> str:
    """Sorted integers as text, runs of them joined.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for value in numbers:
        if runs and value == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], value]
        else:
            runs.append([value])
    return ", ".join("-".join(map(str, run)) for run in runs)
