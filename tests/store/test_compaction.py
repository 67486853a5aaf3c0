"""Compaction: the same answers before, during and after; what readers still need stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest

from gradlaw.store.compaction import compact
from gradlaw.store.store import Store
from gradlaw.table import Column, Table
from gradlaw_analysis.catalog import Catalog

ANSWERS = (
    "SELECT * FROM trials ORDER BY ALL",
    "SELECT * FROM metrics ORDER BY ALL",
    "SELECT * FROM noise ORDER BY ALL",
)


def answers(path: Path) -> list[list[tuple[object, ...]]]:
    connection = Catalog(path).connection()
    return [connection.execute(query).fetchall() for query in ANSWERS]


def age(path: Path, seconds: float) -> None:
    """Makes every file of the store older."""
    for file in path.rglob("*"):
        stat = file.stat()
        os.utime(file, (stat.st_atime - seconds, stat.st_mtime - seconds))


def test_answers_do_not_change(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 24, 4)
    driver.write_pack(Store.open(path), "late", [3, 4], study="other")
    before = answers(path)
    done = compact(Store.open(path))
    assert (done.generation, done.merged, done.deleted) == (1, 7, 0)
    assert answers(path) == before
    resolved = Store.open(path).resolve()
    assert [(unit.study, len(unit.packs)) for unit in resolved.units] == [("other", 1), ("toy", 6)]
    [file] = [key for key in resolved.keys("metrics") if "-1-" in key]
    rows = pq.ParquetFile(path / file).read(["trial_id", "step"]).to_pylist()
    assert rows == sorted(rows, key=lambda row: (row["trial_id"], row["step"]))
    assert str(compact(Store.open(path))) == "generation 1: 0 packs merged, 0 files deleted"


def test_only_new_packs_are_merged_and_large_parts_are_carried(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    compact(Store.open(path), part_bytes=1)
    first = set(Store.open(path).resolve().keys("metrics"))
    assert len(first) == 2
    driver.drive(path, 12, 4)
    before = answers(path)
    assert compact(Store.open(path), part_bytes=1).merged == 1
    second = set(Store.open(path).resolve().keys("metrics"))
    assert (first < second, len(second)) == (True, 3)
    assert answers(path) == before
    driver.drive(path, 16, 4)
    compact(Store.open(path))
    assert len(Store.open(path).resolve().keys("metrics")) == 1


def test_inputs_stay_for_two_generations_and_an_hour(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    for generation in (1, 2, 3):
        driver.drive(path, 4 * generation, 4)
        assert compact(Store.open(path)).deleted == 0  # young, however many generations
    old = answers(path)
    inputs = {str(file.relative_to(path)) for file in path.glob("*/study=toy/*")}
    assert len(inputs) == 9
    age(path, 3700)
    driver.drive(path, 16, 4)
    done = compact(Store.open(path))
    assert (done.generation, done.deleted) == (4, 6 + 2 * 4)  # packs of generations 1, 2; files of 1, 2
    left = {str(file.relative_to(path)) for file in path.glob("*/study=toy/*")}
    assert inputs & left == {key for key in inputs if "x8-0" in key}
    assert [rows[: len(known)] for rows, known in zip(answers(path), old, strict=True)] == old


def test_a_late_commit_of_a_merged_pack_stays_a_loser(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 4, 4)
    before = answers(path)
    compact(Store.open(path))
    driver.write_pack(Store.open(path), "p4x0x0", range(4))
    assert answers(path) == before
    compact(Store.open(path))
    assert answers(path) == before


@pytest.mark.slow
def test_two_compactions_at_once(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    for round_ in (1, 2, 3):
        driver.drive(path, 16 * round_, 4)
        before = answers(path)
        children = [driver.spawn(path, "compact") for _ in range(2)]
        assert [child.wait(60) for child in children] == [0, 0]
        assert answers(path) == before
        assert Catalog(path).set_aside == ()
    listed = {file for unit in Store.open(path).resolve().units for file in unit.files}
    kept = {key for key in Store.open(path).files.scan("_generations") if key.endswith(".parquet")}
    assert {file.key for file in listed} <= kept


def test_one_of_two_that_make_the_same_generation_cleans_up(
    tmp_path: Path, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    create = Store.open(path).files.create
    slow = Store.open(path)

    def overtaken(key: str, data: bytes) -> bool:
        compact(Store.open(path))  # another one is faster, between the slow one's files and its manifest
        return create(key, data)

    monkeypatch.setattr(slow.files, "create", overtaken)
    assert compact(slow).merged == 0
    assert len(list(path.glob("_generations/*/*"))) == 3
    assert len(Store.open(path).resolve().units) == 1


def test_columns_join_by_name_and_the_wider_float_wins(store: Store, driver: ModuleType) -> None:
    columns = (
        Column(name="step", type="int64"),
        Column(name="loss", type="float64"),
        Column(name="sharpness", type="float32"),
    )
    double = Table(name="metrics", grain="step", columns=columns)
    driver.write_pack(store, "p", [0])
    with store.writer("toy", "q") as writer:
        rows = {"trial_id": ["b"], "step": [0], "loss": [0.1], "sharpness": np.ones(1, np.float32)}
        writer.append(double, rows)
        writer.commit([driver.row(1, trial_id="b", hyperparameters={"width": 3})])
    before = answers(store.path)
    compact(store)
    assert answers(store.path) == before
    query = (
        "SELECT step, loss, sharpness, width FROM metrics JOIN trials USING (trial_id) WHERE trial_id = 'b'"
    )
    assert Catalog(store).connection().execute(query).fetchall() == [(0, 0.1, 1.0, 3)]


def test_what_killed_compactions_and_writers_left_is_swept(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    driver.drive(path, 8, 4)
    assert driver.killed(path, "compact", fault="compaction_before_manifest:1")
    assert driver.killed(path, "run", 12, 4, fault="between_files:1")
    (path / "_tmp" / "died").write_text("rows of a writer that was killed")
    compact(Store.open(path))
    assert len(list(path.glob("_generations/1/*"))) == 6
    assert list(path.glob("_tmp/*"))
    age(path, 2 * 86_400)
    compact(Store.open(path))
    assert len(list(path.glob("_generations/1/*"))) == 3
    assert list(path.glob("_tmp/*")) == []
    assert list(path.glob("_live/*")) == []
    assert Catalog(path).set_aside == ()


READER = """
import os, sys, time
from pathlib import Path
from gradlaw_analysis.catalog import Catalog
path, stop, told = map(Path, sys.argv[1:])
rounds = last = longest_s = 0
while not stop.exists():
    began = time.monotonic()
    catalog = Catalog(path)
    connection = catalog.connection()
    assert catalog.set_aside == (), catalog.set_aside
    count = lambda what: connection.execute(f"SELECT count(*), count(DISTINCT {what}").fetchone()
    trials, distinct = count("trial_id) FROM trials")
    metrics, keys = count("(trial_id, step)) FROM metrics")
    connection.execute("SELECT count(*) FROM metrics_live").fetchone()
    assert trials == distinct and metrics == keys == 5 * trials, (trials, distinct, metrics, keys)
    assert trials >= last
    last, rounds = trials, rounds + 1
    longest_s = max(longest_s, time.monotonic() - began)
    whole = told.with_suffix(".new")
    whole.write_text(f"{rounds} {longest_s}")
    os.replace(whole, told)
print(last)
"""


@pytest.mark.slow
def test_readers_see_every_row_once_while_packs_are_written_and_merged(
    tmp_path: Path, driver: ModuleType
) -> None:
    path, stop = tmp_path / "store", tmp_path / "stop"
    driver.drive(path, 20, 4)
    command, told = [sys.executable, "-c", READER, str(path), str(stop)], [tmp_path / "a", tmp_path / "b"]
    readers = [subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, text=True) for file in told]

    def of_readers() -> list[tuple[int, float]]:
        """The rounds that each has made, and how long the longest took; zeros before the first."""
        said = [file.read_text().split() if file.exists() else ("0", "0") for file in told]
        return [(int(rounds), float(longest_s)) for rounds, longest_s in said]

    compactions = deleted = 0
    limit, num = time.monotonic() + 300.0, 20
    while min(rounds for rounds, _ in of_readers()) < 5 or compactions < 5 or not deleted:
        assert time.monotonic() < limit, (of_readers(), compactions, deleted)
        assert [reader.poll() for reader in readers] == [None, None]
        num += 8
        driver.drive(path, num, 4)
        # Readers hold files for less than a round; an hour is only the default.
        rounds_s = [longest_s for _, longest_s in of_readers()]
        keep_s = max(1.0, 10.0 * max(rounds_s)) if all(rounds_s) else 3600.0
        done = compact(Store.open(path), keep_s=keep_s)
        compactions, deleted = compactions + (done.merged > 0), deleted + done.deleted
    stop.touch()
    for reader in readers:
        output, _ = reader.communicate(timeout=120)
        assert reader.returncode == 0
        assert int(output) <= num
    assert len(Store.open(path).index()) == num
