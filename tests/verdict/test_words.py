"""Verdicts in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gradlaw.claim import Mean, Slope
from gradlaw_analysis import OpenStore
from gradlaw_analysis.report.words import quantity_text

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
