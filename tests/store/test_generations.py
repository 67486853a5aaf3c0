"""Numbers of generations: what stands in the way of the next one is named; what is none is passed over."""

from __future__ import annotations

import json
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
