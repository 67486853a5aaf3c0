"""What does it cost to plan a study, and does a driver grow while packs report?

Run ``python benchmarks/planning.py [TRIALS ...]``. Each line of output is one JSON object: ``seconds`` and
``cpu_s`` of one phase, and the process's peak memory at its end. Every case has a process of its own:

- ``parts``: expand the preset, write the plan, index an empty store, subtract it, make every order; then the
  same store with all trials committed: index, subtract.
- ``run``: a whole run, from its call to the first pack (``to_first_pack``); then memory after each quarter of
  its packs has reported. Packs are reported and not run, so that what grows is the driver.

``seeds``: a thousand seeds of each combination; ``combinations``: one seed of each.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from _results import emit

import gradlaw
from gradlaw import provenance
from gradlaw.engine.results import TrialResult
from gradlaw.launch.base import Launcher, OnReport, Order, Report
from gradlaw.launch.committing import trial_rows
from gradlaw.pack import Pack
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.rules.sgd import SGD
from gradlaw.running import runner
from gradlaw.running.pending import failed_attempts, missing_packs, planned_trials
from gradlaw.store.plans import PlanRecord
from gradlaw.store.store import Store
from gradlaw.study import Grid, Preset, Study
from gradlaw.tasks.modular_addition import ModularAddition
from gradlaw.trial import State

COUNTS = (10_000, 100_000, 1_000_000)
SHAPES = ("seeds", "combinations")
COMMITTED = 50_000
"""Trials to a commit of the full store: the commits of a real one are merged to as many."""

Value = TypeVar("Value")
STUDY_FILE = "from planning import study\nSTUDY = study({shape!r}, {count})\n"


def study(shape: str, count: int) -> Study:
    """A study of ``count`` trials."""
    seeds = min(1000, count // 10) if shape == "seeds" else 1
    num = count // seeds
    decays = 10 if num % 10 == 0 else 1
    values = {
        "lr": tuple(1e-6 * (i + 1) for i in range(num // decays)),
        "weight_decay": tuple(0.01 * i for i in range(decays)),
    }
    grid = Grid(task=ModularAddition, rule=SGD, values=values, steps=200, log_every=10)
    preset = Preset(doc="a size", grids=(grid,), seeds=seeds)
    return Study(name="planned_size", question="How long?", source="a benchmark", presets={"demo": preset})


class Meter:
    """Times phases of one case and prints them."""

    def __init__(self, case: str, shape: str, count: int) -> None:
        self._labels = {"benchmark": "planning", "case": case, "shape": shape, "trials": count}
        self.tell("imports", 0.0, 0.0)

    def time(self, phase: str, work: Callable[[], Value]) -> Value:
        """Does the work and prints what it took."""
        begun, begun_cpu = time.perf_counter(), time.process_time()
        value = work()
        self.tell(phase, time.perf_counter() - begun, time.process_time() - begun_cpu)
        return value

    def tell(self, phase: str, seconds: float, cpu_s: float) -> None:
        """Prints one phase, with the memory that is in use and the most that was."""
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        memory = {
            "rss_bytes": pages * os.sysconf("SC_PAGE_SIZE"),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        emit(
            {**self._labels, "phase": phase, "seconds": round(seconds, 3), "cpu_s": round(cpu_s, 3), **memory}
        )


def parts(shape: str, count: int, folder: Path) -> None:
    """Every phase by itself."""
    meter = Meter("parts", shape, count)
    plan = meter.time("expand", lambda: make_plan(study(shape, count)))
    store = Store.create(folder / "store")
    record = PlanRecord(
        plan_id=plan.plan_id,
        study=plan.study,
        preset=plan.preset,
        num_seeds=len(plan.seeds),
        declared_seeds=plan.declared_seeds,
        created_at=provenance.utc_now(),
    )
    meter.time("write_plan", lambda: store.write_plan(record, planned_trials(plan)))
    needed = meter.time("probes", lambda: {item.trial_id: item.probes for item in planned_trials(plan)})
    index = meter.time("index_empty", lambda: store.index(needed))
    packs = meter.time("pending_empty", lambda: missing_packs(plan, index))
    meter.time("orders", lambda: sum(1 for pack in packs if not failed_attempts(pack.members, index)))
    # In a process of its own: what it takes to fill a store is not what is asked.
    subprocess.run([sys.executable, __file__, "fill", shape, str(count), str(folder)], check=True)
    held = meter.time("index_full", lambda: Store.open(store.path).index(needed))
    left = meter.time("pending_full", lambda: missing_packs(plan, held))
    assert not left


def fill(shape: str, count: int, folder: Path) -> None:
    """Commits every trial of the study as done."""
    store, plan = Store.open(folder / "store"), make_plan(study(shape, count))
    for number, pack in enumerate(_large(plan)):
        ids = [member.trial.trial_id for member in pack.members]
        results = [
            TrialResult(trial_id=item, state=State.DONE, reason="", steps_done=200, wall_s=1.0)
            for item in ids
        ]
        with store.writer(plan.study, f"large{number}") as writer:
            writer.commit(trial_rows(pack, results, attempts={}, started_at=provenance.utc_now()))


def _large(plan: Plan) -> Iterator[Pack]:
    members, first = plan.members, plan.packs[0]
    while part := tuple(islice(members, COMMITTED)):
        yield Pack(pack_id=first.pack_id, study=plan.study, program=first.program, members=part)


class Reporting(Launcher):
    """Reports each pack as done, without running it."""

    name = "reporting"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._begun, self._begun_cpu = time.perf_counter(), time.process_time()

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        """Tells the memory at each quarter, and stops the run."""
        self._tell("to_first_pack")
        quarters = {len(orders) * quarter // 4: quarter for quarter in range(1, 5)}
        for number, order in enumerate(orders, start=1):
            self._report(order, on_report)
            if number in quarters:
                self._tell(f"quarter_{quarters[number]}")
        raise StopIteration

    def _report(self, order: Order, on_report: OnReport) -> None:
        members = order.pack.members
        steps = sum(member.trial.steps for member in members)
        pack_id, states = order.pack.pack_id, {str(State.DONE): len(members)}
        on_report(Report(pack_id=pack_id, trials_done=len(members), steps_done=steps // 2))
        on_report(
            Report(
                pack_id=pack_id,
                trials_done=len(members),
                steps_done=steps,
                states=states,
                finished=True,
            )
        )

    def _tell(self, phase: str) -> None:
        self._meter.tell(phase, time.perf_counter() - self._begun, time.process_time() - self._begun_cpu)


def whole(shape: str, count: int, folder: Path) -> None:
    """A run, as anyone calls it."""
    place = folder / "planned_size"
    place.mkdir()
    (place / "study.py").write_text(STUDY_FILE.format(shape=shape, count=count), encoding="utf-8")
    launcher = Reporting(Meter("run", shape, count))
    with patch.object(runner, "make_launcher", lambda *_, **__: launcher):
        try:
            gradlaw.run(place, store=folder / "store", on_progress=lambda _: None, say=lambda _: None)
        except StopIteration:
            return


CASES: dict[str, Callable[[str, int, Path], Any]] = {"parts": parts, "run": whole, "fill": fill}


def main(arguments: Sequence[str]) -> None:
    if arguments and arguments[0] in CASES:
        case, shape, count, folder = arguments
        CASES[case](shape, int(count), Path(folder))
        return
    counts: Iterable[int] = map(int, arguments) if arguments else COUNTS
    for count in counts:
        for shape in SHAPES:
            for case in ("parts", "run"):
                with tempfile.TemporaryDirectory() as folder:
                    subprocess.run([sys.executable, __file__, case, shape, str(count), folder], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
