"""Whatever the network does: a commit is whole or not there, one of many creates, readers see rows once.

What is asked afterwards is asked on a sound network, of a store opened anew. The rows are known in advance:
``store_driver`` writes trial ``n`` with the losses ``n + step / 8``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import ModuleType

import duckdb
import pytest
from bucket_server import ANY, Proxy, drawn

from gradlaw.errors import StoreError
from gradlaw.store import paths, s3
from gradlaw.store.bucket import BucketFiles
from gradlaw.store.checkpoints import sweep_checkpoints
from gradlaw.store.compaction import compact
from gradlaw.store.files import STALE_S, UnreachableError, open_files
from gradlaw.store.store import Store
from gradlaw_analysis import open_store
from gradlaw_analysis.catalog import Catalog

QUERY = "SELECT trial_id, step, loss FROM metrics ORDER BY ALL"


def rows(driver: ModuleType, numbers: Iterable[int]) -> list[tuple[str, int, float]]:
    return sorted(
        (driver.trial_id(number), step, driver.loss(number, step)) for number in numbers for step in range(5)
    )


def held(address: str) -> list[tuple[str, int, float]]:
    """The rows of metrics by SQL, after a look that finds nothing damaged and nothing twice."""
    catalog = Catalog(address)
    assert catalog.set_aside == ()
    connection = catalog.connection()
    assert connection.execute("SELECT count(*) = count(DISTINCT trial_id) FROM trials").fetchone() == (True,)
    notes = connection.execute("SELECT trial_id FROM noise ORDER BY 1").fetchall()
    assert notes == connection.execute("SELECT trial_id FROM trials ORDER BY 1").fetchall()
    return connection.execute(QUERY).fetchall()


@pytest.mark.parametrize("seed", range(2))
def test_exactly_one_of_many_creates_whatever_the_network_does(seed: int, address: str, proxy: Proxy) -> None:
    proxy.plan = drawn(seed, 0.4)
    keys = [f"race/{number}" for number in range(6)]

    def write(who: int) -> dict[str, bool]:
        files = open_files(address)
        return {key: files.create(key, f"{key} by {who}".encode()) for key in keys}

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(write, range(4)))
    proxy.plan = None
    proxy.settle()
    assert sum(proxy.done.values()) >= 10
    for key in keys:
        winners = [who for who, created in enumerate(won) if created[key]]
        assert len(winners) == 1, (key, winners)
        assert open_files(address).read(key) == f"{key} by {winners[0]}".encode()


def test_a_commit_is_whole_or_not_there(
    address: str, proxy: Proxy, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many faults, and so few tries, that about half of the commits fail."""
    store = Store.create(address)
    driver.write_pack(store, "registers", [99])
    monkeypatch.setattr(s3, "PAUSES_S", (0.001,))
    proxy.plan = drawn(0, 0.25)
    told: set[int] = set()
    for number in range(6):
        with suppress(UnreachableError):
            driver.write_pack(store, f"p{number}", [2 * number, 2 * number + 1], flush=True)
            told |= {2 * number, 2 * number + 1}
    proxy.plan = None
    proxy.settle()
    there = {int(trial_id, 16) for trial_id in Store.open(address).index()} - {99}
    assert told <= there  # more may be there: the answer was lost, and there was no time to ask again
    assert there == {number ^ 1 for number in there}
    assert held(address) == rows(driver, [*there, 99])
    # The next run writes what is missing, and only that.
    missing = set(range(12)) - there
    assert driver.drive(address, 12, 2) == len(missing)
    assert held(address) == rows(driver, [*range(12), 99])


def test_a_commit_that_was_given_up_and_comes_late_is_whole(
    address: str, proxy: Proxy, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(address)
    monkeypatch.setattr(s3, "PAUSES_S", ())
    proxy.plan = lambda method, path: "late" if method == "PUT" and "/trials/study" in path else None
    with pytest.raises(UnreachableError):
        driver.write_pack(store, "p", [0, 1])
    proxy.plan = None
    assert len(proxy.late) == 1
    proxy.settle()
    assert held(address) == rows(driver, [0, 1])


def test_a_checkpoint_that_cannot_be_read_now_is_kept(
    address: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old: what looks damaged may only be out of reach."""
    files = open_files(address)
    assert files.create("_checkpoints/p-0-0.json", b"{}")
    now = files.now()
    monkeypatch.setattr(files, "now", lambda: now + 2 * STALE_S)
    proxy.plan = lambda method, path: "error" if path.split("?")[0].endswith("p-0-0.json") else None
    assert sweep_checkpoints(files, {}) == 0
    proxy.plan = None
    assert sweep_checkpoints(files, {}) == 1  # it is damaged


def test_two_compactions_at_once_with_faults(address: str, proxy: Proxy, driver: ModuleType) -> None:
    for round_ in (1, 2):
        driver.drive(address, 6 * round_, 2)
        proxy.plan = drawn(round_, 0.1)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda _: compact(Store.open(address), keep_s=0.0), range(2)))
        proxy.plan = None
        proxy.settle()
        assert {round_} <= {item.generation for item in done} <= {round_ - 1, round_}
        assert sum(item.merged for item in done) == 3
        assert held(address) == rows(driver, range(6 * round_))
    units = Store.open(address).resolve().units
    kept = {key for key in open_files(address).scan("_generations") if key.endswith(".parquet")}
    assert {file.key for unit in units for file in unit.files} <= kept


def test_a_compaction_that_fails_leaves_the_store_as_it_was(
    address: str, proxy: Proxy, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.drive(address, 6, 2)
    with monkeypatch.context() as patched:
        patched.setattr(s3, "PAUSES_S", ())
        proxy.plan = lambda method, path: "late" if method == "PUT" and path.endswith("/1.json") else None
        with pytest.raises(UnreachableError):
            compact(Store.open(address))
        proxy.plan = None
        proxy.settle()  # the manifest comes after all, and what it names is still there
    assert held(address) == rows(driver, range(6))
    assert Store.open(address).resolve().generation == 1
    assert compact(Store.open(address)).generation == 1


def test_a_compaction_that_ends_between_deletions_leaves_what_is_right(
    address: str, proxy: Proxy, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows go before the commits that list them, and files of a generation before its manifest."""
    for number in (2, 4, 6):
        driver.drive(address, number, 2)
        compact(Store.open(address))
    now = BucketFiles.now
    monkeypatch.setattr(BucketFiles, "now", lambda files: now(files) + 10.0)
    files, gone = open_files(address), list[int]()
    for allowed in (1, 2, 99):
        before, left = set(files.scan()), [None] * allowed
        proxy.plan = lambda method, path, left=left: (
            (left or ["denied"]).pop() if path.endswith("?delete") else None
        )
        with suppress(UnreachableError):
            compact(Store.open(address), keep_s=0.0)
        proxy.plan = None
        there = set(files.scan())
        gone.append(len(before - there))
        kept = [name for name in map(paths.parse_data, there) if name]
        assert {name.pack for name in kept} <= {name.pack for name in kept if name.table == "trials"}
        named = {
            file["key"]
            for key in there
            if paths.parse_manifest(key)
            for part in json.loads(files.read(key))["parts"]
            for file in part["files"]
        }
        assert {key for key in there if paths.parse_generation_file(key)} <= named
        resolved = Store.open(address).resolve()
        assert (resolved.index.num_rows, resolved.set_aside) == (6, ())
    assert gone[:2] == [2, 1 + 2], "the rows of the first pack; its commit, and the rows of the second"
    assert (min(gone), kept) == (2, []), "the next one goes on, to the end"
    assert held(address) == rows(driver, range(6))


def test_readers_keep_what_they_saw_while_packs_are_written_merged_and_deleted(
    address: str, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader looks again and again, another holds its first look to the end; then the files grow old."""
    driver.drive(address, 4, 2)
    first = Catalog(address).connection()
    stop, looks = threading.Event(), [0]

    def read() -> None:
        while not stop.is_set():
            looks.append(len(held(address)))
            assert looks[-1] >= looks[-2]
            stop.wait(0.1)

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        for num in (8, 10):
            driver.drive(address, num, 2)
            assert compact(Store.open(address)).deleted == 0
        while len(looks) < 3 and not reader.done():
            stop.wait(0.05)
        stop.set()
        reader.result()
    assert first.execute(QUERY).fetchall() == rows(driver, range(4))
    driver.drive(address, 12, 2)
    now = BucketFiles.now
    monkeypatch.setattr(BucketFiles, "now", lambda files: now(files) + 4000.0)
    assert compact(Store.open(address)).deleted > 0
    assert held(address) == rows(driver, range(12))


def test_a_server_that_is_away_is_no_damage(
    address: str, proxy: Proxy, driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read now is neither lost nor set aside: nobody must run it again."""
    driver.drive(address, 4, 2)
    compact(Store.open(address))
    driver.drive(address, 8, 2)
    store = Store.open(address)
    monkeypatch.setattr(s3, "PAUSES_S", ())
    for mark in ("/trials/", "_generations/1.json", "_generations/1/", "_generations%2F", "/schemas/"):
        proxy.plan = lambda method, path, mark=mark: "busy" if mark in path else None
        with pytest.raises(StoreError, match="check the network and the server"):
            Catalog(Store.open(address)).sources()
    proxy.plan = lambda method, path: "cut"
    with pytest.raises(UnreachableError):
        store.index()
    proxy.plan = None
    assert len(store.index()) == 8


def test_content_changed_on_the_way_is_no_answer(address: str, proxy: Proxy, driver: ModuleType) -> None:
    """Arrow reads without the digest of a file; the checksums of its pages catch what changed."""
    driver.drive(address, 4, 4)
    opened = open_store(address)
    statement = "SELECT sum(loss), count(DISTINCT step) FROM metrics"
    sound = opened.sql(statement).to_numpy().tolist()
    seen = 0
    catalog = Catalog(address)
    for seed in range(4):
        proxy.plan = drawn(seed, 0.5, ("flip",))
        try:
            assert [list(row) for row in catalog.connection().execute(statement).fetchall()] == sound
        except duckdb.Error:
            seen += 1
        proxy.plan = None
    assert seen


def test_every_fault_was_met(proxy: Proxy, address: str) -> None:
    """The plans draw all of them: of 200 requests each comes at least five times."""
    plan = drawn(0, 1.0)
    drawn_faults = [plan("GET", "/") for _ in range(200)]
    assert min(drawn_faults.count(fault) for fault in ANY) >= 5
