"""A report as Markdown: the same content without pictures, for a pull request or a page of notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gradlaw_analysis.figures.numbers import number, p_text
from gradlaw_analysis.report import words
from gradlaw_analysis.report.content import FigureContent, ReportContent, StudyContent
from gradlaw_analysis.verdict import Verdict

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def to_markdown(report: ReportContent) -> str:
    """The whole report; what would be markup in a name or a statement is escaped."""
    lines = ["# Verdicts", "", f"Store {code(report.store)}, written {words.moment(report.written_at)}.", ""]
    for study in report.studies:
        lines += _study(study)
    if report.set_aside:
        lines += ["## Files set aside", ""]
        lines += _table(("File", "Reason"), [(code(path), text(reason)) for path, reason in report.set_aside])
    return "\n".join(lines).rstrip() + "\n"


def text(value: object) -> str:
    r"""Plain text on one line, with Markdown's signs escaped.

    >>> print(text("a | b_c <script>"))
    a \| b\_c \<script\>
    """
    return _SPECIAL.sub(r"\\\1", " ".join(words.cleaned(str(value)).split()))


def code(value: str) -> str:
    """Text in code marks, inside a table too."""
    if not value:
        return ""
    line = " ".join(words.cleaned(value).split())
    return f"`{line.replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _study(study: StudyContent) -> list[str]:
    plan = study.provenance
    lines = [
        f"## {text(study.title)}",
        "",
        f"Study {code(study.name)}, plan {code(plan.plan_id)} ({plan.kind}), "
        f"{study.num_ended:,} of {study.num_planned:,} trials.",
        "",
    ]
    if study.verdicts:
        header = ("Verdict", "Claim", "Estimate", "Interval", "Claimed", "Seeds", "p adj.")
        lines += _table(header, [_row(verdict) for verdict in study.verdicts])
    else:
        lines += ["It declares no claims, so there is nothing to decide.", ""]
    if study.changes:
        lines += ["### Claims changed since they were locked", ""]
        rows = [
            (", ".join(map(code, claims)), text(f"{change.kind} {', '.join(change.fields)}".strip()),
             code(change.seen_in), "yes" if change.after_data else "no")
            for change, claims in words.grouped(study.changes)
        ]  # fmt: skip
        lines += _table(("Claims", "Change", "Seen in", "Data by then"), rows)
    for figure in study.figures_of(None):
        lines += _figure(figure)
    for verdict in study.verdicts:
        lines += _claim(study, verdict)
    return lines + _provenance(study)


def _row(verdict: Verdict) -> tuple[str, ...]:
    flags = ["exploratory"] * verdict.exploratory + ["not locked"] * (not verdict.declared_before_data)
    name = verdict.verdict.value + (f" ({', '.join(flags)})" if flags else "")
    return (
        name,
        code(verdict.claim.name),
        words.estimate_text(verdict),
        text(f"{words.interval_text(verdict)} {words.level_text(verdict)}".strip()),
        text(words.target_text(verdict.claim.test)),
        str(verdict.num_seeds),
        text(p_text(verdict.p_adjusted)),
    )


def _claim(study: StudyContent, verdict: Verdict) -> list[str]:
    claim, (what, numbers) = verdict.claim, words.p_values(verdict)
    facts = [
        f"Claim {code(claim.name)}: **{verdict.verdict.value}**" + (" (exploratory)" * verdict.exploratory),
        f"Source: {text(claim.source)}",
        f"{text(words.quantity_text(claim.test)).capitalize()}: {words.estimate_text(verdict)} "
        f"{text(words.interval_text(verdict))} ({words.level_text(verdict) or 'no interval'})",
        f"{what}: {text(numbers)}; adjusted {text(p_text(verdict.p_adjusted))} "
        f"(alpha {claim.alpha}, {verdict.family_size} in family {text(claim.family)})",
        f"{words.exclusions_text(verdict)}; {words.completeness_text(verdict)}; "
        f"seeds for 80% power: {verdict.seeds_needed or 'not known'}",
        f"Declared before data: {'yes' if verdict.declared_before_data else 'no'}",
    ]
    if verdict.reason:
        facts.insert(1, f"Note: {text(verdict.reason)}")
    if verdict.gate:
        facts.append(
            f"Gate: {text(verdict.gate.statement)} {verdict.gate.num_passed:,} trials pass, "
            f"{verdict.gate.num_failed:,} do not"
        )
    facts.append(f"Stands on {len(verdict.files.keys)} files, digest {code(verdict.files.digest)}")
    lines = [f"### {text(claim.statement)}", "", *(f"- {fact}" for fact in facts), ""]
    if verdict.controls:
        rows = [
            (code(control.name), control.expected.value, control.outcome.value, number(control.estimate),
             text(p_text(control.p_value)))
            for control in verdict.controls
        ]  # fmt: skip
        lines += _table(("Control", "Expected", "Found", "Estimate", "p"), rows)
    for figure in study.figures_of(claim.name):
        drawn = study.is_drawn_with(figure, claim.name)
        lines += _figure(figure) if drawn else [f"Figure {code(figure.name)}, above.", ""]
    return lines + (_block(verdict.sql) if verdict.sql else [])


def _figure(figure: FigureContent) -> list[str]:
    state = f" It could not be drawn: {text(figure.error)}" if figure.error else ""
    state = " It has no rows." if figure.empty else state
    return [f"Figure {code(figure.name)} (drawn in the HTML report): {text(figure.caption)}{state}", ""]


def _provenance(study: StudyContent) -> list[str]:
    plan = study.provenance
    lines = ["### Where the numbers come from", ""]
    states = ", ".join(f"{count:,} {state}" for state, count in study.states.items())
    lines += [f"- Planned {words.moment(plan.created_at)}, preset {text(plan.preset)}, seeds {plan.seeds}"]
    lines += [f"- Trials: {text(states)}"]
    if plan.git_commit:
        lines += [f"- Code of the plan: {code(plan.git_commit)}"]
    if plan.started_at and plan.ended_at:
        lines += [
            f"- Ran {words.moment(plan.started_at)} to {words.moment(plan.ended_at)}, "
            f"{words.duration(plan.trial_s)} of all trials together"
        ]
    lines += [f"- Set by hand: {text(name)} = {text(value)}" for name, value in plan.overrides.items()]
    rows = [
        (text(name), code(value) or "none", f"{count:,}")
        for name, values in plan.facts.items()
        for value, count in values.items()
    ]
    return [*lines, "", *_table(("Of the trials", "Value", "Trials"), rows)]


def _block(sql: str) -> list[str]:
    longest = max((len(run) for run in re.findall(r"`+", sql)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sql", words.cleaned(sql), fence, ""]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]
