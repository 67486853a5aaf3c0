"""What a claim's SQL lacks is told before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_helpers import Flat, plan_of

from gradlaw.errors import ConfigurationError, UnknownNameError
from gradlaw.planning.planned import Planned
from gradlaw.studies import StudyFolder
from gradlaw.study import Grid

CLAIMS = """
from gradlaw.claim import Claim, Control, Gate, Mean

TEST = Mean(target=0.0, margin=1.0, sd=0.1)
SAID = {"statement": "s", "sql": "one.sql", "test": TEST}
FOUND = Control(name="found", parameters={"gain": 1}, expect="refuted", **SAID)
BARE = Control(name="bare", expect="refuted", **SAID)
GATE = Gate(statement="s", sql="gate.sql")
CLAIMS = (
    Claim(name="lacking", source="s", parameters={"gian": 1}, gate=GATE, controls=(FOUND, BARE), **SAID),
)
"""


def test_all_that_sql_lacks_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lacking_sql"
    path.mkdir()
    (path / "claims.py").write_text(CLAIMS, encoding="utf-8")
    (path / "one.sql").write_text("SELECT $gain -- $other", encoding="utf-8")
    planned = Planned(folder=StudyFolder(path, path.name), plan=plan_of(Grid(task=Flat)))
    with pytest.raises(ConfigurationError) as caught:
        planned.check_claims()
    of_one = "one.sql: its parameters are gain; declared with values are"
    unknown = UnknownNameError("gate.sql", kind="SQL file of study lacking_sql", known=["one.sql"])
    assert caught.value.faults == (
        f"lacking: {of_one} gian; they must be the same",
        f"lacking: gate: {unknown}",
        f"lacking: control bare: {of_one} none; they must be the same",
    )
