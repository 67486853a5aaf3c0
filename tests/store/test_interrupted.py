"""A commit and a generation that end at any point are whole, or were never there."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from gradlaw.errors import StoreError
from gradlaw.store import local
from gradlaw.store.compaction import compact
from gradlaw.store.store import Store


def _fails_after(monkeypatch: pytest.MonkeyPatch, error: BaseException, *parts: str) -> None:
    """An error comes when a file in this folder has just appeared."""
    synced = local._sync_folders

    def sync(folder: Path, last: Path) -> None:
        synced(folder, last)
        if folder.parts[-len(parts) :] == parts:
            raise error

    monkeypatch.setattr(local, "_sync_folders", sync)


@pytest.mark.parametrize(("part", "held"), [("noise", 0), ("trials", 2)])
@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(5, "no"), StoreError)]
)
def test_whenever_it_ends_a_commit_is_whole_or_nothing(
    part: str,
    held: int,
    error: BaseException,
    raised: type[BaseException],
    store: Store,
    driver: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        _fails_after(patched, error, part, "study=toy")
        with pytest.raises(raised):
            driver.write_pack(store, "p", [0, 1])
    assert store.resolve(verify=True).set_aside == ()
    assert len(store.index()) == held


def test_whenever_it_ends_a_generation_is_whole(
    store: Store, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        driver.write_pack(store, f"p{number}", [number])
    with monkeypatch.context() as patched:
        _fails_after(patched, OSError(5, "no"), "_generations")
        with pytest.raises(StoreError):
            compact(store)
    assert store.resolve(verify=True).set_aside == ()
    assert len(store.index()) == 3
