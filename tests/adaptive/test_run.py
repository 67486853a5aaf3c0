"""Adaptive plans run: what is found, what is recorded, what a reader sees, and what a restart asks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from held import STUDIES, counting
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from typer.testing import CliRunner

import gradlaw
from gradlaw.adaptive import growth, rounds
from gradlaw.adaptive.export import export_journal
from gradlaw.adaptive.growth import Growth
from gradlaw.cli import app
from gradlaw.errors import StoreError, UsageError
from gradlaw.planning.dry_run import describe_plan
from gradlaw.planning.planned import Planned, plan_study
from gradlaw.running.options import RunOptions
from gradlaw.running.runner import RunSummary
from gradlaw.store.store import Store
from gradlaw_analysis import open_store

SOUGHT = STUDIES / "sought"
HALVINGS, RESOLUTION = 4, 1000.0 ** (1 / 16)
NUM_TUNING, NUM_FRESH, NUM_EDGE, NUM_PLAIN = 2 * 6 * 2, 2 * 3, 2 * 3 * 6, 2 * 3


def run(store: Path, lines: list[str] | None = None, **how: Any) -> RunSummary:
    return gradlaw.run(
        SOUGHT, store=store, compile="never", say=lines.append if lines is not None else None, **how
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which the whole of preset ``demo`` ran, undisturbed."""
    store = tmp_path_factory.mktemp("adaptive") / "store"
    summary = run(store)
    assert summary.complete
    assert summary.trials_run == summary.trials_planned == NUM_TUNING + NUM_FRESH + NUM_EDGE + NUM_PLAIN
    return store


def planned_rows(store: Path, **how: Any) -> list[dict[str, Any]]:
    rows = Store.open(store).plan(plan_study(SOUGHT, **how).plan.plan_id)[1]
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def test_the_edge_is_where_theory_has_it(done: Path) -> None:
    """Gradient descent on curvature w^2 / 2 is stable exactly below lr = 2 / curvature."""
    asked = {(row["trial_id"]) for row in planned_rows(done) if row["role"] == "edge"}
    trials = [row for row in counting(done) if row["trial_id"] in asked]
    last = {row["trial_id"]: row["loss"] for row in counting(done, "metrics")}
    for curvature in (2.0, 3.7):
        for seed in range(3):
            mine = [row for row in trials if (row["curvature"], row["seed"]) == (curvature, seed)]
            assert len(mine) == 2 + HALVINGS
            good = [row["state"] == "done" and last[row["trial_id"]] < 1.85 for row in mine]
            low = max(row["lr"] for row, holds in zip(mine, good, strict=True) if holds)
            high = min(row["lr"] for row, holds in zip(mine, good, strict=True) if not holds)
            assert low < 2.0 / curvature < high
            np.testing.assert_allclose(high / low, RESOLUTION, rtol=1e-12)


def test_the_search_found_and_ran_the_best(done: Path) -> None:
    rows = planned_rows(done)
    last = {row["trial_id"]: row["loss"] for row in counting(done, "metrics")}
    state = {row["trial_id"]: row["state"] for row in counting(done)}
    for arm in ("sgd", "heavy_ball"):
        tuning = [row for row in rows if (row["role"], row["arm"]) == ("tuning", arm)]
        assert {row["number"] for row in tuning} == set(range(6))
        assert {row["seed"] for row in tuning} == {2_000_000, 2_000_001}
        means = {
            number: np.mean(
                [
                    last[row["trial_id"]] if state[row["trial_id"]] == "done" else np.inf
                    for row in tuning
                    if row["number"] == number
                ]
            )
            for number in range(6)
        }
        fresh = [row for row in rows if (row["role"], row["arm"]) == ("fresh", arm)]
        assert {row["number"] for row in fresh} == {min(means, key=means.__getitem__)}
        assert [row["seed"] for row in fresh] == [0, 1, 2]


def test_what_is_recorded_is_what_ran(done: Path) -> None:
    """The searched values as they are asked for are those of the trial's row, to the last digit."""
    trials = {row["trial_id"]: row for row in counting(done)}
    rows = planned_rows(done)
    assert {row["trial_id"] for row in rows} == set(trials)
    for row in rows:
        for name, value in json.loads(row["asked"] or "{}").items():
            assert trials[row["trial_id"]][name] == value
    plain = [row for row in rows if row["role"] is None]
    assert len(plain) == NUM_PLAIN
    assert {row["round"] for row in plain} == {None}


def test_a_second_run_has_nothing_to_do(done: Path) -> None:
    before = sorted(path for path in done.rglob("*.parquet"))
    summary = run(done)
    assert summary.trials_run == 0
    assert summary.complete
    assert sorted(path for path in done.rglob("*.parquet")) == before


def test_a_trial_that_a_grid_holds_without_the_probe_is_measured_with_it(tmp_path: Path) -> None:
    """The edge goes by the norm of the parameters: without it its lower end would seem to fail."""
    lines: list[str] = []
    assert run(tmp_path, lines, preset="shared").complete
    assert ": 4 trials, 0 in the store, 4 to run" in lines[0]
    rows = planned_rows(tmp_path, preset="shared")
    assert {row["round"] for row in rows if row["role"] == "edge"} == {0, 1, 2}
    asked = {(row["role"], row["seed"]): row for row in rows if row["trial_id"] == rows[0]["trial_id"]}
    assert set(asked) == {(None, 0), ("edge", 0)}
    assert json.loads(asked[None, 0]["probes"]) == []
    assert "parameter_norm" in asked["edge", 0]["probes"]
    assert run(tmp_path, preset="shared").trials_run == 0
    catalog = open_store(tmp_path)
    found = catalog.sql(
        "SELECT count(*) AS n FROM metrics WHERE parameter_norm IS NULL", plan=rows[0]["plan_id"]
    )
    assert found["n"].tolist() == [0]


class Stopped(Exception):  # noqa: N818 - no error
    pass


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which ``demo`` ended when it would have asked for its third round."""

    def next_round(declared: Any, ended: Sequence[Any]) -> Any:
        if len({item.ask.number for item in ended if item.ask.role == "tuning"}) == 4:
            raise Stopped
        return rounds.next_round(declared, ended)

    store = tmp_path_factory.mktemp("adaptive") / "stopped"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "next_round", next_round)
        with pytest.raises(Stopped):
            run(store)
    return store


@pytest.fixture
def halfway(stopped: Path, tmp_path: Path) -> Path:
    """A copy of that store, to run on in."""
    return Path(shutil.copytree(stopped, tmp_path / "halfway"))


def test_a_restart_asks_the_same(done: Path, halfway: Path) -> None:
    assert run(halfway).complete
    assert planned_rows(halfway) == planned_rows(done)


def test_what_is_recorded_is_not_asked_otherwise(
    done: Path, halfway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sampler that answers otherwise, as another version may, changes no round that is recorded."""
    propose = rounds.propose
    monkeypatch.setattr(rounds, "propose", lambda *given: propose(*given[:3], ["other", given[3]]))
    assert run(halfway).complete

    def asked(rows: list[dict[str, Any]], *numbers: int) -> list[str]:
        return [row["asked"] for row in rows if row["role"] == "tuning" and row["round"] in numbers]

    rows, undisturbed = planned_rows(halfway), planned_rows(done)
    assert asked(rows, 0, 1) == asked(undisturbed, 0, 1)
    assert asked(rows, 2) != asked(undisturbed, 2)


def test_a_record_that_this_code_would_not_make_is_refused(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    plan = plan_study(SOUGHT).plan
    first = Growth(plan, None)
    assert plan.adaptive is not None
    asks = rounds.next_round(plan.adaptive, ())
    built = plan.adaptive.build(asks)
    planned = list(first._planned(asks, built, 0))
    planned[0] = planned[0]._replace(asked=json.dumps({"lr": 0.123}))
    store.write_round(plan.plan_id, 0, planned)
    with pytest.raises(StoreError, match="round 0 holds trials that this code would not make"):
        Growth(plan, store)


def test_while_rounds_are_to_come_a_reader_sees_so(stopped: Path) -> None:
    opened = open_store(stopped)
    (status,) = opened.status().plans
    assert (status.num_rounds, status.is_open) == (2, True)
    assert status.num_ended == status.num_planned
    assert "rounds  2 so far, more to come" in str(status)
    for verdict in opened.verdicts([SOUGHT]):
        assert verdict.verdict == "no data"
        assert "so far, with rounds to come" in str(verdict.reason)
    counted = opened.sql("SELECT DISTINCT is_open, round FROM plans ORDER BY round NULLS FIRST")
    assert counted["is_open"].all()
    assert len(counted) == 3


def test_verdicts_read_who_asked_for_what(done: Path) -> None:
    opened = open_store(done)
    (status,) = opened.status().plans
    assert not status.is_open
    found = {verdict.claim.name: verdict for verdict in opened.verdicts([SOUGHT])}
    assert {name: str(verdict.verdict) for name, verdict in found.items()} == {
        "tuned_is_small": "supported",
        "edge_is_known": "supported",
    }
    assert found["tuned_is_small"].num_seeds == 3, "seeds of tuning are none"
    assert found["edge_is_known"].declared_before_data


def test_another_plan_that_shares_trials_does_not_speak_for_this_one(done: Path) -> None:
    """More seeds share what tuning asked for, and the rows of claims stay one a seed."""
    run(done, seeds=4)
    found = {verdict.claim.name: verdict for verdict in open_store(done).verdicts([SOUGHT])}
    assert found["edge_is_known"].num_seeds == 3
    assert found["edge_is_known"].num_trials == NUM_TUNING + NUM_FRESH + NUM_EDGE + NUM_PLAIN


def test_a_dry_run_counts_what_may_come(done: Path, tmp_path: Path) -> None:
    def lines(store: Path) -> str:
        options = RunOptions(launcher="inline", compile="never")
        found = describe_plan(
            SOUGHT, preset="demo", set={}, seeds=None, store=store, explore=False, options=options
        )
        return "\n".join(found)

    text = lines(tmp_path / "none")
    num_trials = NUM_TUNING + NUM_FRESH + NUM_EDGE
    assert "to run: 6 trials in 1 packs, 30 trial-steps" in text
    steps = 10 * (NUM_TUNING + NUM_FRESH) + 100 * NUM_EDGE
    assert f"at most 5 to come with {num_trials} trials, {steps:,} trial-steps" in text
    assert "expected: at most" in text
    assert not (tmp_path / "none").exists()
    assert "rounds: 5 so far, at most 0 to come with 0 trials" in lines(done)


def test_the_export_is_what_the_store_holds(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "journal.log"
    planned = plan_study(SOUGHT)
    for _ in range(2):  # in place of what is there
        assert export_journal(planned, Store.open(done), out) == 12
    storage = JournalStorage(JournalFileBackend(str(out)))
    tuning = [row for row in planned_rows(done) if row["role"] == "tuning"]
    last = {row["trial_id"]: row["loss"] for row in counting(done, "metrics")}
    state = {row["trial_id"]: row["state"] for row in counting(done)}
    for arm in ("sgd", "heavy_ball"):
        study = optuna.load_study(study_name=f"sought.contest.{arm}", storage=storage)
        assert study.direction.name == "MINIMIZE"
        for trial in study.trials:
            mine = [row for row in tuning if (row["arm"], row["number"]) == (arm, trial.number)]
            assert trial.params == json.loads(mine[0]["asked"])
            assert trial.user_attrs["trial_ids"] == [row["trial_id"] for row in mine]
            ends = [state[row["trial_id"]] for row in mine]
            if ends == ["done", "done"]:
                assert trial.value == np.mean([last[row["trial_id"]] for row in mine])
            else:
                assert trial.state.name == "PRUNED"
    with pytest.raises(UsageError, match="preset edge of study sought declares no search"):
        export_journal(plan_study(SOUGHT, preset="edge"), Store.open(done), out)


def test_a_part_is_exported_as_it_stands(stopped: Path, tmp_path: Path) -> None:
    planned: Planned = plan_study(SOUGHT)
    assert export_journal(planned, Store.open(stopped), tmp_path / "j") == 8
    names = optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(tmp_path / "j"))))
    assert names == ["sought.contest.sgd", "sought.contest.heavy_ball"]


def test_exploring_tunes_on_seeds_of_its_own() -> None:
    plan = plan_study(SOUGHT, explore=True).plan
    assert plan.adaptive is not None
    assert {ask.seed for ask in rounds.next_round(plan.adaptive, ()) if ask.role == "tuning"} == {
        3_000_000,
        3_000_001,
    }
    assert min(plan.seeds) == 1_000_000


def test_the_command_writes_a_journal(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "journal.log"
    result = CliRunner().invoke(
        app, ["search", "export", str(SOUGHT), "--store", str(done), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    names = optuna.get_all_study_names(JournalStorage(JournalFileBackend(str(out))))
    assert names == ["sought.contest.sgd", "sought.contest.heavy_ball"]
    assert result.stdout == "", "stdout is for what was asked for"
