"""What several queries of a study begin with is written once, and is in the text that is run and locked."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from gradlaw.claim import Claim, Mean
from gradlaw.claim_lock import claim_document
from gradlaw.errors import ClaimError, UnknownNameError
from gradlaw.studies import StudyFolder
from gradlaw_analysis.sample_sql import bind

FILES = {
    "plain.sql": "SELECT $a AS a -- include: other.sql\n",
    "base.sql": "-- One row: one number.\nSELECT $low AS value\n",
    "twice.sql": "WITH base AS (\n  -- include: base.sql\n)\nSELECT 2 * value AS value FROM base\n",
    "again.sql": "WITH twice AS (\n-- include: twice.sql\n)\nSELECT 2 * value AS value FROM twice\n",
    "round.sql": "-- include: about.sql\n",
    "about.sql": "-- include: round.sql\n",
    "lost.sql": "-- include: ../secret.sql\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path.parent / "secret.sql").write_text("SELECT 1")
    return StudyFolder(tmp_path, "anything")


def test_the_text_of_what_is_included_stands_in_its_place(folder: StudyFolder) -> None:
    assert folder.sql("twice.sql") == (
        "WITH base AS (\n-- One row: one number.\nSELECT $low AS value\n)\n"
        "SELECT 2 * value AS value FROM base\n"
    )
    assert folder.sql("plain.sql") == FILES["plain.sql"], "only a line of its own includes"


def test_parameters_of_what_is_included_are_the_file_s(folder: StudyFolder) -> None:
    text = bind(folder.sql("again.sql"), {"low": 3}, "again.sql")
    assert duckdb.connect().execute(text).fetchall() == [(12,)]


def test_a_change_of_what_is_included_changes_the_lock(folder: StudyFolder) -> None:
    test = Mean(target=0.0, margin=1.0, sd=1.0)
    claim = Claim(name="c", statement="", source="", sql="again.sql", parameters={"low": 3}, test=test)
    before = claim_document(claim, folder.sql)["digest"]
    (folder.path / "base.sql").write_text(FILES["base.sql"].replace("$low", "$low + 1"))
    assert claim_document(claim, folder.sql)["digest"] != before


def test_what_is_not_in_the_folder_and_what_holds_itself_are_refused(folder: StudyFolder) -> None:
    with pytest.raises(UnknownNameError, match="secret"):
        folder.sql("lost.sql")
    with pytest.raises(ClaimError, match=r"round\.sql includes about\.sql includes round\.sql"):
        folder.sql("round.sql")
