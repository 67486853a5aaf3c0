"""Ray's object store, full of another job's objects: orders are still sent, and every trial ends once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import RayCluster
from held import STUDIES, committed

from gradlaw import run

pytestmark = pytest.mark.slow

CAPACITY = 80 << 20
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


@pytest.fixture
def full_cluster() -> Iterator[RayCluster]:
    """A node whose object store is the smallest, and holds twice what fits: the rest is spilt to disk."""
    cluster = RayCluster(num_cpus=1, object_store_memory=CAPACITY)
    command = [sys.executable, "-c", FILLER, cluster.address, str(2 * CAPACITY >> 23)]
    filler = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert filler.stdout
    assert filler.stdin
    assert filler.stdout.readline() == "full\n"
    yield cluster
    filler.stdin.close()
    filler.wait(timeout=60)
    filler.stdout.close()
    cluster.close()


def test_a_full_object_store_loses_no_trial(
    full_cluster: RayCluster, tmp_path: Path, assert_whole: Callable[..., None]
) -> None:
    store = tmp_path / "store"
    summary = run(STUDIES / "tiny", store=str(store), seeds=6, launcher="ray", address=full_cluster.address)
    assert summary.complete
    assert_whole(store, 6)
    assert len(committed(store)) == 12
