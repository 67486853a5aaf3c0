"""A hundred kills in a row on a study of 500 trials: nothing lost, nothing twice, the same verdict."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drivers import Drivers
from held import STUDIES, committed, counting, numbers

from gradlaw_analysis import open_store

pytestmark = pytest.mark.slow

CROWD = str(STUDIES / "crowd")
TRIALS, KILLS = 500, 100
HOW = {"checkpoint_s": 0.02}


def verdict(store: Path) -> dict[str, Any]:
    """The verdict on the crowd, without what says when and from which files it was reached."""
    (found,) = open_store(store).verdicts([CROWD], record=False)
    names = ("verdict", "estimate", "ci_low", "ci_high", "p_value", "num_seeds")
    return {name: getattr(found, name) for name in names if hasattr(found, name)}


def test_a_hundred_kills_in_a_row(
    drivers: Drivers, tmp_path: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    """One driver or two at once, each killed at a random moment; then another kill, until all has ended."""
    undisturbed, store = tmp_path / "undisturbed", tmp_path / "store"
    assert drivers.run(study=CROWD, store=str(undisturbed)) == 0
    moments, counts = random.Random(500), Counter[str]()
    while counts["kills"] < KILLS:
        num_before = len(committed(store)) if store.exists() else 0
        if num_before == TRIALS:  # sooner than 100 kills: another store is filled against the rest
            store = tmp_path / f"store{counts['stores']}"
            counts["stores"] += 1
        pids = [
            drivers.start(study=CROWD, store=str(store), how=HOW) for _ in range(moments.choice((1, 1, 2)))
        ]
        time.sleep(moments.uniform(0.0, 0.4))
        for pid in pids:
            counts["kills"] += drivers.kill(pid) == -signal.SIGKILL
    assert drivers.run(study=CROWD, store=str(store)) == 0
    rows, kept = committed(store), counting(store)
    counts["twice"] = len(rows) - TRIALS
    assert len({row["trial_id"] for row in kept}) == len(kept) == TRIALS
    assert {row["state"] for row in kept} == {"done"}
    assert numbers(store) == numbers(undisturbed)
    assert verdict(store) == verdict(undisturbed)
    assert counts["twice"] <= TRIALS // 50, "leases keep drivers from running what others run"
    record_testsuite_property("storm", json.dumps(counts))
