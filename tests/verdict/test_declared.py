"""Locks: what was declared before data, what changed since, and which evaluations were shown."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gradlaw.claim import Mean
from gradlaw.running.runner import run
from gradlaw.studies import find_study
from gradlaw_analysis import OpenStore
from gradlaw_analysis.declared import ClaimChange, claim_changes, claim_documents, declared_before_data
from gradlaw_analysis.verdict import Verdict

Change = Callable[..., None]


@pytest.fixture
def change_claim(judged: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Changes fields of a claim of the study, as an edit of claims.py would."""
    assert find_study(judged).claims
    import judged.claims as declared

    def change(name: str, **fields: Any) -> None:
        claims = [replace(claim, **fields) if claim.name == name else claim for claim in declared.CLAIMS]
        monkeypatch.setattr(declared, "CLAIMS", tuple(claims))

    return change


def declared(verdicts: list[Verdict]) -> dict[str, bool]:
    return {verdict.claim.name: verdict.declared_before_data for verdict in verdicts}


def test_run_locks_the_claims_before_data(opened: OpenStore, judged: Path) -> None:
    assert all(declared(opened.verdicts([judged])).values())


def test_a_claim_changed_after_data_is_not_declared(
    opened: OpenStore, judged: Path, change_claim: Change
) -> None:
    change_claim("wide_is_zero", test=Mean(target=0.0, margin=5.0, sd=0.01))
    found = declared(opened.verdicts([judged]))
    assert not found.pop("wide_is_zero")
    assert all(found.values())


def test_running_again_locks_the_change_and_does_not_whitewash_it(
    opened: OpenStore, judged: Path, change_claim: Change
) -> None:
    change_claim("wide_is_zero", test=Mean(target=0.0, margin=5.0, sd=0.01))
    more = run(judged, store=opened.store.path, launcher="inline", seeds=8)  # seeds 0 to 5 have data
    verdict = opened.verdicts([judged], plan=more.plan_id)[2]
    assert (verdict.claim.name, verdict.num_seeds) == ("wide_is_zero", 8)
    assert not verdict.declared_before_data
    locks = opened.store.locks("judged")
    changes = claim_changes(claim_documents(find_study(judged)), locks, has_data=True)
    assert changes == (
        ClaimChange(
            claim="wide_is_zero", kind="changed", fields=("test",), seen_in=verdict.plan, after_data=True
        ),
    )


def test_the_text_of_the_sql_is_part_of_a_claim(opened: OpenStore, judged: Path, tmp_path: Path) -> None:
    folder = find_study(judged)
    assert folder.claims
    edited = Path(shutil.copytree(judged, tmp_path / "judged"))
    (edited / "residual.sql").write_text("-- one row a trial\nSELECT 0 AS seed, 0.0 AS value")
    moved = type(folder)(edited, folder.package)
    moved.__dict__["claims"] = folder.claims  # the same declarations beside another file
    changes = claim_changes(claim_documents(moved), opened.store.locks("judged"), has_data=True)
    assert [(change.claim, change.fields) for change in changes] == [("rounding", ("sql_text",))]


def test_claims_added_and_removed_are_seen(opened: OpenStore, judged: Path) -> None:
    now = claim_documents(find_study(judged))
    first = now.pop("rounding")
    now["other"] = {**first, "name": "other", "digest": "0"}
    changes = claim_changes(now, opened.store.locks("judged"), has_data=False)
    assert [(change.claim, change.kind, change.after_data) for change in changes] == [
        ("rounding", "removed", False),
        ("other", "added", False),
    ]


def test_a_lock_of_another_plan_counts_only_if_it_is_older(opened: OpenStore, judged: Path) -> None:
    """A claim changed after one plan's data may come before another's data; not the other way."""
    (record,) = opened.store.plans()
    (lock,) = opened.store.locks("judged")
    document = claim_documents(find_study(judged))["rounding"]
    now, then = datetime.now(UTC) + timedelta(days=1), datetime(2020, 1, 1, tzinfo=UTC)
    assert declared_before_data(document, [lock], record.plan_id, then)
    assert not declared_before_data(document, [{**lock, "before_data": False}], record.plan_id, then)
    other = {**lock, "plan_id": "paper_0"}
    assert declared_before_data(document, [other], record.plan_id, now)
    assert not declared_before_data(document, [other], record.plan_id, then)


def test_a_lock_taken_elsewhere_declares_nothing_of_trials_that_were_seen(
    opened: OpenStore, judged: Path, change_claim: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim is changed after data, locked with a preset of other trials, and then given more seeds."""
    import judged.study as declared

    change_claim("wide_is_zero", test=Mean(target=0.0, margin=5.0, sd=0.01), looks=(6, 8))
    demo = declared.STUDY.presets["demo"]
    grid = replace(demo.grids[0], values={**demo.grids[0].values, "size": (16, 32)})
    presets = {"demo": demo, "other": replace(demo, grids=(grid,))}
    monkeypatch.setattr(declared, "STUDY", replace(declared.STUDY, presets=presets))
    other = run(judged, preset="other", store=opened.store.path, launcher="inline")
    more = run(judged, store=opened.store.path, launcher="inline", seeds=8)
    found = {
        plan: opened.verdicts([judged], plan=plan)[2].declared_before_data
        for plan in (other.plan_id, more.plan_id)
    }
    assert found == {other.plan_id: True, more.plan_id: False}


def test_each_evaluation_shown_is_recorded_once(
    opened: OpenStore, judged: Path, lose_seeds: Callable[..., None]
) -> None:
    def evaluations() -> list[dict[str, Any]]:
        return [lock for lock in opened.store.locks("judged") if lock["kind"] == "evaluation"]

    opened.verdicts([judged], record=False)
    assert evaluations() == []
    opened.verdicts([judged])
    first = evaluations()
    assert [lock["claim"] for lock in first][:2] == ["noise_falls", "noise_falls_as_size"]
    assert (first[1]["verdict"], first[1]["num_seeds"]) == ("refuted", 6)
    opened.verdicts([judged])
    assert len(evaluations()) == len(first) == 7
    lose_seeds(opened, 3)
    opened.verdicts([judged])
    assert len(evaluations()) == 14
    assert evaluations()[-1]["exploratory"]
    shown = opened.sql("SELECT count(*) AS n FROM verdicts")["n"].tolist()
    assert shown == [14]


def test_a_store_that_cannot_be_written_still_shows(
    opened: OpenStore, judged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(opened.store.files.root / "_tmp", ignore_errors=True)
    (opened.store.files.root / "_tmp").write_text("in the way")  # for root, permissions stop nothing
    with caplog.at_level(logging.WARNING, logger="gradlaw"):
        assert len(opened.verdicts([judged])) == 7
    assert "shown but not recorded" in caplog.text


def test_seeds_raised_in_the_preset_after_data_are_an_undeclared_look(
    opened: OpenStore, judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever edits the study instead of asking for more seeds could stop when it suits."""
    import judged.study as declared

    demo = declared.STUDY.presets["demo"]
    presets = {"demo": replace(demo, seeds=8), "more": replace(demo, seeds=8)}
    monkeypatch.setattr(declared, "STUDY", replace(declared.STUDY, presets=presets))
    for preset in presets:
        summary = run(judged, preset=preset, store=opened.store.path, launcher="inline")
        verdict = opened.verdicts([judged], plan=summary.plan_id)[0]
        assert (verdict.num_seeds, verdict.exploratory) == (8, True)
        assert "8 seeds are no declared look (declared: 6)" in str(verdict.reason)
    (first, *_) = opened.plans()["plan_id"]
    assert not opened.verdicts([judged], plan=first)[0].exploratory
