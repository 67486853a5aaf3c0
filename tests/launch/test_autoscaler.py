"""A cluster that has no CPU until packs wait for one: nodes come, work is done, nodes go."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from autoscaled import Autoscaled
from held import STUDIES, counting

import gradlaw
from gradlaw.errors import ConfigurationError

pytestmark = pytest.mark.slow

PLACED = STUDIES / "placed"


@pytest.fixture(scope="module")
def growing() -> Iterator[Autoscaled]:
    """A cluster of up to two nodes of one CPU, joined; its file is at home as on a head."""
    with tempfile.TemporaryDirectory(prefix="as-", dir="/tmp", ignore_cleanup_errors=True) as home:
        cluster = Autoscaled(Path(home), most_nodes=2, idle_s=3.0)
        try:
            with pytest.MonkeyPatch.context() as patched:
                ray.init(cluster.address, log_to_driver=False, logging_level="error")
                patched.setenv("HOME", home)
                yield cluster
            ray.shutdown()
        finally:
            cluster.close()


def alive() -> int:
    """Nodes of the cluster that have a CPU."""
    return sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))


def test_what_no_type_of_node_has_is_refused_though_nodes_may_come(
    growing: Autoscaled, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"asks for 2 CPUs.*to come: 1 of 1 CPU"):
        gradlaw.run(PLACED, preset="where", store=tmp_path, launcher="ray", cpus=2)
    assert alive() == 0


def test_nodes_come_for_packs_that_wait_and_go_when_none_is_left(growing: Autoscaled, tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    summary = gradlaw.run(
        PLACED,
        preset="where",
        set={"meet": str(tmp_path / "meet"), "number": 2},
        store=tmp_path / "store",
        launcher="ray",
    )
    assert summary.states == {"done": 4}
    nodes = {row["node"] for row in counting(tmp_path / "store", "places")}
    assert len(nodes) == 2
    end = time.monotonic() + 300.0
    while alive():
        assert time.monotonic() < end, "nothing waits any more, and no node goes"
        time.sleep(0.1)
