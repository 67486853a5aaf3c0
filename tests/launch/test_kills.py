"""Drivers killed by SIGKILL: the next run ends with exactly the planned trials, each once, bit for bit.

The launcher is ``inline`` here, so that driver and worker die together; ``test_ray_kills`` kills them apart,
and ``tests/faults/test_storm.py`` at random moments.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from drivers import Drivers
from held import committed

pytestmark = pytest.mark.slow

Tiny = Callable[[int], str]
Check = Callable[..., None]
WRITER_POINTS = ("flush", "between_files", "before_commit", "after_commit")
SEEDS = 6


@pytest.mark.parametrize("point", WRITER_POINTS)
def test_killed_at_a_point_of_the_writer(
    point: str,
    drivers: Drivers,
    tiny: Tiny,
    tmp_path: Path,
    assert_whole: Check,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Killed the 1st, 2nd and 3rd time it gets there; of a pack, all rows or none are seen."""
    kills = 0
    for number in (1, 2, 3):
        store = tmp_path / f"store{number}"
        fault = {"GRADLAW_FAULT": f"{point}:{number}"}
        code = drivers.run(study=tiny(4), store=str(store), how={"seeds": SEEDS}, env=fault)
        assert code == -signal.SIGKILL
        kills += 1
        num_packs = len({row["pack_id"] for row in committed(store)})
        if point != "flush":
            assert num_packs == number - (point != "after_commit")
        assert len(committed(store)) == 4 * num_packs
        assert drivers.run(study=tiny(4), store=str(store), how={"seeds": SEEDS}) == 0
        assert_whole(store, SEEDS)
        assert len(committed(store)) == 2 * SEEDS, "what was committed is not run again"
    record_testsuite_property(f"kills {point}", kills)


@pytest.mark.parametrize(
    "point", ["compaction_before_manifest", "compaction_after_manifest", "compaction_between_deletes"]
)
def test_killed_during_compaction(
    point: str,
    drivers: Drivers,
    tiny: Tiny,
    tmp_path: Path,
    assert_whole: Check,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    store = tmp_path / "store"
    kills = 0
    for seeds in (4, 6, 8, 10):  # what is merged is deleted two generations later
        assert drivers.run(study=tiny(4), store=str(store), how={"seeds": seeds}) == 0
        fault = (
            {"GRADLAW_FAULT": f"{point}:{1 + seeds % 3}"}
            if "deletes" in point
            else {"GRADLAW_FAULT": f"{point}:1"}
        )
        kills += drivers.run(store=str(store), compact=0.0, env=fault) == -signal.SIGKILL
        assert_whole(store, seeds)
        assert drivers.run(store=str(store), compact=0.0) == 0
        assert_whole(store, seeds)
    assert kills >= (2 if "deletes" in point else 4)
    record_testsuite_property(f"kills {point}", kills)


@pytest.mark.parametrize("killed", [None, "first", "second"])
def test_two_drivers_with_overlapping_packs(
    killed: str | None, drivers: Drivers, tiny: Tiny, tmp_path: Path, assert_whole: Check
) -> None:
    """Seeds 0-5 in packs of 3 and seeds 0-9 in packs of 4, at once, in one store."""
    moments = random.Random(11)
    for round_ in range(2):
        store = tmp_path / f"store{round_}"
        first = drivers.start(study=tiny(3), store=str(store), how={"seeds": 6})
        second = drivers.start(study=tiny(4), store=str(store), how={"seeds": 10})
        if killed:
            time.sleep(moments.uniform(0.05, 0.6))
            drivers.kill(first if killed == "first" else second)
        codes = [drivers.wait(pid) for pid, name in ((first, "first"), (second, "second")) if name != killed]
        assert set(codes) == {0}
        if killed:
            assert drivers.run(study=tiny(4), store=str(store), how={"seeds": 10}) == 0
        assert_whole(store, 10)
        before = len(committed(store))
        for width, seeds in ((3, 6), (4, 10)):
            assert drivers.run(study=tiny(width), store=str(store), how={"seeds": seeds}) == 0
        assert len(committed(store)) == before, "nothing is missing for either"
