"""Packs that find too little memory: halved in the process, split by the run, and ended trial by trial."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from held import STUDIES, committed, counting

import gradlaw
from gradlaw.engine.memory import process_bytes
from gradlaw.launch.base import Launcher, OnReport, Order, Report
from gradlaw.launch.worker import work
from gradlaw.pack import Pack
from gradlaw.planning.planned import plan_study
from gradlaw.running import runner
from gradlaw.running.starved import Starved

PLACED = STUDIES / "placed"
GIB = 2**30


@pytest.fixture(scope="module")
def watched_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A node of one CPU whose memory monitor ends workers once 4 GiB more are taken than now.

    That is much: what runs beside these tests takes and gives memory too.
    """
    from gradlaw.launch.auth import require_token

    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + min(4 * GIB, 0.6 * memory.available)) / memory.total
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_memory_usage_threshold", f"{threshold:.4f}")
        patched.setenv("RAY_memory_monitor_refresh_ms", "100")
        require_token()
        ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield
        ray.shutdown()


def states(store: Path) -> dict[int, list[str]]:
    """States of all rows committed of each seed."""
    found: dict[int, list[str]] = {}
    for row in committed(store):
        found.setdefault(row["seed"], []).append(row["state"])
    return found


def one_was_out_of_memory(store: Path) -> None:
    ended = {row["seed"]: row["state"] for row in counting(store)}
    assert ended == {0: "done", 1: "out_of_memory", 2: "done", 3: "done"}
    assert len(counting(store)) == 4
    assert len(counting(store, "places")) == 3


def test_a_measurement_that_takes_too_much_ends_alone(tmp_path: Path) -> None:
    """The memory asked for is kept to, so that numpy cannot have more."""
    summary = gradlaw.run(
        PLACED,
        preset="hungry",
        set={"most_mib": 4096},
        store=tmp_path,
        memory_gb=process_bytes() / GIB + 1.0,
    )
    assert summary.complete
    assert summary.states == {"done": 3, "out_of_memory": 1}
    one_was_out_of_memory(tmp_path)
    assert len(committed(tmp_path)) == 4, "what is told in the process is told once"
    reason = next(row["reason"] for row in committed(tmp_path) if row["state"] == "out_of_memory")
    assert "allocate" in reason


def test_a_pack_that_cannot_begin_for_lack_of_memory_is_split(tmp_path: Path) -> None:
    said: list[str] = []
    room = process_bytes() / GIB + 1.0
    how: dict[str, Any] = {"preset": "greedy", "store": tmp_path, "say": said.append}
    summary = gradlaw.run(PLACED, memory_gb=room, **how)
    ends = ["lost", "lost", "out_of_memory"]
    assert {seed: sorted(found) for seed, found in states(tmp_path).items()} == {0: ends, 1: ends}
    assert summary.states == {"out_of_memory": 2}
    assert sum("it goes on narrower" in line for line in said) == 2, "at width 1, and then one by one"
    assert all("allocate" in row["reason"] for row in committed(tmp_path))

    said.clear()
    again = gradlaw.run(PLACED, memory_gb=room, retry_failed=True, **how)
    assert {seed: sorted(found) for seed, found in states(tmp_path).items()} == dict.fromkeys(
        (0, 1), sorted([*ends, "lost"])
    ), "one attempt more, after it went narrower"
    assert any("it goes on narrower" in line for line in said)
    assert again.states == {"out_of_memory": 2}


def test_batches_that_do_not_fit_are_halved_in_the_process(tmp_path: Path) -> None:
    room = process_bytes() / GIB + 0.6
    gradlaw.run(PLACED, preset="wider", store=tmp_path, memory_gb=max(1.0, room), compile="never")
    rows = counting(tmp_path)
    assert Counter(row["state"] for row in rows) == {"done": 64}
    assert {row["pack_width"] for row in rows} <= {4, 8, 16, 32}, "64 at once take three arrays of 0.5 GiB"


@pytest.mark.slow
def test_a_worker_that_ray_ends_for_memory(watched_node: None, tmp_path: Path) -> None:
    how: dict[str, Any] = {"preset": "hungry", "seeds": 2, "launcher": "ray"}
    how["set"] = {"most_mib": 8192, "keep_s": 300}  # until somebody ends it
    summary = gradlaw.run(PLACED, store=tmp_path, **how)
    assert summary.states == {"done": 1, "out_of_memory": 1}
    assert {row["seed"]: row["state"] for row in counting(tmp_path)} == {0: "done", 1: "out_of_memory"}
    assert len(counting(tmp_path, "places")) == 1
    assert sorted(states(tmp_path)[1]) == ["lost", "lost", "out_of_memory"], "alone, three times"
    again = gradlaw.run(PLACED, store=tmp_path, **how)
    assert again.trials_run == 0, "to be out of memory is final"


class Starving(Launcher):
    """Ends every worker whose batches are wider than two, as soon as it tells how wide they are.

    Its nodes have memory for four, of which the run knows nothing.
    """

    def __init__(self) -> None:
        self.widths: list[int] = []

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        for order in orders:
            reports = work(replace(order, widest=min(4, order.widest or 4), device="cpu"))
            assert isinstance(reports, Generator)
            for report in reports:
                on_report(report)
                if report.width:
                    self.widths.append(report.width)
                if report.width > 2:
                    reports.close()
                    dead = Report(pack_id=order.pack.pack_id, finished=True, error="ended", lost=True)
                    on_report(replace(dead, out_of_memory=True))
                    break


def _with_packs_of_16(folder: Path) -> Path:
    """``tiny`` under a name of its own: of one name a process imports one."""
    for name in ("study.py", "problem.py"):
        text = (STUDIES / "tiny" / name).read_text().replace("PACK_WIDTH = 4\n", "PACK_WIDTH = 16\n")
        text = text.replace("from tiny.", f"from {folder.name}.")
        (folder / name).write_text(text.replace('name="tiny"', f'name="{folder.name}"'))
    return folder


def test_what_dies_goes_on_at_half_the_width_that_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One death each, of packs of 16 that ran four at a time: not 8 next, and 4 once more."""
    (tmp_path / "tiny_by_16").mkdir()
    study, store = _with_packs_of_16(tmp_path / "tiny_by_16"), tmp_path / "store"
    launcher, said = Starving(), list[str]()
    monkeypatch.setattr(runner, "make_launcher", lambda *_, **__: launcher)
    how: dict[str, Any] = {"seeds": 16, "set": {"steps": 4}, "compile": "never", "flush_s": 60.0}
    assert gradlaw.run(study, store=store, say=said.append, **how).states == {"done": 32}
    assert launcher.widths == [4, 4, *[2] * (2 * (1 + 16 // 2))], "told at the start and at each wave's end"
    assert {row["pack_width"] for row in counting(store)} == {2}
    assert sum("it goes on narrower" in line for line in said) == 2


def pack_of(number: int) -> Pack:
    plan = plan_study(PLACED, preset="wide", seeds=number).plan
    return max(plan.packs, key=lambda pack: len(pack.members))


def order_of(pack: Pack, starved: Starved, **how: Any) -> Order:
    return Order(pack=pack, store=os.devnull, widest=starved.widest(pack), **how)


def test_widths_are_halved_with_every_death_and_then_trials_go_alone() -> None:
    starved, pack = Starved(), pack_of(16)
    widths = []
    while (parts := starved.split([pack])) == (pack,):
        widths.append(starved.widest(pack))
        assert starved.goes_on(order_of(pack, starved))
    assert widths == [None, 8, 4, 2, 1]
    assert [len(part.members) for part in parts] == [1] * 16
    assert len({part.pack_id for part in parts} | {pack.pack_id}) == 17
    assert not starved.goes_on(order_of(parts[0], starved)), "alone at width 1 there is no way on"


def test_a_single_trial_runs_at_width_one_before_it_is_given_up() -> None:
    starved, pack = Starved(), pack_of(1)
    assert starved.goes_on(order_of(pack, starved)), "alone it ran padded to two"
    assert starved.widest(pack) == 1
    assert not starved.goes_on(order_of(pack, starved))


def test_the_width_that_it_had_is_halved_where_it_was_told() -> None:
    for told, then in ((12, 6), (128, 64), (2, 1)):
        starved, pack = Starved(), pack_of(16)
        assert starved.goes_on(order_of(pack, starved), told)
        assert starved.widest(pack) == then
    starved, pack = Starved(), pack_of(16)
    assert starved.goes_on(order_of(pack, starved), 1), "as where a task cannot be vmapped"
    assert len(starved.split([pack])) == 16


def test_a_width_asked_for_is_halved_too() -> None:
    starved, pack = Starved(), pack_of(16)
    assert starved.goes_on(order_of(pack, starved, width=6))
    assert starved.widest(pack) == 3
