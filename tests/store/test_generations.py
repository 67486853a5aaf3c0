"""Numbers of generations: what stands in the way of the next one is named; what is none is passed over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from gradlaw.errors import StoreError
from gradlaw.store.compaction import compact
from gradlaw.store.parquet import SCHEMA_VERSION
from gradlaw.store.store import Store


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
