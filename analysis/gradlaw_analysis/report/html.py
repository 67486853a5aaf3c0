"""A report as one HTML file: no script, no address, nothing to fetch."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gradlaw.claim import Outcome
from gradlaw_analysis.figures.interval import interval_picture, interval_svg
from gradlaw_analysis.figures.numbers import number, p_text
from gradlaw_analysis.figures.zones import zones
from gradlaw_analysis.report import words
from gradlaw_analysis.report.content import ReportContent
from gradlaw_analysis.verdict import Verdict

_TEMPLATES = Path(__file__).parent / "templates"
_SMALL_WIDTH = 216
_LEGEND = Markup(
    '<p class="legend">'
    '<span><span class="swatch" style="background: var(--holds)"></span>as claimed</span>'
    '<span><span class="swatch" style="background: var(--between)"></span>missed within the margin</span>'
    "<span>dot: estimate; line: interval; dashes: target; with a margin, three margins to either side</span>"
    "</p>"
)


def to_html(report: ReportContent) -> str:
    """The whole report; every text in it is escaped."""
    outcomes = Counter(verdict.verdict for study in report.studies for verdict in study.verdicts)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            css=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
            tally=[(outcome, outcomes[outcome]) for outcome in Outcome if outcome in outcomes],
            legend=_LEGEND,
            version=version("gradlaw"),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "anchor": anchor,
        "completeness": words.completeness_text,
        "control_statement": _control_statement,
        "duration": words.duration,
        "estimate": words.estimate_text,
        "exclusions": words.exclusions_text,
        "grouped": words.grouped,
        "interval": words.interval_text,
        "level": words.level_text,
        "moment": words.moment,
        "number": number,
        "p": p_text,
        "p_values": words.p_values,
        "picture": _picture,
        "quantity": words.quantity_text,
        "slug": lambda outcome: outcome.value.replace(" ", "-"),
        "small_picture": _small_picture,
        "target": words.target_text,
    }
    return environment


def _picture(verdict: Verdict) -> Markup:
    picture = interval_picture(zones(verdict.claim.test), verdict.estimate, verdict.interval)
    return Markup(interval_svg(picture, label=_label(verdict)))  # noqa: S704 - numbers alone


def _small_picture(verdict: Verdict) -> Markup:
    if verdict.estimate is None:
        return Markup("")
    picture = interval_picture(zones(verdict.claim.test), verdict.estimate, verdict.interval, standard=True)
    svg = interval_svg(picture, label=_label(verdict), width=_SMALL_WIDTH, axis=False)
    return Markup(svg)  # noqa: S704 - numbers alone


def _label(verdict: Verdict) -> str:
    return f"estimate {words.estimate_text(verdict)}, interval {words.interval_text(verdict) or 'none'}"


def _control_statement(verdict: Verdict, name: str) -> str:
    return next(control.statement for control in verdict.claim.controls if control.name == name)


def _finalize(value: object) -> object:
    """Texts are cleaned; what is marked up already, and numbers, stay as they are."""
    return words.cleaned(value) if type(value) is str else value


def anchor(text: str) -> str:
    """A name as an id: letters, digits, dashes.

    >>> anchor("sqrt_b-slope of <b>")
    'sqrt_b-slope-of-b-'
    """
    return re.sub(r"[^A-Za-z0-9_]+", "-", text)
