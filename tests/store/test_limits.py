"""Full disks, read-only folders and stores that are none, on real file systems."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from disks import small_disk

from gradlaw.errors import StoreError
from gradlaw.store.compaction import compact
from gradlaw.store.store import Store


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def committed(keys: Iterable[str]) -> set[str]:
    return {key for key in keys if not key.startswith(("_attempts", "_live"))}


def overfill(store: Store, driver: ModuleType) -> None:
    """Writes a pack of about 2 MB; its rows are noise, which does not compress."""
    losses = np.random.default_rng(0).integers(0, 2**31, size=500_000).astype(np.int32).view(np.float32)
    with store.writer("toy", "big") as writer:
        count = len(losses)
        rows = {"trial_id": [driver.trial_id(99)] * count, "step": np.arange(count), "loss": losses}
        writer.append(driver.METRICS, rows)
        writer.flush()
        writer.commit([driver.row(99)])


def test_a_full_disk_is_told_and_costs_only_the_pack(disk: Path, driver: ModuleType) -> None:
    path = disk / "store"
    driver.drive(path, 8, 4)
    store = Store.open(path)
    before = store.files.scan()
    with pytest.raises(StoreError, match="the disk is full: free space there and run again") as caught:
        overfill(store, driver)
    assert str(path) in str(caught.value)
    after = store.files.scan()
    assert committed(after) == committed(before)
    assert len(store.index()) == 8
    assert driver.drive(path, 12, 4) == 4
    assert (len(store.index()), store.resolve().set_aside) == (12, ())


def test_a_disk_that_fills_between_files_shows_nothing_of_the_pack(disk: Path, driver: ModuleType) -> None:
    path = disk / "store"
    driver.drive(path, 4, 4)
    store = Store.open(path)
    writer = store.writer("toy", "q")
    driver.fill(writer, [10, 11], flush=False)
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * (1 << 20))
    with pytest.raises(StoreError, match="the disk is full"):
        writer.commit([driver.row(10), driver.row(11)])
    assert [key for key in store.files.scan() if "/q-" in key and not key.startswith("_")] == []
    with pytest.raises(StoreError, match="the disk is full"):
        compact(store)
    assert store.resolve().set_aside == ()
    filler.unlink()
    assert len(Store.open(path).index()) == 4
    driver.write_pack(store, "q", [10, 11])
    assert len(store.index()) == 6


def test_a_read_only_store_is_read_and_refuses_writers(disk: Path, driver: ModuleType) -> None:
    path = disk / "store"
    driver.drive(path, 4, 4)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    store = Store.create(path)
    assert len(store.index()) == 4
    with pytest.raises(StoreError, match="the file system is read-only: choose another store"):
        store.writer("toy", "q")
    with pytest.raises(StoreError, match="read-only"):
        store.append_lock("toy", {})
    with pytest.raises(StoreError, match="read-only"):
        compact(store)
    with pytest.raises(StoreError, match=r"cannot create a store at .*: Read-only file system"):
        Store.create(disk / "other")


LIMITED = """
import importlib.util, resource, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("driver", sys.argv[1])
driver = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driver)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
driver.drive(Path(sys.argv[2]), 8, 8)
"""


def test_a_limit_on_file_sizes_is_told(tmp_path: Path, driver: ModuleType) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    path = tmp_path / "store"
    command = [sys.executable, "-c", LIMITED, str(driver.__file__), str(path)]
    child = subprocess.run(command, capture_output=True, text=True)
    assert "StoreError: cannot write" in child.stderr
    assert "raise the limit (ulimit -f)" in child.stderr
    assert len(Store.open(path).index()) == 0
    assert driver.drive(path, 8, 8) == 8


def test_a_store_of_another_version(store: Store) -> None:
    (store.files.root / "store.json").write_text('{"schema_version": 99}')
    for open_ in (Store.open, Store.create):
        with pytest.raises(StoreError, match="has schema version 99, this gradlaw reads 1"):
            open_(store.path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_damaged_store_document(text: str, store: Store) -> None:
    (store.files.root / "store.json").write_text(text)
    with pytest.raises(StoreError, match=r"store\.json is damaged"):
        Store.open(store.path)


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"is not a store: it has no store\.json"):
        Store.open(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StoreError, match=r"is not a store and not empty .it holds notes\.txt"):
        Store.create(tmp_path)
    for open_ in (Store.create, Store.open):
        with pytest.raises(StoreError, match="a file stands where a folder should be: choose another store"):
            open_(tmp_path / "notes.txt")
    assert Store.create(tmp_path / "a" / "b").index() == {}


def test_a_relative_path_stays_the_same_folder_in_a_worker_that_stands_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = Store.create("results")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Store.open(store.path).path == str(tmp_path / "results")
    assert store.index() == {}
