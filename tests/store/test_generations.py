"""Generations: numbers that stand in the way, parts that cannot be read, and what manifests name twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gradlaw.errors import StoreError
from gradlaw.store.compaction import compact
from gradlaw.store.parquet import SCHEMA_VERSION
from gradlaw.store.store import Store
from gradlaw_analysis.catalog import Catalog


@pytest.mark.parametrize("parts", [[], "torn"])
def test_a_last_number_that_was_put_there_is_named_and_stops_nothing_but_merging(
    parts: object, tmp_path: Path, driver: ModuleType
) -> None:
    driver.drive(tmp_path, 4, 2)
    manifest = tmp_path / "_generations" / "999999999.json"
    manifest.parent.mkdir()
    manifest.write_text(json.dumps({"schema_version": SCHEMA_VERSION, "parts": parts}))
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        with pytest.raises(
            StoreError, match=r"999999999\.json came by other means: move it out of the store"
        ):
            compact(Store.open(tmp_path))
        assert sorted(tmp_path.rglob("*")) == before
    assert len(Store.open(tmp_path).index()) == 4
    manifest.unlink()
    assert compact(Store.open(tmp_path)).generation == 1


def test_a_number_with_more_digits_is_none(tmp_path: Path, driver: ModuleType) -> None:
    driver.drive(tmp_path, 4, 2)
    compact(Store.open(tmp_path))
    driver.drive(tmp_path, 6, 2)
    (tmp_path / "_generations" / "1000000000.json").write_text("planted")
    done = compact(Store.open(tmp_path))
    assert (done.generation, done.merged, done.set_aside) == (2, 1, ())
    assert len(Store.open(tmp_path).index()) == 6


def test_of_a_generation_with_a_damaged_part_only_that_part_stays_and_no_longer_than_asked(
    tmp_path: Path, driver: ModuleType
) -> None:
    """Though the generation after it is gone, by whose age it would have been deleted."""

    def step(number: int, part_bytes: int) -> None:
        driver.write_pack(Store.create(tmp_path), f"p{number}", [number])
        compact(Store.open(tmp_path), part_bytes=part_bytes)
        for file in tmp_path.rglob("*.*"):  # the hour for which files stay is over
            os.utime(file, (0, 0))

    for number in range(5):
        step(number, 1)
    [damaged] = tmp_path.glob("_generations/2/*-noise.parquet")
    damaged.write_bytes(b"")
    for number in range(5, 9):
        step(number, 1 << 20)  # what can be read is merged into new files
    left = {file.parent.name for file in tmp_path.glob("_generations/*/*.parquet")}
    assert left == {"2", "8", "9"}
    assert len(Store.open(tmp_path).resolve().set_aside) == 1
    for file in damaged.parent.iterdir():
        file.unlink()
    for number in range(9, 11):
        step(number, 1 << 20)
    assert {file.name for file in tmp_path.glob("_generations/*.json")} == {"10.json", "11.json"}
    assert Store.open(tmp_path).resolve().set_aside == ()
    assert len(Store.open(tmp_path).index()) == 10


def without_packs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**part, "packs": []} for part in parts]


def under_other_packs(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*parts, *({**part, "packs": [["other", 0]]} for part in parts)]


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("change", [without_packs, under_other_packs])
def test_a_file_counts_once_though_manifests_name_it_for_several_packs(
    change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
    generation: int,
    tmp_path: Path,
    driver: ModuleType,
) -> None:
    driver.drive(tmp_path, 4, 4)
    compact(Store.open(tmp_path))
    manifests = [tmp_path / "_generations" / f"{number}.json" for number in (1, 2)]
    document = json.loads(manifests[0].read_text())
    manifests[1].write_text(json.dumps(document))
    manifests[generation - 1].write_text(json.dumps({**document, "parts": change(document["parts"])}))
    catalog = Catalog(tmp_path)
    assert len(catalog.set_aside) == 1
    assert catalog.connection().execute(
        "SELECT count(*), count(DISTINCT trial_id) FROM trials"
    ).fetchall() == [(4, 4)]
    resolved = catalog.resolved
    assert resolved.holding(resolved.wins()) == resolved.units


def test_of_a_file_that_an_older_generation_has_for_other_packs_the_newer_counts(
    tmp_path: Path, driver: ModuleType
) -> None:
    driver.drive(tmp_path, 4, 4)
    compact(Store.open(tmp_path))
    older = tmp_path / "_generations" / "1.json"
    document = json.loads(older.read_text())
    (tmp_path / "_generations" / "2.json").write_text(json.dumps(document))
    parts = [{**part, "packs": [["other", 0]]} for part in document["parts"]]
    older.write_text(json.dumps({**document, "parts": parts}))
    resolved = Store.open(tmp_path).resolve()
    assert [item.reason for item in resolved.set_aside] == ["two generations name it, each for other packs"]
    assert resolved.index.num_rows == 4
    assert resolved.holding(resolved.wins()) == resolved.units
