"""What every study that ships keeps: one suite over all of them."""

from __future__ import annotations

import re

import pytest

from gradlaw.claim import Claim, Control, Gate
from gradlaw.figure import Figure
from gradlaw.studies import StudyFolder, find_studies
from gradlaw_analysis.sample_sql import bind
from gradlaw_analysis.stats.power import check_decidable

STUDIES = [folder for folder in find_studies().values() if folder.package.startswith("gradlaw_studies.")]
every_study = pytest.mark.parametrize("folder", STUDIES, ids=lambda folder: folder.name)


def queries(folder: StudyFolder) -> list[Claim | Control | Gate | Figure]:
    """Whatever of a study names a query."""
    gates = [claim.gate for claim in folder.claims if claim.gate]
    controls = [control for claim in folder.claims for control in claim.controls]
    return [*folder.claims, *gates, *controls, *folder.figures]


def test_the_studies_that_ship_are_found() -> None:
    assert len(STUDIES) >= 7


@every_study
def test_it_is_described_and_has_a_preset_of_each_size(folder: StudyFolder) -> None:
    assert (folder.path / "README.md").read_text(encoding="utf-8").startswith("# ")
    presets = folder.study.presets
    assert {"smoke", "demo", "paper"} <= set(presets)
    assert not presets["smoke"].decides
    assert presets["demo"].decides
    assert presets["paper"].decides


@every_study
def test_seeds_of_presets_that_decide_can_decide(folder: StudyFolder) -> None:
    for preset in folder.study.presets.values():
        if preset.decides:
            check_decidable(folder.claims, preset.seeds)


@every_study
def test_names_are_given_once_and_figures_show_claims_that_there_are(folder: StudyFolder) -> None:
    claims, figures = ([item.name for item in part] for part in (folder.claims, folder.figures))
    assert len(set(claims)) == len(claims) > 0
    assert len(set(figures)) == len(figures) > 0
    assert {name for figure in folder.figures for name in figure.claims} <= set(claims)


@every_study
def test_every_query_is_used_and_begins_with_its_grain(folder: StudyFolder) -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in folder.path.glob("*.sql")}
    included = {name for text in files.values() for name in re.findall(r"^-- include: (\S+)$", text, re.M)}
    assert {item.sql for item in queries(folder)} | included == set(files)
    assert [name for name, text in files.items() if not text.startswith("-- One row: ")] == []


@every_study
def test_every_parameter_of_a_query_has_a_value_and_no_value_is_left(folder: StudyFolder) -> None:
    for item in queries(folder):
        bind(folder.sql(item.sql), item.parameters, item.sql)
