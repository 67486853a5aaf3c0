"""What Ray's scheduling of packs costs: the launcher on a running cluster, with workers that only report.

A pack's order goes the whole way: made by the driver, sent, decoded by a worker; in place of training and
committing, one report that all is done comes back.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from _scale_driver import STUDY, forget_peak, memory_bytes
from _scale_rows import done_report

from gradlaw.launch.base import Order, Report
from gradlaw.pack import Pack
from gradlaw.planning.planned import plan_study

PROCESSES = 2


class Orders(Sequence[Order]):
    """The orders of packs, each made when it is asked for, as a run makes them."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self._packs = packs

    def __len__(self) -> int:
        return len(self._packs)

    @overload
    def __getitem__(self, at: int) -> Order: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Order]: ...
    def __getitem__(self, at: int | slice) -> Order | Sequence[Order]:
        if isinstance(at, slice):
            return Orders(self._packs[at])
        return Order(pack=self._packs[at], store="/nowhere", alike=len(self._packs))


def only_report() -> None:
    """Puts a report in the place of work; called in every worker before it begins."""
    from gradlaw.launch import trainable

    def report(order: Order) -> Iterator[Report]:
        yield done_report(order.pack)

    vars(trainable)["work"] = report


def schedule(packs: int) -> dict[str, Any]:
    """Sends so many packs of 64 through a cluster of this machine's, after a few to warm it up."""
    import ray

    from gradlaw.launch.ray_tune import RayLauncher

    begun = time.perf_counter()
    planned = plan_study(STUDY, preset="trials_1000000" if packs > 1500 else "trials_100000")
    plan_s, orders = time.perf_counter() - begun, Orders(planned.plan.packs[:packs])
    folders = [str(Path(__file__).parent), *sys.path]
    ray.init(
        address="local",  # whatever else runs on the machine
        num_cpus=PROCESSES,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={
            "worker_process_setup_hook": only_report,
            "env_vars": {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"},
        },
    )
    launcher, ended = RayLauncher(), list[str]()
    launcher.run(orders[: 2 * PROCESSES], lambda _: None)
    before = memory_bytes()
    forget_peak()
    begun, used = time.perf_counter(), _cpu_s()
    reached: dict[str, Any] = {}

    def count(report: Report) -> None:
        assert not report.error, report.error
        if not report.finished:  # what is said before the first pack
            return
        ended.append(report.pack_id)
        if len(ended) % max(1, packs // 4) == 0:
            elapsed = round(time.perf_counter() - begun, 3)
            reached[str(len(ended))] = {"seconds": elapsed, "rss_bytes": memory_bytes()}

    launcher.run(orders, count)
    wall_s, cpu_s = time.perf_counter() - begun, _cpu_s() - used
    assert sorted(ended) == sorted(pack.pack_id for pack in planned.plan.packs[:packs])
    trials = sum(len(pack.members) for pack in planned.plan.packs[:packs])
    record = {
        "case": "schedule",
        "packs": packs,
        "trials": trials,
        "processes": PROCESSES,
        "plan_s": round(plan_s, 3),
        "wall_s": round(wall_s, 3),
        "driver_cpu_s": round(cpu_s, 3),
        "ms_a_pack": round(1e3 * wall_s / packs, 3),
        "ms_a_trial": round(1e3 * wall_s / trials, 4),
        "marks": reached,
        "rss_before_bytes": before,
        "peak_beyond_plan_bytes": memory_bytes("VmHWM") - before,
        "private_bytes": memory_bytes("RssAnon"),
    }
    ray.shutdown()
    return record


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """``_scale_schedule.py PACKS``: a line of JSON."""
    print(json.dumps(schedule(int(sys.argv[1]))), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
