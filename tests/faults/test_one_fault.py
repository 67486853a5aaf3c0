"""A fault in the middle of a study, then the same run again: the answers of a run that nobody disturbed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

import pytest
from answers import CROWD, HOW, TRIALS, Answers, answers
from disks import small_disk
from drivers import Drivers
from held import committed

pytestmark = pytest.mark.slow

DAY_S = 86_400.0
NEAR_FULL, FULL = 128 << 10, "the disk is full: free space there and run again"


def test_clocks_that_jump_by_days(clock: str, drivers: Drivers, begun: Path, expected: Answers) -> None:
    """Three drivers on one store, ten days ahead, behind, and to and fro, while others merge and sweep."""
    if not clock:
        pytest.skip("no C compiler to make a clock with")
    ahead, behind, both = ({"CLOCK_DAYS": days} for days in ("10", "-10", "10 -10"))
    pids = [drivers.start(study=CROWD, store=str(begun), how=HOW, env=env) for env in (ahead, behind, both)]
    for env in (ahead, behind, both):
        assert drivers.run(store=str(begun), compact=3600.0, env=env) == 0
    assert [drivers.wait(pid) for pid in pids] == [0, 0, 0]
    assert answers(begun) == expected
    rows = committed(begun)
    assert len(rows) == TRIALS, "leases hold, whatever the clocks say"
    days = {round((row["started_at"].replace(tzinfo=UTC).timestamp() - time.time()) / DAY_S) for row in rows}
    assert days == {-10, 0, 10}, "of the drivers, and of what was there before"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "16m") as folder:
        yield folder


def fill(file: Path, leaving: int) -> None:
    """Fills a disk with a file but for so many bytes."""
    file.unlink(missing_ok=True)
    file.write_bytes(bytes(shutil.disk_usage(file.parent).free - leaving))


def test_a_disk_that_fills_up_in_the_middle(
    disk: Path, drivers: Drivers, begun: Path, expected: Answers
) -> None:
    """While packs are written, and while they are merged; then there is room again."""
    store, filler = Path(shutil.copytree(begun, disk / "store")), disk / "filler"
    before, said = len(committed(store)), len(drivers.log.read_text())
    fill(filler, NEAR_FULL)
    assert drivers.run(study=CROWD, store=str(store), how=HOW) == 1
    assert before < len(committed(store)) < TRIALS
    assert FULL in drivers.log.read_text()[said:]
    said = len(drivers.log.read_text())
    fill(filler, 0)
    assert drivers.run(store=str(store), compact=0.0) == 1
    assert FULL in drivers.log.read_text()[said:]
    filler.unlink()
    assert drivers.run(study=CROWD, store=str(store), how=HOW) == 0
    assert len(committed(store)) == TRIALS, "what was committed is not run again"
    assert drivers.run(store=str(store), compact=0.0) == 0
    assert answers(store) == expected


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("metrics/*/*.parquet", half),
        ("trials/*/*.parquet", half),
        ("metrics/*/*.parquet", Path.unlink),
    ],
)
def test_a_damaged_pack_runs_again(
    pattern: str,
    damage: Callable[[Path], None],
    drivers: Drivers,
    undisturbed: Path,
    tmp_path: Path,
    expected: Answers,
) -> None:
    store = Path(shutil.copytree(undisturbed, tmp_path / "store"))
    damage(sorted(store.glob(pattern))[7])
    assert drivers.run(study=CROWD, store=str(store), how=HOW) == 0
    assert answers(store) == expected


@pytest.mark.parametrize("torn", ["_generations/*.json", "*/*/*.parquet"])
def test_a_torn_generation_gives_the_same_answers(
    torn: str, drivers: Drivers, undisturbed: Path, tmp_path: Path, expected: Answers
) -> None:
    """A manifest or a merged file, with what was merged still there, and without."""
    store = Path(shutil.copytree(undisturbed, tmp_path / "store"))
    for keep_s in (3600.0, 0.0):
        assert drivers.run(store=str(store), compact=keep_s) == 0
        half(max(store.glob(torn), key=lambda path: path.stat().st_mtime_ns))
        assert drivers.run(study=CROWD, store=str(store), how=HOW) == 0
        assert answers(store) == expected
