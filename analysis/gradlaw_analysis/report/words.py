"""What a report says in words and numbers, the same in every format."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from gradlaw.claim import AllBelow, Distribution, Outcome, Statistic, Survival, Trend
from gradlaw.text import redact
from gradlaw_analysis.declared import ClaimChange
from gradlaw_analysis.figures.numbers import decimals, number, p_text
from gradlaw_analysis.verdict import Verdict

STYLES = {
    Outcome.SUPPORTED: "bold green",
    Outcome.REFUTED: "bold red",
    Outcome.INCONCLUSIVE: "bold yellow",
    Outcome.OUTSIDE_REGIME: "bold magenta",
    Outcome.INSTRUMENT_BROKEN: "bold magenta",
    Outcome.NO_DATA: "dim",
}
"""Style of each outcome on a terminal."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def data_first(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Those without data last: a preset may hold the trials of a few of a study's claims."""
    return sorted(verdicts, key=lambda verdict: verdict.verdict is Outcome.NO_DATA)


def estimate_text(verdict: Verdict) -> str:
    """The estimate, with the digits its interval allows."""
    return number(verdict.estimate, decimals(verdict.ci_low, verdict.ci_high))


def interval_text(verdict: Verdict) -> str:
    """The interval in brackets; "" without one."""
    if verdict.interval is None:
        return ""
    places = decimals(*verdict.interval)
    return f"[{', '.join(number(end, places) for end in verdict.interval)}]"


def level_text(verdict: Verdict) -> str:
    """The interval's level, as "95%".

    Levels of Holm's procedure are rarely round: three digits say enough.
    """
    return "" if verdict.ci_level is None else f"{100 * verdict.ci_level:.3g}%"


def target_text(test: Statistic) -> str:
    """What is claimed of the effect.

    >>> target_text(AllBelow(bound=1e-9))
    'at most 1e-09'
    """
    if isinstance(test, AllBelow):
        return f"at most {number(test.bound)}"
    if isinstance(test, Distribution):
        return f"within {number(test.margin)}"
    if isinstance(test, Trend):
        return "rising" if test.direction == "greater" else "falling"
    if isinstance(test, Survival):
        return "longer" if test.direction == "greater" else "shorter"
    if test.direction is None:
        return f"{number(test.target)} ± {number(test.margin)}"
    return f"{'>' if test.direction == 'greater' else '<'} {number(test.target)}"


def quantity_text(test: Statistic) -> str:
    """What the estimate is."""
    if isinstance(test, Trend):
        rank = (
            "Spearman's rank correlation with the level" if test.blocked else "Kendall's tau with the level"
        )
        return f"{rank}, {target_text(test)} claimed"
    if isinstance(test, Distribution):
        return f"total variation distance from the published shares, {target_text(test)} claimed"
    if isinstance(test, AllBelow):
        return f"largest absolute value, {target_text(test)} claimed"
    if isinstance(test, Survival):
        return f"difference of mean times up to {number(test.horizon)}, {' - '.join(test.arms)}"
    kinds = {"Mean": "mean over seeds", "Slope": "slope, mean over seeds", "Proportion": "share"}
    arms = getattr(test, "arms", None)
    kind = f"mean of {' - '.join(arms)} over seeds" if arms else kinds[type(test).__name__]
    num_parts = getattr(test, "num_parts", 1)
    if num_parts > 1:
        kind = f"{kind}, in the worst of {num_parts} parts"
    text = f"{kind}, claimed {target_text(test)}"
    if test.direction is not None and test.margin:
        text += f", refuted {number(test.margin)} beyond it"
    return text


def p_values(verdict: Verdict) -> tuple[str, str]:
    """The p of both sides, and what they are of; of what is refuted the complement's alone."""
    complement = p_text(verdict.p_complement)
    if verdict.verdict is Outcome.REFUTED:
        return "p of the complement", complement
    return "p, and p of the complement", f"{p_text(verdict.p_value)}, {complement}"


def grouped(changes: Iterable[ClaimChange]) -> list[tuple[ClaimChange, tuple[str, ...]]]:
    """Changes of one kind seen at one time, by the first of them, with the claims that they were made to."""
    groups: dict[ClaimChange, list[ClaimChange]] = {}
    for change in changes:
        groups.setdefault(replace(change, claim=""), []).append(change)
    return [(group[0], tuple(change.claim for change in group)) for group in groups.values()]


def exclusions_text(verdict: Verdict) -> str:
    """Seeds used and left out, in words."""
    text = f"{verdict.num_seeds} seeds"
    return f"{text}, {verdict.num_excluded} excluded" if verdict.num_excluded else text


def completeness_text(verdict: Verdict) -> str:
    """How much of the plan there is, in words.

    States other than done are named, because they are data too.
    """
    named = ", ".join(f"{count:,} {state}" for state, count in verdict.states.items() if state != "done")
    text = f"{verdict.num_trials:,} of {verdict.num_planned:,} planned trials"
    return f"{text} ({named})" if named else text


def cleaned(text: str) -> str:
    r"""Text without secrets, and without control characters, which HTML does not allow.

    >>> cleaned("a\x1b[31m b")
    'a[31m b'
    """
    return _CONTROL.sub("", redact(text))


def moment(value: datetime) -> str:
    """A time in UTC, to the minute.

    >>> moment(datetime(2026, 1, 2, 3, 4, 5))
    '2026-01-02 03:04 UTC'
    """
    return f"{value:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """Seconds as text.

    >>> duration(0.5), duration(75.0), duration(7300.0)
    ('0.5 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
