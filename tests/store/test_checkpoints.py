"""Checkpoints where the store fails in the middle."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from gradlaw.errors import StoreError
from gradlaw.store.checkpoints import PackCheckpoints
from gradlaw.store.store import Store


def test_an_older_checkpoint_that_cannot_be_deleted_ends_no_others(
    store: Store, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(key: str) -> None:
        msg = f"cannot delete {key}"
        raise StoreError(msg)

    with store.writer("toy", "p", tables=[driver.METRICS]) as writer:
        with PackCheckpoints(store.files, writer, [driver.METRICS], every_s=1.0) as kept:
            kept.keep({"at": 1}, {"a": np.ones(2)})
            with monkeypatch.context() as broken:
                broken.setattr(store.files, "delete", refused)
                kept.keep({"at": 2}, {"a": np.full(2, 2.0)})
            kept.keep({"at": 3}, {"a": np.full(2, 3.0)})
            assert kept.notes == []
        with PackCheckpoints(store.files, writer, [driver.METRICS], every_s=1.0) as again:
            found = again.find(lambda content: "")
    assert found is not None
    assert found[0] == {"at": 3}
    assert found[1]["a"].tolist() == [3.0, 3.0]
