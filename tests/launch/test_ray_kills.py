"""Workers, drivers and nodes of a Ray cluster killed by SIGKILL, apart and together; a full object store."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster import RayCluster
from drivers import Drivers
from held import STUDIES, committed, counting
from processes import kill

pytestmark = pytest.mark.slow

Tiny = Callable[[int], str]
Check = Callable[..., None]
SEEDS, STEPS = 6, 400
LONG = {"seeds": SEEDS, "set": {"steps": STEPS}}
CAPACITY = 80 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A head that runs no packs, and a node that does, with object stores as small as may be."""
    started = RayCluster(num_cpus=0, object_store_memory=CAPACITY)
    started.add_node(object_store_memory=CAPACITY)
    yield started
    started.close()


@pytest.fixture(scope="module")
def ray_drivers() -> Iterator[Drivers]:
    server = Drivers(ray=True)
    yield server
    server.close()


class Bench:
    """One store, and drivers on the cluster that fill it."""

    def __init__(self, cluster: RayCluster, drivers: Drivers, study: str, store: Path) -> None:
        self.cluster, self.drivers, self.study, self.store = cluster, drivers, study, store

    def start(self, **how: Any) -> int:
        how = {"launcher": "ray", "address": self.cluster.address, **how}
        return self.drivers.start(study=self.study, store=str(self.store), how=how)

    def run(self, **how: Any) -> int:
        return self.drivers.wait(self.start(**how))

    def await_file(self, pattern: str, timeout_s: float = 240.0) -> None:
        """Returns as soon as the store holds a file of this pattern."""
        end = time.monotonic() + timeout_s
        while not any(self.store.glob(pattern)):
            assert time.monotonic() < end, f"no {pattern} in {self.store}"
            time.sleep(0.005)

    def await_said(self, text: str, start: int, timeout_s: float = 240.0) -> None:
        """Returns as soon as a driver has said this since its log had so many letters."""
        end = time.monotonic() + timeout_s
        while text not in self.drivers.log.read_text()[start:]:
            assert time.monotonic() < end, f"nobody says {text!r}"
            time.sleep(0.02)

    def workers(self) -> list[psutil.Process]:
        """The cluster's workers that run packs."""
        found = []
        for process in psutil.Process(self.cluster.pid).children(recursive=True):
            try:
                title = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if title.startswith("ray::") and "Trainable" in title:
                found.append(process)
        return found


@pytest.fixture
def bench(cluster: RayCluster, ray_drivers: Drivers, tiny: Tiny, tmp_path: Path) -> Bench:
    return Bench(cluster, ray_drivers, tiny(4), tmp_path / "store")


POINTS = ("flush", "between_files", "before_commit", "after_commit")
DIES_ONCE = """

import os
from pathlib import Path

_left = [point for point in {points} if not Path({folder!r}, point).exists()]
os.environ["GRADLAW_FAULT"] = f"{{_left[0]}}:1:{folder}/{{_left[0]}}" if _left else ""
"""


def test_workers_killed_at_each_point_are_replaced(bench: Bench, tmp_path: Path, assert_whole: Check) -> None:
    """Four workers die one after another; the run goes on and ends complete, what died is on record."""
    folder, died = tmp_path / "tiny", tmp_path / "died"
    died.mkdir()
    shutil.copytree(bench.study, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "problem.py").open("a") as file:  # what a worker imports to decode its packs
        file.write(DIES_ONCE.format(folder=str(died), points=POINTS))
    bench.study = str(folder)
    assert bench.run(seeds=10) == 0
    assert {path.name for path in died.iterdir()} == set(POINTS)
    assert_whole(bench.store, 10)
    states = Counter(row["state"] for row in committed(bench.store))
    assert states == {"lost": 12, "done": 20}, "who dies after the commit has lost nothing"


@pytest.mark.parametrize(("both", "moment"), [(False, "trials/*/*.parquet"), (True, "_live/*.parquet")])
def test_a_driver_killed_while_packs_run(both: bool, moment: str, bench: Bench, assert_whole: Check) -> None:
    """Alone when the first commit appears, or with all its workers when the first live part does.

    Alone when that does: :func:`test_a_driver_takes_over_from_one_that_dies`.
    """
    pid = bench.start(**LONG)
    bench.await_file(moment)
    kill(bench.workers() if both else ())
    bench.drivers.kill(pid)
    assert bench.run(**LONG) == 0
    assert_whole(bench.store, SEEDS, steps=STEPS)


def test_a_lost_node_that_is_replaced_loses_no_trial(bench: Bench, tmp_path: Path) -> None:
    """It was the only one that runs packs: the run waits for another, and goes on there."""
    said, gate = len(bench.drivers.log.read_text()), tmp_path / "gate"
    bench.study = str(STUDIES / "gated")
    pid = bench.start(seeds=2, set={"gate": str(gate)})
    bench.await_file("_leases/*/*.json")
    bench.cluster.kill_node()
    bench.await_said("2 of 2 trials lost", said)
    gate.touch()
    bench.cluster.add_node(object_store_memory=CAPACITY)
    assert bench.drivers.wait(pid) == 0
    assert sorted(row["square"] for row in counting(bench.store, "squares")) == [0, 1]
    assert sorted(row["state"] for row in committed(bench.store)) == ["done", "done", "lost", "lost"]


def test_two_drivers_of_one_plan_and_another_study_at_once(bench: Bench, assert_whole: Check) -> None:
    """Counted in committed rows beyond one a trial, no trial runs twice."""
    pids = [bench.start(seeds=10), bench.start(seeds=10)]
    own, bench.study = bench.store, str(STUDIES / "claimed")
    bench.store = own.with_name("of_another")
    pids.append(bench.start())
    assert [bench.drivers.wait(pid) for pid in pids] == [0, 0, 0]
    rows = committed(own)
    assert (len(rows), len({row["trial_id"] for row in rows})) == (20, 20)
    assert_whole(own, 10)
    assert len(committed(bench.store)) == 8


def test_a_driver_takes_over_from_one_that_dies(bench: Bench, assert_whole: Check) -> None:
    """Both are at the same plan; what the first one's workers held is run by the second."""
    first, second = bench.start(**LONG), bench.start(**LONG)
    bench.await_file("_live/*.parquet")
    bench.drivers.kill(first)
    assert bench.drivers.wait(second) == 0
    assert_whole(bench.store, SEEDS, steps=STEPS)


FILLER = """
import sys
from gradlaw.launch.auth import require_token
require_token()
import numpy as np, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
held = [ray.put(np.zeros(8 << 20, np.uint8)) for _ in range(int(sys.argv[2]))]
print("full", flush=True)
sys.stdin.read()
"""


def test_a_full_object_store_loses_no_trial(bench: Bench, assert_whole: Check) -> None:
    """Another job's objects are twice what fits, the rest is spilt to disk: orders are still sent."""
    command = [sys.executable, "-c", FILLER, bench.cluster.address, str(2 * CAPACITY >> 23)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as filler:
        assert filler.stdout
        assert filler.stdout.readline() == "full\n"
        assert bench.run(seeds=SEEDS) == 0
        assert filler.poll() is None
        assert filler.stdin
        filler.stdin.close()
    assert_whole(bench.store, SEEDS)
    assert len(committed(bench.store)) == 2 * SEEDS
