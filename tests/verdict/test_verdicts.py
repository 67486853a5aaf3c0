"""Verdicts on a study whose truth is known, through the real run, store and catalog."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

from gradlaw.claim import Control, Gate, Outcome
from gradlaw.errors import UnknownNameError
from gradlaw.running.runner import run
from gradlaw_analysis import OpenStore, open_store
from gradlaw_analysis.stats import claim_rng, evaluate
from gradlaw_analysis.verdict import Verdict

EXPECTED = {
    "noise_falls": Outcome.SUPPORTED,
    "noise_falls_as_size": Outcome.REFUTED,
    "wide_is_zero": Outcome.INCONCLUSIVE,
    "rounding": Outcome.SUPPORTED,
    "control_fails": Outcome.INSTRUMENT_BROKEN,
    "too_large": Outcome.OUTSIDE_REGIME,
    "lost_table": Outcome.NO_DATA,
}

PROMISED = {
    "study", "plan", "claim", "statement", "source", "verdict", "estimate", "ci_low", "ci_high", "ci_level",
    "margin", "family_size", "p_value", "p_adjusted", "num_planned", "num_trials", "num_seeds",
    "num_excluded", "seeds_needed", "declared_before_data", "sql",
}  # fmt: skip


def by_name(verdicts: list[Verdict]) -> dict[str, Verdict]:
    return {verdict.claim.name: verdict for verdict in verdicts}


@pytest.fixture(scope="session")
def verdicts(judged_store: Path, judged: Path) -> dict[str, Verdict]:
    return by_name(open_store(judged_store).verdicts([judged], record=False))


def test_every_claim_comes_out_as_it_was_made(verdicts: dict[str, Verdict]) -> None:
    assert {name: verdict.verdict for name, verdict in verdicts.items()} == EXPECTED
    assert not any(verdict.exploratory for verdict in verdicts.values())


def test_estimate_and_interval_are_those_of_a_t_interval(
    opened: OpenStore, verdicts: dict[str, Verdict]
) -> None:
    rows = opened.sql("SELECT seed, wide FROM drawn_noise JOIN trials USING (trial_id) WHERE kind = 'law'")
    means = rows.groupby("seed")["wide"].mean()
    verdict = verdicts["wide_is_zero"]
    assert verdict.ci_level is not None
    low, high = stats.t.interval(verdict.ci_level, len(means) - 1, means.mean(), stats.sem(means))
    assert (verdict.estimate, verdict.ci_low, verdict.ci_high) == pytest.approx((means.mean(), low, high))
    assert (verdict.num_seeds, verdict.num_planned, verdict.num_trials) == (6, 48, 48)


def test_shown_sql_gives_the_sample_by_hand(opened: OpenStore, verdicts: dict[str, Verdict]) -> None:
    checked = 0
    for verdict in verdicts.values():
        if verdict.estimate is None:
            continue
        assert "$" not in "\n".join(line for line in verdict.sql.splitlines() if not line.startswith("--"))
        sample = opened.sql(verdict.sql)
        effect = evaluate(verdict.claim.test, sample, rng=claim_rng(verdict.claim))
        assert effect.estimate == pytest.approx(verdict.estimate, rel=1e-12)
        assert effect.num_seeds == verdict.num_seeds
        checked += 1
    assert checked == 5


def test_gate_cuts_the_sample_and_counts_the_trials_that_its_claim_is_about(
    opened: OpenStore, verdicts: dict[str, Verdict]
) -> None:
    gate = verdicts["noise_falls"].gate
    assert gate is not None
    assert (gate.num_passed, gate.num_failed, gate.num_seeds) == (18, 6, 6)
    sample = opened.sql(verdicts["noise_falls"].sql)
    assert sorted(round(math.exp(x)) for x in set(sample["x"])) == [2, 4, 8]
    ungated = opened.sql(verdicts["control_fails"].sql)
    assert sorted(round(math.exp(x)) for x in set(ungated["x"])) == [1, 2, 4, 8]


def test_controls_are_shown_and_break_the_instrument(verdicts: dict[str, Verdict]) -> None:
    flat, found = verdicts["noise_falls"].controls
    assert (flat.outcome, found.outcome) == (Outcome.REFUTED, Outcome.SUPPORTED)
    assert flat.estimate == pytest.approx(0.0, abs=0.01)
    assert "law_refuted" in str(verdicts["control_fails"].reason)


@pytest.mark.parametrize(
    ("file", "cause"),
    [
        ("lost.sql", "table no_such_table"),
        ("lost_column.sql", "column no_such_setting"),
        ("lost_alias.sql", "column no_such_setting"),
    ],
)
def test_what_the_store_does_not_hold_is_no_data_in_plain_words(
    opened: OpenStore, judged: Path, monkeypatch: pytest.MonkeyPatch, file: str, cause: str
) -> None:
    import judged.claims as declared

    (lost,) = (claim for claim in declared.CLAIMS if claim.name == "lost_table")
    control = Control(name="same", statement="The same.", sql=file, test=lost.test, expect="refuted")
    monkeypatch.setattr(declared, "CLAIMS", (replace(lost, sql=file, controls=(control,)),))
    (verdict,) = opened.verdicts([judged], record=False)
    assert verdict.verdict is Outcome.NO_DATA
    assert verdict.reason == f"{file}: this store has no {cause}"


def test_a_gate_without_a_trial_is_no_data_and_not_outside_of_a_regime(
    opened: OpenStore, judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a claim about a task that this preset does not train."""
    import judged.claims as declared

    (claim,) = (item for item in declared.CLAIMS if item.name == "noise_falls")
    gate = Gate(statement="Nobody draws it.", sql="nobody.sql")
    monkeypatch.setattr(declared, "CLAIMS", (replace(claim, gate=gate),))
    (verdict,) = opened.verdicts([judged], record=False)
    assert verdict.verdict is Outcome.NO_DATA
    assert verdict.gate is not None
    assert (verdict.gate.num_passed, verdict.gate.num_failed, verdict.gate.num_seeds) == (0, 0, 0)


def test_rows_are_not_passed_off_as_seeds(
    opened: OpenStore, judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import judged.claims as declared

    claims = [replace(c, sql="pseudo.sql") if c.sql == "wide.sql" else c for c in declared.CLAIMS]
    monkeypatch.setattr(declared, "CLAIMS", tuple(claims))
    verdict = by_name(opened.verdicts([judged], record=False))["wide_is_zero"]
    assert verdict.verdict is Outcome.NO_DATA
    assert "pseudo.sql: got seed 8, allowed the 6 seeds of the plan" in str(verdict.reason)


def test_json_holds_what_is_promised_and_no_nan(verdicts: dict[str, Verdict]) -> None:
    for verdict in verdicts.values():
        document = json.loads(json.dumps(verdict.document(), allow_nan=False))
        assert set(document) >= PROMISED
        assert document["files"]["count"] == len(document["files"]["keys"])
    endless = replace(verdicts["noise_falls"], ci_low=-math.inf, estimate=math.nan)
    assert (endless.document()["ci_low"], endless.document()["estimate"]) == (None, None)


def test_files_are_those_of_the_tables_that_are_read(opened: OpenStore, verdicts: dict[str, Verdict]) -> None:
    keys = verdicts["rounding"].files.keys
    assert {key.split("/")[0] for key in keys} == {"trials", "drawn_noise"}
    assert all((opened.store.files.root / key).is_file() for key in keys)


def test_missing_seeds_make_it_exploratory(
    opened: OpenStore, judged: Path, lose_seeds: Callable[..., None]
) -> None:
    lose_seeds(opened, 2)
    verdict = by_name(opened.verdicts([judged]))["noise_falls_as_size"]
    assert verdict.exploratory
    assert (verdict.num_trials, verdict.num_planned, verdict.num_seeds) == (40, 48, 5)
    assert verdict.states == {"done": 40, "missing": 8}
    assert "incomplete: 40 of 48 trials, 5 of 6 seeds" in str(verdict.reason)
    assert "5 seeds are no declared look (declared: 6)" in str(verdict.reason)
    assert set(opened.sql(verdict.sql)["seed"]) == {0, 1, 3, 4, 5}


def test_a_seed_without_all_its_trials_is_not_looked_at(opened: OpenStore, judged: Path) -> None:
    """One trial of seed 0 lacks a row, its others have ended: no look may rest on part of a block."""
    commit = next((opened.store.files.root / "trials" / "study=judged").iterdir())
    import pyarrow.parquet as pq

    table = pq.read_table(commit, partitioning=None)
    seed = table["seed"][0].as_py()
    pq.write_table(table.slice(1), commit)  # the footer's commit entry stays with the schema
    verdict = by_name(opened.verdicts([judged], record=False))["rounding"]
    assert (verdict.num_trials, verdict.num_seeds) == (47, 5)
    assert seed not in set(opened.sql(verdict.sql)["seed"])


def test_declared_looks_decide_before_the_plan_is_complete(
    opened: OpenStore, judged: Path, lose_seeds: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    import judged.claims as declared

    looking = tuple(replace(claim, looks=(5, 6)) for claim in declared.CLAIMS)
    monkeypatch.setattr(declared, "CLAIMS", looking)
    lose_seeds(opened, 5)
    verdict = by_name(opened.verdicts([judged]))["noise_falls_as_size"]
    assert not verdict.exploratory
    assert verdict.verdict is Outcome.REFUTED
    assert verdict.ci_level is not None
    # Three claims of its family, half of alpha at the first of two looks; Holm stops at most there.
    assert verdict.ci_level >= 1 - 2 * 0.025 / 2


def test_smoke_never_decides(judged: Path, tmp_path: Path) -> None:
    run(judged, preset="smoke", store=tmp_path / "s", launcher="inline")
    store = open_store(tmp_path / "s")
    verdicts = store.verdicts([judged])
    assert {verdict.verdict for verdict in verdicts} == {Outcome.INCONCLUSIVE}
    assert all(verdict.exploratory and verdict.p_value is None for verdict in verdicts)
    assert "preset smoke never decides" in str(verdicts[0].reason)
    assert store.store.locks("judged") == ()


def test_smoke_tells_what_the_sql_lacks(
    judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(judged, preset="smoke", store=tmp_path / "s", launcher="inline")
    import judged.claims as declared

    broken = tuple(replace(claim, sql="lost.sql", gate=None, controls=()) for claim in declared.CLAIMS[:1])
    monkeypatch.setattr(declared, "CLAIMS", broken)
    (verdict,) = open_store(tmp_path / "s").verdicts([judged])
    assert verdict.verdict is Outcome.INCONCLUSIVE
    assert str(verdict.reason).startswith("preset smoke never decides; lost.sql: its parameters are none")


@pytest.mark.parametrize(
    ("how", "kind"), [({"explore": True}, "explore"), ({"set": {"size": [2, 4]}}, "variant")]
)
def test_other_plans_are_exploratory_and_never_chosen_over_one_that_decides(
    opened: OpenStore, judged: Path, how: dict[str, object], kind: str
) -> None:
    summary = run(judged, store=opened.store.path, launcher="inline", **how)
    chosen = opened.verdicts([judged])[0]
    assert (chosen.kind, chosen.exploratory) == ("confirm", False)
    named = by_name(opened.verdicts([judged], summary.plan_id))["noise_falls_as_size"]
    assert (named.plan, named.kind, named.exploratory) == (summary.plan_id, kind, True)
    assert f"a plan of kind {kind} decides nothing" in str(named.reason)


@pytest.mark.parametrize("seeds", [3, 7])
def test_undeclared_numbers_of_seeds_are_never_chosen_over_a_declared_look(
    opened: OpenStore, judged: Path, seeds: int, caplog: pytest.LogCaptureFixture
) -> None:
    summary = run(judged, seeds=seeds, store=opened.store.path, launcher="inline")
    chosen = opened.verdicts([judged])[0]
    assert (chosen.num_planned, chosen.exploratory) == (48, False)
    assert f"plan {summary.plan_id} is newer, but its {seeds} seeds are no declared look" in caplog.text
    named = opened.verdicts([judged], summary.plan_id)[0]
    assert (named.num_planned, named.exploratory) == (8 * seeds, True)


def test_unknown_studies_and_plans_are_named(opened: OpenStore, judged: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"plan of study judged 'dmeo'.*known: demo_"):
        opened.verdicts([judged], plan="dmeo")
    with pytest.raises(UnknownNameError, match=r"study with a plan in this store 'sqrt_b'.*known: judged"):
        opened.verdicts(["sqrt_b"])


def test_studies_that_cannot_be_found_are_left_out_aloud(
    opened: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="gradlaw"):
        assert opened.verdicts() == []
    assert "unknown study 'judged'" in caplog.text


def test_files_set_aside_are_named_once_whatever_is_asked(
    opened: OpenStore, judged: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = sorted((opened.store.files.root / "trials" / "study=judged").iterdir())
    first.write_bytes(b"no Parquet")
    assert len(opened.sql("SELECT DISTINCT pack_id FROM trials")) == len(others)
    assert caplog.text.count(f"set aside: {first}: it is not a readable Parquet file") == 1
    opened.verdicts([judged])
    assert caplog.text.count("set aside") == 1


def test_plans_are_listed(opened: OpenStore) -> None:
    plans = opened.plans()
    assert list(plans["study"]) == ["judged"]
    assert list(plans["num_trials"]) == [48]


def test_restricted_sql_sees_one_plan(opened: OpenStore, judged: Path) -> None:
    summary = run(judged, store=opened.store.path, launcher="inline", explore=True)
    count = "SELECT count(*) AS n FROM trials"
    assert opened.sql(count)["n"].tolist() == [96]
    assert opened.sql(count, plan=summary.plan_id)["n"].tolist() == [48]
    assert isinstance(opened.sql("SELECT $a AS a", {"a": 1}), pd.DataFrame)


@pytest.mark.slow
def test_verdicts_and_reports_need_neither_torch_nor_ray(
    judged_store: Path, judged: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from gradlaw_analysis import open_store\n"
        f"store = open_store({str(judged_store)!r})\n"
        f"store.report([{str(judged)!r}], {str(tmp_path / 'r.html')!r}, record=False)\n"
        "found = {'torch', 'ray'} & set(sys.modules); assert not found, found\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
