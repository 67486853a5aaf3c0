"""Several threads that look at one opened store at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from types import ModuleType

import pyarrow as pa
import pytest

from gradlaw.store.store import Store
from gradlaw.store.units import IndexRows


def test_a_look_does_not_take_from_another_what_is_new(
    tmp_path: Path, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.drive(tmp_path, 4, 2)
    store = Store.open(tmp_path)
    second: list[Thread] = []
    gather = IndexRows.gather

    def late(rows: IndexRows, keys: Sequence[str]) -> pa.Table:
        if not second:  # the first look has listed what there is; before it ends, there is more
            driver.write_pack(Store.open(tmp_path), "later", [4])
            second.append(Thread(target=store.resolve))
            second[0].start()
            second[0].join(0.5)  # it ends only where nothing keeps it waiting
        return gather(rows, keys)

    monkeypatch.setattr(IndexRows, "gather", late)
    assert store.resolve().index.num_rows == 4
    second[0].join()
    assert store.resolve().index.num_rows == 5
