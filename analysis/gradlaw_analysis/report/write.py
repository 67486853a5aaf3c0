"""Reports to files: the suffix says the format, and the file appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from gradlaw.errors import UnknownNameError
from gradlaw.text import redacted
from gradlaw_analysis.json_values import plain
from gradlaw_analysis.report.content import ReportContent
from gradlaw_analysis.report.html import to_html
from gradlaw_analysis.report.markdown import to_markdown
from gradlaw_analysis.whole_file import whole_file


def to_json(report: ReportContent) -> str:
    """The whole report as JSON, without drawings; times as ISO 8601, UTC."""
    document = {
        "store": report.store,
        "written_at": report.written_at.isoformat(),
        "git_commit": report.git_commit,
        "studies": [
            {
                "study": study.name,
                "title": study.title,
                "verdicts": [verdict.document() for verdict in study.verdicts],
                "figures": [
                    {"name": figure.name, "caption": figure.caption, "claims": figure.claims,
                     "error": figure.error, "sql": figure.sql}
                    for figure in study.figures
                ],
                "claim_changes": [asdict(change) for change in study.changes],
                "num_planned": study.num_planned,
                "num_trials": study.num_ended,
                "states": dict(study.states),
                "provenance": asdict(study.provenance),
            }
            for study in report.studies
        ],
        "set_aside": [{"path": path, "reason": reason} for path, reason in report.set_aside],
    }  # fmt: skip
    return json.dumps(redacted(plain(document)), indent=2, allow_nan=False) + "\n"


FORMATS: dict[str, Callable[[ReportContent], str]] = {
    ".html": to_html,
    ".md": to_markdown,
    ".json": to_json,
}
"""How to write each kind of file."""


def format_of(out: Path) -> Callable[[ReportContent], str]:
    """How to write ``out``; raises UnknownNameError for a suffix that is not known."""
    if out.suffix not in FORMATS:
        raise UnknownNameError(out.suffix, kind="suffix of a report", known=FORMATS)
    return FORMATS[out.suffix]


def write_content(report: ReportContent, out: Path) -> None:
    """Writes a report.

    Raises:
        UnknownNameError: The suffix of ``out`` is not known.
        StoreError: ``out`` cannot be written.
    """
    text = format_of(out)(report)
    with whole_file(out) as file:
        file.write(text.encode())
