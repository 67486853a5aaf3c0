"""Kills by SIGKILL: whenever it comes, the next run ends with exactly the planned trials, each once."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from gradlaw.store.compaction import compact
from gradlaw.store.store import Store
from gradlaw_analysis.catalog import Catalog

NUM = 28


def check_complete(path: Path, driver: ModuleType, num: int = NUM) -> None:
    """Reads everything through SQL: each planned trial once, and every row that was written, once."""
    catalog = Catalog(path)
    assert catalog.set_aside == ()
    connection = catalog.connection()
    trials = connection.execute("SELECT trial_id, state FROM trials ORDER BY trial_id").fetchall()
    assert trials == [(driver.trial_id(number), "done") for number in range(num)]
    metrics = connection.execute("SELECT trial_id, step, loss FROM metrics ORDER BY ALL").fetchall()
    expected = [
        (driver.trial_id(number), step, driver.loss(number, step))
        for number in range(num)
        for step in range(driver.STEPS)
    ]
    assert metrics == expected
    noise = connection.execute("SELECT trial_id, value FROM noise ORDER BY ALL").fetchall()
    assert noise == [(driver.trial_id(number), float(number)) for number in range(num)]
    assert connection.execute("SELECT count(*) FROM metrics_live").fetchall() == [(0,)]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["flush", "between_files", "before_commit", "after_commit"])
def test_killed_while_writing(point: str, tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    for number in (1, 2, 3):
        assert driver.killed(path, "run", NUM, 4, fault=f"{point}:{number}")
        held = Store.open(path).index()
        assert len(held) < NUM
        assert not len(held) % 4  # packs are seen whole or not at all
    lacking = NUM - len(Store.open(path).index())
    assert driver.drive(path, NUM, 4) == lacking
    check_complete(path, driver)
    assert driver.drive(path, NUM, 4) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["compaction_before_manifest", "compaction_after_manifest", "compaction_between_deletes"]
)
def test_killed_while_compacting(point: str, tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    for number in (1, 2, 3):
        driver.drive(path, 8 * number, 4)
        if point == "compaction_between_deletes":  # there is something to delete from the third on
            for _ in range(2):
                compact(Store.open(path), keep_s=0.0)
        fault = f"{point}:{number if 'deletes' in point else 1}"
        assert driver.killed(path, "compact", fault=fault)
        check_complete(path, driver, 8 * number)
    compact(Store.open(path), keep_s=0.0)
    check_complete(path, driver, 24)
    assert driver.drive(path, 24, 4) == 0


@pytest.mark.slow
def test_killed_at_random_times(tmp_path: Path, driver: ModuleType) -> None:
    path, draw, num, kills = tmp_path / "store", random.Random(7), 0, 0
    start_s = timed(lambda: driver.spawn(path, "run", 0, 4).wait(60))
    work_s = timed(lambda: driver.drive(tmp_path / "other", 20, 4))
    while kills < 15:
        num += 20  # always as much work again as one kill can interrupt
        assert num <= 1000, f"{kills} kills: start or work take another time than at first"
        child = driver.spawn(path, "run", num, 4)
        time.sleep(0.9 * start_s + draw.uniform(0.0, 0.9) * work_s)
        child.kill()
        kills += child.wait(60) == -signal.SIGKILL
        assert Catalog(path).set_aside == ()
    driver.drive(path, num, 4)
    check_complete(path, driver, num)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@pytest.mark.slow
def test_two_drivers_with_overlapping_packs(tmp_path: Path, driver: ModuleType) -> None:
    path = tmp_path / "store"
    for round_ in range(3):
        num = 12 * (round_ + 1)
        children = [driver.spawn(path, "run", num, 4), driver.spawn(path, "run", num, 6, 3)]
        if round_ == 1:
            time.sleep(0.5)
            children[0].kill()
        for child in children:
            child.wait(60)
    driver.drive(path, 36, 4)
    index = Store.open(path).resolve().index
    assert index.num_rows >= 36
    check_complete(path, driver, 36)
    compact(Store.open(path))
    check_complete(path, driver, 36)
