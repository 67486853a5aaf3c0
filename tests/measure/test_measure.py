"""Trials measured again from weights kept: as if trained anew, and nothing else changed."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drivers import Drivers
from held import STUDIES, bytes_of, committed

import gradlaw
from gradlaw import cli
from gradlaw.engine import run as engine_run
from gradlaw.errors import SchemaError
from gradlaw.pack import Training
from gradlaw.planning.dry_run import describe_plan
from gradlaw.planning.planned import plan_study
from gradlaw.probe import Snapshot
from gradlaw.rules.sgd import SGD
from gradlaw.running import measurable, remeasure
from gradlaw.running.measurable import Lacking, survey
from gradlaw.running.options import RunOptions
from gradlaw.running.runner import RunSummary
from gradlaw.schedules import Constant
from gradlaw.store import paths, writer
from gradlaw.store.compaction import compact
from gradlaw.store.leases import Lease, Leases
from gradlaw.store.resolve import Resolved
from gradlaw.store.store import Store
from gradlaw_analysis.catalog import Catalog

KEPT = STUDIES / "kept"
OTHER: dict[str, object] = {"large.threshold": 0.3}
TABLES = ("trials", "metrics", "large", "seen", "weights")
# What a second training does not repeat, or says otherwise: where and when, which attempt, and why.
OWN = {"trials": "pack_id, attempt, wall_s, started_at, reason"}

Trained = Callable[..., RunSummary]
Stored = Callable[..., Path]


def views(store: Path, plan: str) -> dict[str, list[str]]:
    """The rows of every view, exactly: NaN equals NaN, 0.0 is not -0.0, bytes are compared whole."""
    connection = Catalog(store).connection(plan)
    found = {}
    for table in TABLES:
        left_out = OWN.get(table, "pack_id, attempt")
        rows = connection.execute(f"SELECT * EXCLUDE ({left_out}) FROM {table}").fetchall()
        found[table] = sorted(map(repr, rows))
    return found


def refuse(*_: object, **__: object) -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("preset", "states"),
    [
        ("demo", {"done": 6}),
        ("ending", {"diverged": 3, "done": 3, "reached_target": 3}),
        ("halved", {"done": 2, "stopped": 4}),
    ],
)
def test_measured_again_is_as_trained_again(
    preset: str,
    states: dict[str, int],
    stored: Stored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every row of every table at another threshold equals, bit for bit, that of a training at it."""
    store = stored(preset, tmp_path / "kept")
    (first,) = Store.open(store).plans()
    before = views(store, first.plan_id)

    monkeypatch.setattr(engine_run, "Wave", refuse)
    summary = gradlaw.measure(KEPT, preset=preset, store=store, set=OTHER)
    monkeypatch.undo()

    anew = stored(preset, tmp_path / "anew", OTHER)
    assert Counter(row["state"] for row in committed(anew)) == states
    assert [plan.plan_id for plan in Store.open(anew).plans()] == [summary.plan_id]
    assert summary.complete
    assert (summary.trials_measured, summary.trials_held) == (sum(states.values()), 0)
    again = views(store, summary.plan_id)
    assert again == views(anew, summary.plan_id)
    assert views(store, first.plan_id) == before, "the plan that was measured before sees what it saw"
    assert again["large"] != before["large"]
    assert again["metrics"] == before["metrics"]


def test_a_second_time_does_nothing(stored: Stored, tmp_path: Path) -> None:
    store = stored("demo", tmp_path / "store")
    gradlaw.measure(KEPT, store=store, set=OTHER)
    before = bytes_of(store)
    again = gradlaw.measure(KEPT, store=store, set=OTHER)
    assert (again.trials_measured, again.trials_held, again.left) == (0, 6, {})
    assert bytes_of(store) == before
    as_declared = gradlaw.measure(KEPT, store=store)
    assert (as_declared.trials_measured, as_declared.trials_held) == (0, 6)


def test_thresholds_follow_each_other_and_every_plan_keeps_its_own(stored: Stored, tmp_path: Path) -> None:
    """What was measured again is a source like any other; each row says which commit it read."""
    store = stored("demo", tmp_path / "store")
    plans = [
        gradlaw.measure(KEPT, store=store, set={"large.threshold": at}).plan_id for at in (0.3, 0.2, 0.4)
    ]
    totals = []
    for plan in plans:
        connection = Catalog(store).connection(plan)
        totals.append(connection.execute("SELECT sum(num_large) FROM large").fetchall()[0][0])
        reasons = [reason for (reason,) in connection.execute("SELECT reason FROM trials").fetchall()]
        assert all(reason.count("measured on weights kept in ") == 1 for reason in reasons)
        assert all(reason.endswith(" by large") for reason in reasons)
    assert totals[1] > totals[0] > totals[2] > 0


def test_views_of_no_plan_show_one_threshold(stored: Stored, tmp_path: Path) -> None:
    """What was measured first, of every trial: which of two equal commits wins is no lottery of digests."""
    store = stored("demo", tmp_path / "store")
    (first,) = Store.open(store).plans()
    query = "SELECT * EXCLUDE (pack_id) FROM large ORDER BY ALL"
    before = Catalog(store).connection(first.plan_id).execute(query).fetchall()
    for threshold in (0.3, 0.2, 0.4):
        gradlaw.measure(KEPT, store=store, set={"large.threshold": threshold})
    assert Catalog(store).connection().execute(query).fetchall() == before
    assert {row["attempt"] for row in committed(store)} == {0, 1}


def test_a_run_of_the_rest_after_a_measurement(trained: Trained, stored: Stored, tmp_path: Path) -> None:
    """A plan whose packs were measured in part: the members that are left are trained, and none twice."""
    store = tmp_path / "store"
    trained(store, seeds=1)
    measured = gradlaw.measure(KEPT, store=store, set=OTHER)
    assert (measured.trials_measured, len(measured.left)) == (2, 4)
    summary = trained(store, set=OTHER)
    assert (summary.trials_run, summary.states) == (4, {"done": 6})
    found = views(store, summary.plan_id)
    expected = views(stored("demo", tmp_path / "anew", OTHER), summary.plan_id)
    assert {**found, "trials": []} == {**expected, "trials": []}, "trials differ in the width of their pack"
    assert len(found["trials"]) == 6


def test_what_another_process_measures_meanwhile_is_not_measured_twice(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lands after the store was listed, so that it is looked for before each pack."""
    store = stored("demo", tmp_path / "store")
    found = measurable._kept_digests

    def meanwhile(resolved: Resolved) -> set[str]:
        monkeypatch.undo()
        gradlaw.measure(KEPT, store=store, set=OTHER)
        return found(resolved)

    monkeypatch.setattr(measurable, "_kept_digests", meanwhile)
    summary = gradlaw.measure(KEPT, store=store, set=OTHER)
    assert (summary.trials_measured, summary.trials_held, summary.left) == (0, 6, {})
    assert len(committed(store)) == 6 + 6
    anew = stored("demo", tmp_path / "anew", OTHER)
    assert views(store, summary.plan_id) == views(anew, summary.plan_id)


def test_what_another_measures_is_waited_for_and_taken_over_if_it_dies(
    stored: Stored, tmp_path: Path
) -> None:
    store = stored("demo", tmp_path / "store")
    opened, lines = Store.open(store), list[str]()
    plan = plan_study(KEPT, overrides=OTHER).plan
    elsewhere, last = [lacking.pack_id for lacking in survey(plan, opened)]
    key = paths.lease(elsewhere, 1)
    assert opened.files.create(key, b'{"host": "elsewhere", "boot_id": "other", "pid": 1}')

    def say(line: str) -> None:
        lines.append(line)
        assert [*Leases(opened.files).live()] == [elsewhere], "the rest is measured, and its lease free"
        assert {row["pack_id"] for row in committed(store) if row["attempt"]} == {last}
        (store / key).unlink()

    summary = gradlaw.measure(KEPT, store=store, set=OTHER, say=say)
    assert [line.partition(" on elsewhere")[0] for line in lines] == [
        "waiting: what is left is being run by others"
    ]
    assert (summary.trials_measured, summary.left) == (6, {})
    assert Leases(opened.files).live() == {}


def test_while_a_pack_is_measured_its_lease_tells_who_does(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored("demo", tmp_path / "store")
    leased: list[Lease] = []
    measured = remeasure.commit_measured

    def seen(lacking: Lacking, opened: Store) -> None:
        leased.extend(Leases(opened.files).live().values())
        measured(lacking, opened)

    monkeypatch.setattr(remeasure, "commit_measured", seen)
    plan_id = gradlaw.measure(KEPT, store=store, set=OTHER).plan_id
    assert [(lease.tenant.plan_id, lease.tenant.num_trials) for lease in leased] == [
        (plan_id, 4),
        (plan_id, 2),
    ]


def test_what_is_held_is_copied_and_not_measured(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored("demo", tmp_path / "store")
    from kept.probes import Seen

    monkeypatch.setattr(Seen, "rows", refuse)
    assert gradlaw.measure(KEPT, store=store, set=OTHER).trials_measured == 6
    with pytest.raises(AssertionError):
        gradlaw.measure(KEPT, store=store, set={"seen.scale": 2.0})


def test_a_probe_sees_task_rows_buffers_and_hyperparameters(stored: Stored, tmp_path: Path) -> None:
    """The held-out loss measured again at scale 2 is twice that measured while the trial ran, exactly."""
    store = stored("demo", tmp_path / "store")
    summary = gradlaw.measure(KEPT, store=store, set={"seen.scale": 2.0})
    (first, _) = Store.open(store).plans()
    query = "SELECT trial_id, held_out_loss, steps, seed, lr FROM seen ORDER BY trial_id"
    once = Catalog(store).connection(first.plan_id).execute(query).fetchall()
    twice = Catalog(store).connection(summary.plan_id).execute(query).fetchall()
    assert len(once) == 6
    assert [(row[0], 2 * row[1], *row[2:]) for row in once] == twice


def test_a_store_compacted_before_and_after(stored: Stored, tmp_path: Path) -> None:
    """Parts of several packs; then parts in which two attempts at one trial lie side by side."""
    store = stored("demo", tmp_path / "store")
    compact(Store.open(store), keep_s=0.0)
    summary = gradlaw.measure(KEPT, store=store, set=OTHER)
    expected = views(stored("demo", tmp_path / "anew", OTHER), summary.plan_id)
    assert views(store, summary.plan_id) == expected
    for _ in range(3):
        compact(Store.open(store), keep_s=0.0)
    assert not list(store.glob("weights/*/*.parquet")), "only the merged file is left"
    assert views(store, summary.plan_id) == expected
    last = gradlaw.measure(KEPT, store=store, set={"large.threshold": 0.2})
    assert (last.trials_measured, last.left) == (6, {})


def test_row_groups_that_end_within_a_trial(
    trained: Trained, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups so small that a trial's weights lie in several, as they do where there are many trials."""
    monkeypatch.setattr(writer, "ROW_GROUP_ROWS", 5)
    trained(tmp_path / "store")
    monkeypatch.undo()
    summary = gradlaw.measure(KEPT, store=tmp_path / "store", set=OTHER)
    anew = stored("demo", tmp_path / "anew", OTHER)
    assert views(tmp_path / "store", summary.plan_id) == views(anew, summary.plan_id)


def test_probes_that_share_a_table_or_a_name_are_measured_together() -> None:
    """Their rows cannot be told apart, so none of them can be copied."""
    assert gradlaw.find_study(KEPT).study  # makes its modules importable
    from kept.probes import Large, Seen
    from kept.problem import Smoothed

    low, high, seen = Large(threshold=0.1), Large(threshold=0.3), Seen()
    program = Training(
        task=Smoothed(modulus=5, width=4), rule=SGD(), schedule=Constant(), probes=(low, high, seen), steps=4
    )
    assert measurable._to_run(program, {low.digest, high.digest, seen.digest}) == []
    assert measurable._to_run(program, {low.digest, high.digest}) == [seen]
    assert set(measurable._to_run(program, {low.digest, seen.digest})) == {low, high}
    stale = Large(threshold=0.2).digest
    assert set(measurable._to_run(program, {low.digest, high.digest, seen.digest, stale})) == {low, high}


def test_an_error_of_a_probe_comes_unwrapped_and_leaves_nothing(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored("demo", tmp_path / "store")
    from kept.probes import Large

    calls: list[int] = []

    def rows_until(self: Large, snapshot: Snapshot) -> dict[str, dict[str, list[object]]]:
        calls.append(snapshot.step)
        if len(calls) > 9:  # in the second pack: four trials of two steps are the first
            raise ZeroDivisionError
        return {"large": {"step": [snapshot.step], "name": ["W_a"], "num_large": [0], "total": [0.0]}}

    monkeypatch.setattr(Large, "rows", rows_until)
    with pytest.raises(ZeroDivisionError):
        gradlaw.measure(KEPT, store=store, set=OTHER)
    monkeypatch.undo()
    assert len(committed(store)) == 6 + 4
    assert not list((store / "_tmp").iterdir())
    assert gradlaw.measure(KEPT, store=store, set=OTHER).trials_measured == 2


def test_a_table_that_changed_its_columns_is_refused(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    store = stored("demo", tmp_path / "store")
    from kept import probes

    monkeypatch.setattr(probes, "LARGE", replace(probes.LARGE, version=2))
    with pytest.raises(SchemaError, match="table large: the store holds version 1"):
        gradlaw.measure(KEPT, store=store, set=OTHER)


@pytest.fixture(scope="module")
def drivers() -> Iterator[Drivers]:
    server = Drivers()
    yield server
    server.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "packs_seen"),
    [("between_files:2", 0), ("before_commit:1", 0), ("before_commit:2", 1), ("after_commit:1", 1)],
)
def test_killed_half_way(
    fault: str, packs_seen: int, drivers: Drivers, stored: Stored, tmp_path: Path
) -> None:
    """Of a pack all rows are seen or none; what is committed is not measured again."""
    store = stored("demo", tmp_path / "store")
    (first,) = Store.open(store).plans()
    before = views(store, first.plan_id)
    document = {"study": str(KEPT), "store": str(store), "measure": OTHER}

    assert drivers.run(**document, env={"GRADLAW_FAULT": fault}) == -signal.SIGKILL
    resolved: Resolved = Store.open(store).resolve()
    assert not resolved.set_aside
    assert len(resolved.index) == 6 + (4 if packs_seen else 0)
    assert views(store, first.plan_id) == before

    assert drivers.run(**document) == 0
    assert len(committed(store)) == 12, "each trial once as trained, once as measured again"
    anew = stored("demo", tmp_path / "anew", OTHER)
    (plan,) = Store.open(anew).plans()
    assert views(store, plan.plan_id) == views(anew, plan.plan_id)


@pytest.mark.slow
def test_two_at_once_measure_no_trial_twice(drivers: Drivers, stored: Stored, tmp_path: Path) -> None:
    store = stored("demo", tmp_path / "store")
    document = {"study": str(KEPT), "store": str(store), "measure": OTHER}
    pids = [drivers.start(**document) for _ in range(3)]
    assert [drivers.wait(pid) for pid in pids] == [0, 0, 0]
    assert len(committed(store)) == 6 + 6


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit code of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["gradlaw", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_command(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stored("demo", tmp_path / "store")
    words = ["measure", str(KEPT), "--store", str(store), "--set", "large.threshold=0.3"]
    assert command(monkeypatch, *words) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "6 measured, 0 measured before, 0 left alone" in err
    assert command(monkeypatch, *words) == 0
    assert "0 measured, 6 measured before, 0 left alone" in capsys.readouterr().err
    assert command(monkeypatch, *words, "--seeds", "4") == 1
    err = " ".join(capsys.readouterr().err.split())
    assert "left alone: " in err
    assert ": it is not in the store" in err
    assert command(monkeypatch, *words[:-1], "large.treshold=0.3") == 2
    assert "unknown setting 'large.treshold'; did you mean 'large.threshold'?" in capsys.readouterr().err
    assert command(monkeypatch, *words[:3], str(tmp_path / "nowhere")) == 1
    assert "is not a store" in " ".join(capsys.readouterr().err.split())


def test_a_run_and_its_dry_run_say_what_needs_no_training(
    trained: Trained, stored: Stored, tmp_path: Path
) -> None:
    store = stored("demo", tmp_path / "store")
    options = RunOptions(compile="never", width=4)
    told = describe_plan(KEPT, preset="demo", set=OTHER, seeds=4, store=store, explore=False, options=options)
    assert "of those 6 need no training: gradlaw measure reads the weights kept" in told
    lines, later = list[str](), list[str]()
    trained(store, set=OTHER, seeds=4, say=lines.append)
    assert "6 of those need no training: gradlaw measure reads the weights kept" in lines
    trained(store, set=OTHER, seeds=4, say=later.append)
    assert not [line for line in later if "no training" in line]
