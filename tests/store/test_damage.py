"""Corrupt, truncated, missing and foreign files: named, set aside, the rest readable, then run again."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gradlaw.errors import StoreError, UnknownNameError
from gradlaw.store.compaction import compact
from gradlaw.store.plans import PlannedTrial, PlanRecord
from gradlaw.store.store import Store
from gradlaw_analysis.catalog import Catalog


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    """One bit of the first page, the size as before."""
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(bytes(data))


def replace(file: Path) -> None:
    pq.write_table(pa.table({"trial_id": ["x"], "step": [1]}), file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


DAMAGES = [truncate, flip, replace, empty, Path.unlink]


def held(path: Path) -> list[str]:
    return [
        row[0]
        for row in Catalog(path).connection().execute("SELECT trial_id FROM trials ORDER BY 1").fetchall()
    ]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("table", ["trials", "metrics", "noise"])
def test_a_damaged_file_takes_its_commit_and_no_other(
    damage: Callable[[Path], None], table: str, tmp_path: Path, driver: ModuleType
) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    file = path / table / "study=toy" / "p4x0x0-0.parquet"
    damage(file)
    catalog = Catalog(path)
    if (damage, table) == (Path.unlink, "trials"):
        assert catalog.set_aside == ()  # without its commit a pack was never there
    else:
        assert [item.path for item in catalog.set_aside] == [str(file)]
        assert catalog.set_aside[0].reason
        if table != "trials":
            assert (
                "so the whole commit trials/study=toy/p4x0x0-0.parquet is set aside"
                in catalog.set_aside[0].reason
            )
    assert held(path) == [driver.trial_id(number) for number in range(4, 8)]
    assert catalog.connection().execute("SELECT count(*) FROM metrics").fetchone() == (4 * driver.STEPS,)
    assert driver.drive(path, 8, 4) == 4
    assert held(path) == [driver.trial_id(number) for number in range(8)]


def test_without_verification_sizes_and_marks_are_still_compared(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 4, 4)
    file = path / "metrics" / "study=toy" / "p4x0x0-0.parquet"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"X")
    [named] = Store.open(path).resolve(verify=False).set_aside
    assert "not a Parquet file" in named.reason
    file.write_bytes(data[:-4])
    [named] = Store.open(path).resolve(verify=False).set_aside
    assert f"it has {len(data) - 4} bytes, its commit says {len(data)}" in named.reason


@pytest.mark.parametrize(
    "key",
    ["trials/x.parquet", "metrics/study=toy/readme.txt", "trials/study=toy/a/b-0.parquet", "other/x.csv"],
)
def test_foreign_files_are_named(key: str, tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 4, 4)
    (path / key).parent.mkdir(exist_ok=True, parents=True)
    replace(path / key)
    assert [(item.path, item.reason) for item in Catalog(path).set_aside] == [
        (str(path / key), "it was not written by this store")
    ]
    assert len(held(path)) == 4


@pytest.mark.parametrize("key", [".DS_Store", "metrics/.nfs0001", "report.html"])
def test_what_systems_and_reports_leave_is_no_concern(key: str, tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 4, 4)
    (path / key).write_text("x")
    assert Catalog(path).set_aside == ()


def test_a_foreign_file_under_a_commit_name_is_no_commit(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 4, 4)
    own = path / "trials" / "study=toy" / "p4x0x0-0.parquet"
    (own.parent / "copy-0.parquet").write_bytes(own.read_bytes())
    [named] = Catalog(path).set_aside
    assert named.path.endswith("copy-0.parquet")
    assert "no commit of the pack and study its name says" in named.reason


def test_a_file_of_another_schema_version_is_set_aside(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    file = path / "trials" / "study=toy" / "p4x0x0-0.parquet"
    rows = pq.ParquetFile(file).read()
    metadata = {**rows.schema.metadata, b"gradlaw.schema_version": b"99"}
    pq.write_table(rows.replace_schema_metadata(metadata), file)
    [named] = Catalog(path).set_aside
    assert "schema version 99, allowed 1" in named.reason
    assert len(held(path)) == 4


@pytest.mark.parametrize("table", ["trials", "metrics"])
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_of_a_damaged_generation_the_commits_count_again(
    table: str, damage: Callable[[Path], None], tmp_path: Path, driver: ModuleType
) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    compact(Store.open(path))
    [file] = path.glob(f"_generations/1/*-{table}.parquet")
    damage(file)
    catalog = Catalog(path)
    assert [item.path for item in catalog.set_aside] == [str(file)]
    assert len(held(path)) == 8
    assert len(catalog.resolved.units) == 2
    driver.drive(path, 12, 4)
    compact(Store.open(path))
    assert len(held(path)) == 12
    assert len(Catalog(path).resolved.units) == 1


def test_of_a_damaged_generation_without_commits_the_trials_run_again(
    tmp_path: Path, driver: ModuleType
) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    for _ in range(4):
        compact(Store.open(path), keep_s=0.0)
    assert list(path.glob("trials/*/*")) == []
    [file] = path.glob("_generations/1/*-metrics.parquet")
    flip(file)
    assert (held(path), len(Catalog(path).set_aside)) == ([], 1)
    assert driver.drive(path, 8, 4) == 8
    assert len(held(path)) == 8


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_of_a_damaged_part_a_good_copy_may_be_put_back_at_any_time(
    damage: Callable[[Path], None], tmp_path: Path, driver: ModuleType
) -> None:
    """Whatever is merged after it; and it is given up once none of its files is there."""
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    for _ in range(4):
        compact(Store.open(path), keep_s=0.0)
    [file] = path.glob("_generations/1/*-metrics.parquet")
    good = file.read_bytes()
    damage(file)
    for number in range(8, 24, 4):
        driver.write_pack(Store.open(path), f"later{number}", list(range(number, number + 4)))
        compact(Store.open(path), keep_s=0.0)
    assert held(path) == [driver.trial_id(number) for number in range(8, 24)]
    assert [item.path for item in Catalog(path).set_aside] == [str(file)]

    copy = tmp_path / "given up"
    shutil.copytree(path, copy)
    for lost in copy.glob("_generations/1/*"):
        lost.unlink()
    compact(Store.open(copy), keep_s=0.0)
    assert Catalog(copy).set_aside == ()
    assert not (copy / "_generations" / "1.json").exists()

    file.write_bytes(good)
    assert len(held(path)) == 24
    compact(Store.open(path), keep_s=0.0)
    driver.write_pack(Store.open(path), "last", [24])
    for _ in range(2):
        compact(Store.open(path), keep_s=0.0)
    assert len(held(path)) == 25
    assert Catalog(path).set_aside == ()


def test_a_damaged_manifest_is_named(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    compact(Store.open(path))
    (path / "_generations" / "1.json").write_text('{"schema_version": 1')
    [named] = Catalog(path).set_aside
    assert "it is no manifest" in named.reason
    assert len(held(path)) == 8
    compact(Store.open(path))
    assert len(held(path)) == 8


def test_compaction_leaves_a_damaged_file_where_it_is(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    store = Store.open(path)
    store.resolve()  # verified before the damage: only reading it again can tell
    file = path / "noise" / "study=toy" / "p4x0x0-0.parquet"
    flip(file)
    done = compact(store)
    assert done.merged == 1
    assert [item.path for item in done.set_aside] == [str(file)]
    assert f"set aside: {file}" in str(done)
    assert held(path) == [driver.trial_id(number) for number in range(4, 8)]


def test_a_commit_that_is_cut_is_named_by_a_store_that_read_it_before(
    tmp_path: Path, driver: ModuleType
) -> None:
    driver.drive(tmp_path, 8, 4)
    store = Store.open(tmp_path)
    assert store.resolve().set_aside == ()
    file = tmp_path / "trials" / "study=toy" / "p4x0x0-0.parquet"
    good = file.read_bytes()
    truncate(file)
    assert [item.path for item in store.resolve().set_aside] == [str(file)]
    file.write_bytes(good)
    assert store.resolve().index.num_rows == 8


def test_a_damaged_live_part_is_named(store: Store, driver: ModuleType) -> None:
    with store.writer("toy", "p") as writer:
        driver.fill(writer, [0])
        [first, *_] = sorted(store.files.root.glob("_live/*"))
        empty(first)
        catalog = Catalog(store)
        assert [item.path for item in catalog.set_aside] == [str(first)]
        rows = catalog.connection().execute("SELECT count(*) FROM metrics_live").fetchone()
        assert rows == (driver.STEPS - 1,)


def test_damaged_plans_and_locks_are_named(store: Store, driver: ModuleType) -> None:
    record = PlanRecord(
        plan_id="demo-1", study="toy", preset="demo", num_seeds=1, declared_seeds=1,
        created_at=driver.row(0).started_at,
    )  # fmt: skip
    store.write_plan(record, [PlannedTrial(trial_id="x", seed=0)])
    assert not store.write_plan(record, [])
    replace(store.files.root / "plans" / "demo-2.parquet")
    store.append_lock("toy", {"kind": "claims"})
    lock = store.files.root / "locks" / "toy" / "0001.json"
    lock.write_text("[")
    catalog = Catalog(store)
    assert [plan.plan_id for plan in catalog.plans] == ["demo-1"]
    reasons = " ".join(item.reason for item in catalog.set_aside)
    assert "demo-2.parquet" in reasons
    assert str(lock) in reasons
    assert [plan.plan_id for plan in store.plans()] == ["demo-1"]
    with pytest.raises(UnknownNameError, match=r"unknown plan 'demo-3'.*known: demo-1"):
        store.plan("demo-3")
    with pytest.raises(StoreError, match="demo-2"):
        store.plan("demo-2")
    with pytest.raises(StoreError, match=r"demo-2\.parquet holds no plan .*; move it out of the store"):
        store.write_plan(dataclasses.replace(record, plan_id="demo-2"), [])


def test_a_damaged_registration_is_named(store: Store, driver: ModuleType) -> None:
    driver.write_pack(store, "p", [0])
    (store.files.root / "schemas" / "noise.json").write_text("{")
    with pytest.raises(StoreError, match=r"noise\.json is damaged"):
        store.tables()
