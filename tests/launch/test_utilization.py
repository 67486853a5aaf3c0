"""What workers use, as it is sampled and as a run tells it."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from held import STUDIES, committed

from gradlaw.busy import Busy, Usage
from gradlaw.engine import utilization
from gradlaw.engine.utilization import Utilization, gpu_busy
from gradlaw.launch.base import Order
from gradlaw.launch.worker import work
from gradlaw.planning.planned import plan_study
from gradlaw.store.store import Store

NVML = """
#include <string.h>
typedef struct { unsigned int gpu, memory; } rates;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    *handle = (void *) 0x7fffdeadbeef;
    return strcmp(uuid, "GPU-known") ? 6 : 0;
}
int nvmlDeviceGetUtilizationRates(void *handle, rates *found) {
    if (handle != (void *) 0x7fffdeadbeef) return 2;
    found->gpu = 37; found->memory = 99;
    return 0;
}
"""


@pytest.fixture
def nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A library with the functions that a driver's has, and one GPU that is 37 % busy."""
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    (tmp_path / "nvml.c").write_text(NVML)
    library = tmp_path / "libnvml.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"], check=True)
    monkeypatch.setattr(utilization, "_LIBRARY", str(library))
    utilization._nvml.cache_clear()
    yield
    utilization._nvml.cache_clear()


def test_what_a_driver_tells_of_a_gpu(nvml: None) -> None:
    assert gpu_busy("GPU-known") == 0.37
    assert gpu_busy("GPU-other") is None


def test_a_worker_on_a_gpu_tells_the_mean_of_its_samples(nvml: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utilization, "gpu_uuid", lambda device: "GPU-known")
    sampler = Utilization("cuda", 1)
    assert sampler()["gpu_utilisation"] == 0.37
    assert sampler.usage().gpu == 0.37


def test_a_gpu_is_looked_at_before_the_commit_leaves_it_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a pack that is shorter than a lease's renewal there is no other sample."""

    def busy(uuid: str) -> float:
        return 0.0 if len(committed(tmp_path)) else 0.9

    monkeypatch.setattr(utilization, "gpu_uuid", lambda device: "GPU-known")
    monkeypatch.setattr(utilization, "gpu_busy", busy)
    Store.create(tmp_path)
    pack = plan_study(STUDIES / "tiny", seeds=1).plan.packs[0]
    *_, last = work(Order(pack=pack, store=str(tmp_path), compile="never"))
    assert last.finished
    assert last.usage is not None
    assert last.usage.gpu == 0.9
    assert committed(tmp_path)


def test_without_a_gpu_nothing_is_told_of_one() -> None:
    sampler = Utilization("cpu", 1)
    assert sampler()["gpu_utilisation"] is None
    assert sampler.usage().gpu is None


def test_the_share_of_the_cpus_is_their_time_over_wall_time() -> None:
    before, cpu = time.monotonic(), time.process_time()
    sampler, began = Utilization("cpu", 2), time.monotonic()
    while time.process_time() - cpu < 0.3:
        pass
    time.sleep(0.2)
    least_s = time.monotonic() - began
    usage = sampler.usage()
    most_s, cpu_s = time.monotonic() - before, time.process_time() - cpu
    tick_s = 0.03  # the system counts in hundredths of a second
    assert least_s - tick_s <= usage.wall_s <= most_s + tick_s, "however long this process was kept waiting"
    assert usage.cpu == pytest.approx(cpu_s / usage.wall_s / 2, abs=tick_s / usage.wall_s)
    assert 0.0 < (sampler()["cpu_utilisation"] or 0.0) <= 1.0


def test_a_run_says_what_to_change_where_little_is_used() -> None:
    def said(*usages: Usage, cpus: int = 1) -> list[str]:
        busy = Busy()
        for usage in usages:
            busy.add(usage)
        return list(busy.lines(cpus))

    idle, at_work = Usage(90.0, 0.9, 0.1), Usage(30.0, 0.9, 0.9)
    assert said(idle, at_work) == ["GPUs 30% busy: under Ray, with a smaller --gpus, more packs share one"]
    assert said(idle, at_work._replace(wall_s=900.0)) == []
    assert said(Usage(90.0, 0.25), cpus=4) == ["CPUs 25% busy: with a smaller --cpus more packs run at once"]
    assert said(Usage(90.0, 0.25)) == [], "one CPU is the least"
    assert said(Usage(5.0, 0.1, 0.1)) == [], "too short to tell"
