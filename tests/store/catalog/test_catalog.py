from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import pytest

from gradlaw.errors import QueryError, StoreError, UnknownNameError
from gradlaw.store.plans import PlannedTrial, PlanRecord
from gradlaw.store.store import Store
from gradlaw.table import Column, Table
from gradlaw.trial import State
from gradlaw_analysis.catalog import Catalog
from gradlaw_analysis.sql import run_sql


def rows(catalog: Catalog, query: str, **restriction: Any) -> list[tuple[Any, ...]]:
    return catalog.connection(**restriction).execute(query).fetchall()


def rows_both_ways(catalog: Catalog, query: str, **restriction: Any) -> list[tuple[Any, ...]]:
    """The same through the trusted connection and through the child that runs users' SQL."""
    found = rows(catalog, query, **restriction)
    table = run_sql(query, catalog.sources(**restriction))
    assert [tuple(row.values()) for row in table.to_pylist()] == found
    return found


def plan(store: Store, driver: ModuleType, plan_id: str, numbers: range, *probes: str) -> None:
    record = PlanRecord(
        plan_id=plan_id,
        study="toy",
        preset="demo",
        overrides={"lr": (0.1, 0.2)},
        num_seeds=len(numbers),
        declared_seeds=len(numbers),
        created_at=datetime(2026, 1, len(store.plans()) + 1, tzinfo=UTC),
        git_commit="abc",
    )
    trials = [PlannedTrial(trial_id=driver.trial_id(i), seed=i, probes=probes) for i in numbers]
    assert store.write_plan(record, trials)


def test_an_empty_store_has_every_view_with_its_columns(store: Store, driver: ModuleType) -> None:
    catalog = Catalog(store)
    for view in ("trials", "metrics", "metrics_live", "plans", "locks", "verdicts"):
        assert rows(catalog, f"SELECT * FROM {view}") == []
    described = (
        catalog.connection().execute("SELECT column_name, column_type FROM (DESCRIBE metrics)").fetchall()
    )
    assert described == [
        ("trial_id", "VARCHAR"), ("pack_id", "VARCHAR"), ("attempt", "INTEGER"),
        ("step", "BIGINT"), ("loss", "DOUBLE"),
    ]  # fmt: skip
    store.writer("toy", "p", tables=(driver.NOISE,), hyperparameters={"lr": 0.1})
    catalog = Catalog(store)
    assert rows_both_ways(catalog, "SELECT value, note FROM noise") == []
    assert rows(catalog, "SELECT lr FROM trials") == []


def test_views_hold_what_was_written(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0, 1], reason="r", versions={"torch": "2"}, probes=("b", "a"))
    catalog = Catalog(store)
    [trial] = catalog.connection().execute("SELECT * FROM trials WHERE seed = 1").df().to_dict("records")
    assert trial == {
        "study": "toy", "trial_id": driver.trial_id(1), "pack_id": "p", "attempt": 0, "seed": 1,
        "state": "done", "reason": "r", "task": "toy@1", "rule": "sgd@1", "schedule": "constant@1",
        "dtype": "float32", "steps": 5, "data_digest": "", "steps_done": 5, "wall_s": 0.25,
        "device": "cpu", "mode": "eager", "pack_width": 2, "threads": 1, "host": "here",
        "versions": '{"torch": "2"}', "git_commit": "", "source_digest": "", "probes": '["a", "b"]',
        "num_probes": 2, "started_at": datetime(2026, 1, 2, 3, 4, 5), "batch_size": 4, "lr": 0.5,
        "nesterov": False, "sampling": "iid",
    }  # fmt: skip
    assert rows_both_ways(catalog, "SELECT step, loss FROM metrics ORDER BY trial_id, step") == [
        (step, driver.loss(number, step)) for number in (0, 1) for step in range(driver.STEPS)
    ]
    assert rows(catalog, "SELECT value, note FROM noise ORDER BY 1") == [(0.0, None), (1.0, None)]
    assert catalog.files() == [f"{table}/study=toy/p-0.parquet" for table in ("metrics", "noise", "trials")]


def test_columns_join_by_name(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0], hyperparameters={"lr": 0.5})
    columns = (
        Column(name="step", type="int64"),
        Column(name="loss", type="float64"),
        Column(name="norm", type="float32"),
    )
    with store.writer("toy", "q") as writer:
        table = Table(name="metrics", grain="step", columns=columns)
        values = {"trial_id": ["b"], "step": [0], "loss": [0.1], "norm": np.ones(1, np.float32)}
        writer.append(table, values)
        writer.commit([driver.row(1, trial_id="b", hyperparameters={"width": 3})])
    catalog = Catalog(store)
    assert rows_both_ways(catalog, "SELECT lr, width FROM trials ORDER BY seed") == [(0.5, None), (None, 3)]
    assert rows(catalog, "SELECT loss, norm FROM metrics ORDER BY norm, loss DESC LIMIT 2") == [
        (0.1, 1.0),
        (4 / 8, None),
    ]


def test_of_a_trial_in_several_commits_one_is_seen(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "q", [0, 1], state=State.ERROR)
    driver.write_pack(store, "q", [0, 1])
    driver.write_pack(store, "p", [1, 2])
    catalog = Catalog(store)
    assert rows(catalog, "SELECT seed, pack_id, attempt, state FROM trials ORDER BY ALL") == [
        (0, "q", 1, "done"),
        (1, "p", 0, "done"),
        (2, "p", 0, "done"),
    ]
    for table in ("metrics", "noise"):
        assert rows(catalog, f"SELECT DISTINCT trial_id, pack_id, attempt FROM {table} ORDER BY ALL") == [
            (driver.trial_id(0), "q", 1),
            (driver.trial_id(1), "p", 0),
            (driver.trial_id(2), "p", 0),
        ]


def test_restricted_to_a_plan_and_to_trials(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", range(4))
    driver.write_pack(store, "q", [4], state=State.ERROR)
    plan(store, driver, "small", range(1, 6))
    plan(store, driver, "large", range(9))
    catalog = Catalog(store)
    query = "SELECT seed, state FROM trials ORDER BY 1"
    assert rows_both_ways(catalog, query, plan_id="small") == [
        (1, "done"),
        (2, "done"),
        (3, "done"),
        (4, "error"),
    ]
    assert rows(catalog, "SELECT value FROM noise ORDER BY 1", plan_id="small") == [(1,), (2,), (3,), (4,)]
    passed = [driver.trial_id(number) for number in (0, 2, 3)]
    assert rows(catalog, query, plan_id="small", trial_ids=passed) == [(2, "done"), (3, "done")]
    assert rows(catalog, query, trial_ids=passed) == [(0, "done"), (2, "done"), (3, "done")]
    assert rows(catalog, query, trial_ids=[]) == []
    with pytest.raises(UnknownNameError, match=r"unknown plan 'smal'; did you mean 'small'\?"):
        catalog.sources("smal")


def test_a_plan_reads_the_files_that_hold_its_trials(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0, 1])
    driver.write_pack(store, "q", [2, 3])
    plan(store, driver, "whole", [0, 1])
    plan(store, driver, "half", [2])
    catalog = Catalog(store)

    def read(plan_id: str) -> tuple[list[str], bool]:
        found = {source.name: source for source in catalog.sources(plan_id)}
        names = [file.rpartition("/")[2] for file in found["_files_metrics"].files or ()]
        return names, "JOIN" in (found["metrics"].sql or "")

    assert read("whole") == (["p-0.parquet"], False)
    assert read("half") == (["q-0.parquet"], True)
    query = "SELECT DISTINCT trial_id FROM metrics ORDER BY 1"
    assert rows(catalog, query, plan_id="whole") == [(driver.trial_id(0),), (driver.trial_id(1),)]
    assert rows(catalog, query, plan_id="half") == [(driver.trial_id(2),)]


def test_a_plan_sees_the_rows_measured_with_its_probes(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0, 1], probes=("a", "b"))
    driver.write_pack(store, "q", [0], study="other", probes=("c",))
    plan(store, driver, "ab", range(2), "a")
    plan(store, driver, "c", range(2), "c")
    catalog = Catalog(store)
    query = "SELECT DISTINCT seed, pack_id FROM trials JOIN noise USING (trial_id, pack_id) ORDER BY ALL"
    assert rows(catalog, query) == [(0, "p"), (1, "p")]
    assert rows(catalog, query, plan_id="ab") == [(0, "p"), (1, "p")]
    assert rows(catalog, query, plan_id="c") == [(0, "q"), (1, "p")]


def test_live_rows_are_seen_until_the_commit(store: Store, driver: ModuleType) -> None:
    plan(store, driver, "one", range(1))
    with store.writer("toy", "p") as writer:
        driver.fill(writer, [0, 1])
        catalog = Catalog(store)
        query = "SELECT count(*), count(DISTINCT trial_id) FROM metrics_live"
        assert rows(catalog, query) == [(2 * driver.STEPS, 2)]
        assert rows_both_ways(catalog, query, plan_id="one") == [(driver.STEPS, 1)]
        assert rows(catalog, "SELECT * FROM metrics") == []
        writer.commit([driver.row(0), driver.row(1)])
    # A catalog is a moment: the one from before still answers, a new one sees the commit.
    assert rows(catalog, query) == [(2 * driver.STEPS, 2)]
    assert rows(Catalog(store), query) == [(0, 0)]
    assert rows(Catalog(store), "SELECT count(*) FROM metrics") == [(2 * driver.STEPS,)]


@pytest.mark.parametrize(("state", "seen"), [("done", [1]), ("failed", [0, 1]), ("lost", [0, 1])])
def test_live_rows_of_a_trial_end_with_it(
    state: str, seen: list[int], store: Store, driver: ModuleType
) -> None:
    """A pack that nobody runs again left its part behind; another pack has one of its trials."""
    with store.writer("toy", "cut_otherwise") as writer:
        driver.fill(writer, [0, 1])
    driver.write_pack(store, "p", [0], state=State(state))
    query = "SELECT DISTINCT floor(loss) FROM metrics_live ORDER BY ALL"
    assert rows_both_ways(Catalog(store), query) == [(number,) for number in seen]


def test_plans_locks_and_verdicts(store: Store, driver: ModuleType) -> None:
    plan(store, driver, "b-1", range(2), "x")
    plan(store, driver, "a-1", range(1))
    store.append_lock("toy", {"kind": "claims", "digest": "d"})
    store.append_verdict("toy", {"claim": "c"})
    catalog = Catalog(store)
    assert [record.plan_id for record in catalog.plans] == ["b-1", "a-1"]
    query = "SELECT plan_id, trial_id, seed, probes, study, kind, num_seeds, overrides, created_at FROM plans"
    both = [("b-1", driver.trial_id(i), i, '["x"]', "toy", "confirm", 2) for i in (0, 1)]
    assert rows(catalog, f"{query} WHERE plan_id = 'b-1' ORDER BY seed") == [
        (*row, '{"lr": [0.1, 0.2]}', datetime(2026, 1, 1)) for row in both
    ]
    [(study, number, kind, document)] = rows_both_ways(catalog, "SELECT * FROM locks")
    assert (study, number, kind) == ("toy", 1, "claims")
    assert json.loads(document) == {"kind": "claims", "digest": "d", "number": 1}
    assert rows(catalog, "SELECT number, kind FROM verdicts") == [(1, None)]


@pytest.mark.parametrize(
    "statement",
    [
        "COPY (SELECT 1) TO '{}/x.csv'",
        "SELECT * FROM read_parquet('{}/store/trials/study=toy/p-0.parquet')",
        "SELECT * FROM '{}/store/trials/study=toy/p-0.parquet'",
        "ATTACH '{}/x.db'",
        "SET threads = 1",
        "SET enable_external_access = true",
    ],
)
def test_the_connection_reaches_nothing_but_the_views(
    statement: str, store: Store, driver: ModuleType, tmp_path: Path
) -> None:
    driver.write_pack(store, "p", [0])
    connection = Catalog(store).connection()
    with pytest.raises(duckdb.Error, match=r"disabled|locked"):
        connection.execute(statement.format(tmp_path))


def test_errors_are_told(tmp_path: Path, store: Store) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        Catalog(tmp_path / "none")
    with pytest.raises(QueryError, match="trails"):
        run_sql("SELECT * FROM trails", Catalog(store).sources())
