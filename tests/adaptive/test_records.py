"""Rounds as files: written once, in order, named where they are damaged or missing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gradlaw.errors import StoreError
from gradlaw.store import paths
from gradlaw.store.plans import PLAN_SCHEMA, PlannedTrial, PlanRecord
from gradlaw.store.store import Store
from gradlaw_analysis.catalog import Catalog

PLAIN = PlannedTrial("a" * 20, 0, ("probe@1:x",))
ASKED = PlannedTrial("b" * 20, 2_000_000, (), "tuning", "contest", "sgd", 3, 0, '{"lr": 0.1}')


def record(plan_id: str, *, is_open: bool = True) -> PlanRecord:
    return PlanRecord(
        plan_id=plan_id,
        study="toy",
        preset="demo",
        num_seeds=1,
        declared_seeds=1,
        created_at=datetime(2026, 1, 2),
        is_open=is_open,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path)
    made.write_plan(record("demo_1"), [PLAIN])
    assert made.write_round("demo_1", 0, [ASKED])
    return made


def test_a_round_is_written_once_and_read_in_order(store: Store) -> None:
    other = ASKED._replace(trial_id="c" * 20, round=1)
    assert not store.write_round("demo_1", 0, [other])
    assert store.write_round("demo_1", 1, [other])
    rows = store.plan("demo_1")[1].to_pylist()
    assert [row["trial_id"][0] for row in rows] == ["a", "b", "c"]
    assert [row["round"] for row in rows] == [None, 0, 1]
    assert rows[1] == {
        "plan_id": "demo_1",
        **ASKED._asdict(),
        "probes": "[]",
    }


def test_a_plan_is_open_until_it_is_closed(store: Store) -> None:
    assert [plan.is_open for plan in store.plans()] == [True]
    assert not store.is_closed("demo_1")
    store.close_plan("demo_1")
    store.close_plan("demo_1")
    assert [plan.is_open for plan in store.plans()] == [False]
    assert store.plan("demo_1")[0].is_open is False
    store.write_plan(record("demo_2", is_open=False), [PLAIN])
    assert [plan.is_open for plan in store.plans()] == [False, False]


def test_the_view_holds_every_round(store: Store) -> None:
    found = (
        Catalog(store).connection().execute("SELECT role, number, is_open FROM plans ORDER BY 1").fetchall()
    )
    assert found == [("tuning", 3, True), (None, None, True)]


def test_a_damaged_round_is_named_and_the_rest_stays_readable(store: Store) -> None:
    store.write_plan(record("demo_2", is_open=False), [PLAIN])
    (store.files.root / paths.plan_round("demo_1", 0)).write_bytes(b"PAR1 but not really")
    catalog = Catalog(store)
    assert [plan.plan_id for plan in catalog.plans] == ["demo_2"]
    assert any("0.parquet holds no round" in item.reason for item in catalog.set_aside)
    assert catalog.connection().execute("SELECT count(*) FROM plans").fetchone() == (1,)
    with pytest.raises(StoreError, match=r"0\.parquet holds no round .*restore it from a copy"):
        store.plan("demo_1")


def test_a_missing_round_is_named(store: Store) -> None:
    store.write_round("demo_1", 2, [ASKED])
    with pytest.raises(StoreError, match=r"plan demo_1: got rounds \[0, 2\], allowed none missing"):
        store.rounds("demo_1")


def test_a_plan_of_before_rounds_is_read(store: Store) -> None:
    """Its file has the first four columns alone, and its record says nothing of rounds."""
    file = store.files.root / paths.plan("demo_1")
    table = pq.read_table(file)
    (store.files.root / paths.plan_round("demo_1", 0)).unlink()
    pq.write_table(table.select(PLAN_SCHEMA.names[:4]), file)
    rows = store.plan("demo_1")[1]
    assert rows.schema == PLAN_SCHEMA
    assert rows["role"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("plans/demo_1.parquet", paths.PlanKey("demo_1", None)),
        ("plans/demo_1/12.parquet", paths.PlanKey("demo_1", 12)),
        ("plans/demo_1/closed.json", paths.PlanKey("demo_1", paths.CLOSED)),
        ("plans/demo_1/x.parquet", None),
        ("plans/demo_1.json", None),
    ],
)
def test_keys_are_read_back(key: str, expected: paths.PlanKey | None) -> None:
    assert paths.parse_plan(key) == expected
