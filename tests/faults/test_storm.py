"""A hundred kills in a row on a study of 500 trials: nothing lost, nothing twice, the same verdict."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from answers import CROWD, HOW, TRIALS, Answers, answers
from drivers import Drivers
from held import committed

pytestmark = pytest.mark.slow

KILLS = 100


def test_a_hundred_kills_in_a_row(
    drivers: Drivers,
    tmp_path: Path,
    expected: Answers,
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """One driver or two at once, each killed at a random moment; then another kill, until all has ended."""
    stores, moments, counts = [tmp_path / "store"], random.Random(500), Counter[str]()
    while counts["kills"] < KILLS:
        if stores[-1].exists() and len(committed(stores[-1])) >= TRIALS:  # sooner than 100 kills: the next
            stores.append(tmp_path / f"store{len(stores)}")
        pids = [
            drivers.start(study=CROWD, store=str(stores[-1]), how=HOW)
            for _ in range(moments.choice((1, 1, 2)))
        ]
        time.sleep(moments.uniform(0.0, 0.4))
        for pid in pids:
            counts["kills"] += drivers.kill(pid) == -signal.SIGKILL
    assert drivers.run(study=CROWD, store=str(stores[-1]), how=HOW) == 0
    for store in stores:
        assert answers(store) == expected
        counts["twice"] += len(committed(store)) - TRIALS
    counts["stores"] = len(stores)
    assert counts["twice"] <= len(stores) * TRIALS // 50, "leases keep drivers from running what others run"
    record_testsuite_property("storm", json.dumps(counts))
