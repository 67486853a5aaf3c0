"""Drivers of an adaptive plan killed by SIGKILL, within rounds and between them, as rounds are recorded too.

The next run ends with the very trials of a run that nobody disturbed, each once, none lost.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from drivers import Drivers
from held import STUDIES, committed, counting

from gradlaw.planning.planned import plan_study
from gradlaw.store.store import Store

pytestmark = pytest.mark.slow

SOUGHT = str(STUDIES / "sought")
PRESET = "short"
HOW = {"preset": PRESET, "compile": "never"}


@pytest.fixture(scope="module")
def drivers() -> Iterator[Drivers]:
    server = Drivers()
    yield server
    server.close()


@pytest.fixture(scope="module")
def undisturbed(drivers: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("adaptive") / "undisturbed"
    assert drivers.run(study=SOUGHT, store=str(store), how=HOW) == 0
    return store


def planned(store: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        Store.open(store).plan(plan_study(SOUGHT, preset=PRESET).plan.plan_id)[1].to_pylist()
    )
    return rows


def assert_same(store: Path, undisturbed: Path) -> None:
    assert planned(store) == planned(undisturbed)
    ends = [
        [(row["trial_id"], row["state"], row["steps_done"]) for row in counting(path)]
        for path in (store, undisturbed)
    ]
    assert ends[0] == ends[1]
    assert len(committed(store)) == len(ends[0]), "no trial ran twice"
    assert {row["trial_id"] for row in planned(store)} == {row["trial_id"] for row in counting(store)}


@pytest.mark.parametrize(
    ("point", "number"),
    [("before_round", 2), ("after_round", 2), ("before_commit", 4), ("after_commit", 3), ("after_commit", 6)],
)
def test_killed_at_a_point(
    point: str, number: int, drivers: Drivers, undisturbed: Path, tmp_path: Path
) -> None:
    """Around the record of a round, and around commits: the last of a round is between rounds."""
    store = tmp_path / "store"
    fault = {"GRADLAW_FAULT": f"{point}:{number}"}
    assert drivers.run(study=SOUGHT, store=str(store), how=HOW, env=fault) == -signal.SIGKILL
    assert drivers.run(study=SOUGHT, store=str(store), how=HOW) == 0
    assert_same(store, undisturbed)


def test_killed_again_and_again(drivers: Drivers, undisturbed: Path, tmp_path: Path) -> None:
    """Killed each time it has asked for a round more, until nothing is left to ask."""
    store = tmp_path / "store"
    kills = 0
    while drivers.run(study=SOUGHT, store=str(store), how=HOW, env={"GRADLAW_FAULT": "after_round:1"}) != 0:
        kills += 1
    assert kills == 3
    assert_same(store, undisturbed)


def test_killed_at_random_moments(drivers: Drivers, undisturbed: Path, tmp_path: Path) -> None:
    moments = random.Random(3)
    store = tmp_path / "store"
    for attempt in count():
        pid = drivers.start(study=SOUGHT, store=str(store), how=HOW)
        time.sleep(moments.uniform(0.05, 0.5 + 0.8 * attempt))
        if drivers.kill(pid) == 0:
            break
    assert_same(store, undisturbed)


def test_two_drivers_at_once(drivers: Drivers, undisturbed: Path, tmp_path: Path) -> None:
    """They record one plan between them; a trial that both ran counts once."""
    store = tmp_path / "store"
    pids = [drivers.start(study=SOUGHT, store=str(store), how=HOW) for _ in range(2)]
    assert [drivers.wait(pid) for pid in pids] == [0, 0]
    assert planned(store) == planned(undisturbed)
    assert [row["trial_id"] for row in counting(store)] == [row["trial_id"] for row in counting(undisturbed)]
