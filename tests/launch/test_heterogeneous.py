"""Packs on nodes of unequal size: each gets the CPUs, threads and memory that it asks for, where they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from cluster import RayCluster
from held import STUDIES, counting

import gradlaw
from gradlaw.errors import ConfigurationError
from gradlaw.launch import patience, ray_tune
from gradlaw.planning.dry_run import describe_plan
from gradlaw.running.options import RunOptions

pytestmark = pytest.mark.slow

PLACED = STUDIES / "placed"
GIB = 2**30
SMALL, LARGE = {"num_cpus": 1, "memory": 0.75 * GIB}, {"num_cpus": 3, "memory": 3 * GIB}


@pytest.fixture(scope="module")
def joined() -> Iterator[dict[str, float]]:
    """A cluster of a node of 1 CPU and one of 3, joined; CPUs by the id of a node."""
    from gradlaw.launch.auth import require_token

    cluster = RayCluster(**SMALL)
    try:
        cluster.add_node(**LARGE)
        require_token()
        ray.init(cluster.address, log_to_driver=False, logging_level="error")
        yield {node["NodeID"]: node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"]}
        ray.shutdown()
    finally:
        cluster.close()


def placed(store: Path, **how: Any) -> Counter[tuple[str, int]]:
    """Runs the measurements that say where they are; how many were on each node, with how many threads."""
    summary = gradlaw.run(PLACED, store=store, launcher="ray", **how)
    assert summary.complete
    return Counter((row["node"], row["threads"]) for row in counting(store, "places"))


def foretold(store: Path, preset: str, **how: Any) -> list[str]:
    """What a dry run says."""
    options = RunOptions(launcher="ray", **how)
    return describe_plan(
        PLACED, preset=preset, set={}, seeds=None, store=store, explore=False, options=options
    )


def test_unequal_nodes_all_get_work(joined: dict[str, float], tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    found = placed(tmp_path / "store", preset="where", set={"meet": str(tmp_path / "meet")})
    assert found == {(node, 1): cpus for node, cpus in joined.items()}, "one on one CPU, three on three"


def test_packs_of_two_cpus_run_where_they_fit(
    joined: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one after the other, as parts of a run that Tune is given one by one."""
    monkeypatch.setattr(ray_tune, "FIT_PACKS", 1)
    monkeypatch.setattr(ray_tune, "PACKS_A_WORKER", 1)
    large = next(node for node, cpus in joined.items() if cpus == 3)
    assert placed(tmp_path, preset="where", seeds=2, cpus=2) == {(large, 2): 2}


def test_a_run_that_finds_no_room_says_for_what_it_waits(
    joined: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All CPUs are another's, who goes when it has been said twice; all runs then."""

    class Guest:
        def is_there(self) -> bool:
            return True

    monkeypatch.setattr(patience, "FIRST_S", 0.5)
    guests = [ray.remote(Guest).options(num_cpus=cpus).remote() for cpus in joined.values()]
    assert ray.get([guest.is_there.remote() for guest in guests]) == [True, True]
    told: list[str] = []

    def say(line: str) -> None:
        told.extend([line] if "waiting for a worker" in line else [])
        while len(told) == 2 and guests:
            ray.kill(guests.pop())

    assert placed(tmp_path, preset="where", seeds=2, say=say)
    for line in told[:2]:
        assert re.search(
            r"waiting for a worker for \d+ s: no pack runs, and 2 may; free on the cluster: 0 CPUs", line
        ), line


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({"cpus": 4}, "4 CPUs"),
        ({"memory_gb": 7.0}, "1 CPU, 7.0 GiB"),
        ({"cpus": 2, "memory_gb": 6.5}, "2 CPUs, 6.5 GiB"),
    ],
)
def test_what_no_node_holds_is_refused_at_once(
    joined: dict[str, float], tmp_path: Path, how: dict[str, Any], asked: str
) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"asks for {asked}.*1 of 1 CPU, 0\.8 GiB.*1 of 3 CPUs, 3\.0"
    ):
        gradlaw.run(PLACED, preset="where", store=tmp_path, launcher="ray", **how)
    assert counting(tmp_path) == []


def test_a_gpu_that_nobody_has_is_refused(joined: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"asks for 1 CPU, 0\.5 GPUs") as run:
        gradlaw.run(PLACED, preset="wide", store=tmp_path, launcher="ray", device="cuda", gpus=0.5)
    with pytest.raises(ConfigurationError) as dry_run:
        foretold(tmp_path, "wide", device="cuda", gpus=0.5)
    assert dry_run.value.faults == run.value.faults


def test_a_dry_run_asks_the_cluster_and_starts_nothing(joined: dict[str, float], tmp_path: Path) -> None:
    lines = foretold(tmp_path / "store", "where", cpus=2)
    assert "resources: a pack asks for 2 CPUs, 0.5 GiB" in lines
    assert " on 1 worker" in foretold(tmp_path / "store", "wide", cpus=2)[-1], "the node of three holds one"
    assert not (tmp_path / "store").exists()


def test_batches_are_as_wide_as_the_memory_of_their_node(joined: dict[str, float], tmp_path: Path) -> None:
    """Of a node a pack has the share of its CPUs: 0.75 GiB on one, 1 GiB on the other; 0.5 are the worker's.

    A member of a batch takes 24 MiB, so that 10 and 21 fit; packs of 16 are cut into batches alike. Four
    packs run at once, three on the large node.
    """
    (tmp_path / "meet").mkdir()
    meet = {"meet": str(tmp_path / "meet")}
    store = tmp_path / "store"
    summary = gradlaw.run(
        PLACED, preset="wide", seeds=64, set=meet, store=store, launcher="ray", compile="never"
    )
    assert summary.states == {"done": 64}
    packs = {(row["pack_id"], row["pack_width"]) for row in counting(store)}
    assert sorted(width for _, width in packs) == [8, 16, 16, 16]
