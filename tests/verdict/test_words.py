"""Verdicts in words."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from gradlaw.claim import Mean, Outcome, Slope
from gradlaw_analysis import OpenStore
from gradlaw_analysis.declared import ClaimChange
from gradlaw_analysis.report.terminal import write_verdicts
from gradlaw_analysis.report.words import data_first, grouped, p_values, quantity_text

SLOPE = Slope(target=-0.5, margin=0.01, sd=0.004)


def test_a_claim_of_several_parts_says_so(opened: OpenStore, judged: Path) -> None:
    assert quantity_text(SLOPE) == "slope, mean over seeds, claimed -0.5 ± 0.01"
    each = replace(SLOPE, num_parts=9)
    assert quantity_text(each) == "slope, mean over seeds, in the worst of 9 parts, claimed -0.5 ± 0.01"
    falling = Mean(target=0.0, margin=0.2, direction="less", sd=1.0, num_parts=2)
    assert quantity_text(falling).endswith("in the worst of 2 parts, claimed < 0, refuted 0.2 beyond it")
    verdict = opened.verdicts([judged], record=False)[0]
    assert verdict.document()["num_parts"] == 1
    parted = replace(verdict, claim=replace(verdict.claim, test=each))
    assert parted.document()["num_parts"] == 9


def test_claims_without_data_come_last(opened: OpenStore, judged: Path) -> None:
    (first, *_) = found = opened.verdicts([judged], record=False)
    without = replace(first, verdict=Outcome.NO_DATA)
    others = [verdict for verdict in found if verdict.verdict is not Outcome.NO_DATA]
    assert data_first([without, *others]) == [*others, without]
    written = io.StringIO()
    write_verdicts([without, replace(others[-1], plan=without.plan)], stream=written)
    shown = written.getvalue()
    assert shown.index(str(others[-1].claim.name)) < shown.index(str(without.claim.name))


def test_changes_that_are_alike_are_told_once_and_none_is_lost() -> None:
    changes = [
        ClaimChange(claim=claim, kind="changed", fields=fields, seen_in=seen_in, after_data=after_data)
        for claim, fields, seen_in, after_data in (
            ("a", ("sql_text",), "now", True),
            ("b", ("test",), "now", True),
            ("c", ("sql_text",), "now", True),
            ("d", ("sql_text",), "now", False),
            ("e", ("sql_text",), "plan", True),
        )
    ]
    told = [(change.fields, change.seen_in, claims) for change, claims in grouped(changes)]
    assert told == [
        (("sql_text",), "now", ("a", "c")),
        (("test",), "now", ("b",)),
        (("sql_text",), "now", ("d",)),
        (("sql_text",), "plan", ("e",)),
    ]


def test_both_p_are_told_but_of_what_is_refuted_the_one_it_rests_on(opened: OpenStore, judged: Path) -> None:
    verdict = replace(opened.verdicts([judged], record=False)[0], p_value=0.01, p_complement=0.75)
    supported = replace(verdict, verdict=Outcome.SUPPORTED)
    assert p_values(supported) == ("p, and p of the complement", "0.01, 0.75")
    refuted = replace(verdict, verdict=Outcome.REFUTED, p_value=0.002, p_complement=0.002)
    assert p_values(refuted) == ("p of the complement", "0.002")
