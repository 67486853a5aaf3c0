"""The rate that status tells: of all packs committed of late, of which few are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from store_driver import row, trial_id

from gradlaw.store.compaction import compact
from gradlaw.store.plans import PlannedTrial, PlanRecord
from gradlaw.store.store import Store
from gradlaw_analysis import open_store

NUM_PACKS = 12


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Packs of two trials, one of which is the plan's; each took an hour, side by side."""
    store = Store.create(tmp_path)
    began = datetime.now(UTC) - timedelta(hours=1)
    for pack in range(NUM_PACKS):
        with store.writer("toy", f"p{pack}") as writer:
            members = (2 * pack, 2 * pack + 1)
            writer.commit([row(number, started_at=began, wall_s=1800.0) for number in members])
    record = PlanRecord(
        plan_id="p", study="toy", preset="demo", num_seeds=1, declared_seeds=1, created_at=began
    )
    planned = [PlannedTrial(trial_id=trial_id(number), seed=number) for number in range(0, 60, 2)]
    store.write_plan(record, planned)
    return store


def rate(store: Store) -> float | None:
    (plan,) = open_store(store.path).status().plans
    return plan.trials_per_s


@pytest.mark.parametrize("read", [200, 5, 1])
def test_it_does_not_depend_on_how_many_files_are_read(
    read: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradlaw_analysis.status.READ", read)
    assert rate(store) == pytest.approx(NUM_PACKS / 600.0)  # packs that began before the window: all of it


def test_a_merged_file_that_is_damaged_is_not_missed(store: Store) -> None:
    compact(store)
    torn = Path(store.path) / "trials" / "study=toy" / "p0-0.parquet"
    torn.write_bytes(b"torn")
    assert rate(store) == pytest.approx((NUM_PACKS - 1) / 600.0)
