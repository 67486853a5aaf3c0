"""Several drivers on one store: no trial runs twice or is lost; the living take over from the dead."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drivers import Drivers
from held import STUDIES, committed, numbers, states

import gradlaw
from gradlaw.fingerprint import digest
from gradlaw.launch import worker
from gradlaw.launch.base import Order, Report
from gradlaw.launch.committing import commit_unrun
from gradlaw.launch.worker import work
from gradlaw.pack import Pack
from gradlaw.planning.planned import plan_study
from gradlaw.running.pending import missing_packs
from gradlaw.running.stop import Stop
from gradlaw.store import paths
from gradlaw.store.attempts import Seen, Sight, committed_since
from gradlaw.store.checkpoints import PackCheckpoints, clear_checkpoints
from gradlaw.store.compaction import compact
from gradlaw.store.files import Entry
from gradlaw.store.leases import EXPIRE_S, Lease, Leases, Tenant
from gradlaw.store.process import Process, this_process
from gradlaw.store.store import Store
from gradlaw.trial import State

TINY, TROUBLED = str(STUDIES / "tiny"), str(STUDIES / "troubled")
HOW: dict[str, Any] = {"launcher": "inline", "compile": "never"}
WAITING = "waiting: what is left is being run by others"


def _twice(store: Path) -> int:
    """Trials that ran more than once: committed rows beyond one a trial."""
    rows = committed(store)
    return len(rows) - len({row["trial_id"] for row in rows})


def _await(condition: Callable[[], bool], what: str, timeout_s: float = 300.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def _packs(study: str, **how: Any) -> tuple[Pack, ...]:
    return plan_study(study, **how).plan.packs


@pytest.mark.slow
def test_two_drivers_of_one_plan_run_no_trial_twice(
    drivers: Drivers, tmp_path: Path, assert_whole: Callable[..., None]
) -> None:
    store = tmp_path / "store"
    pids = [drivers.start(study=TINY, store=str(store), how={**HOW, "seeds": 10}) for _ in range(2)]
    assert [drivers.wait(pid) for pid in pids] == [0, 0]
    assert _twice(store) == 0
    assert_whole(store, 10)
    left = store / paths.LEASES
    assert not left.exists() or list(left.iterdir()) == []


def test_two_drivers_commit_what_is_not_to_run_once(drivers: Drivers, tmp_path: Path) -> None:
    store = tmp_path / "store"
    how = {**HOW, "preset": "skips"}
    pids = [drivers.start(study=TROUBLED, store=str(store), how=how) for _ in range(3)]
    assert [drivers.wait(pid) for pid in pids] == [0, 0, 0]
    assert states(store) == {"done": 6, "skipped": 2}
    assert _twice(store) == 0


@pytest.mark.parametrize("killed", [False, True])
def test_one_waits_for_what_another_runs_and_takes_over_if_it_dies(
    killed: bool, drivers: Drivers, tmp_path: Path
) -> None:
    """The first is held up in a pack; the second runs the rest and waits, until the first is done or dead."""
    store, orders, earlier = tmp_path / "store", tmp_path / "orders", len(drivers.log.read_text())
    orders.write_text("wait 1")
    how = {**HOW, "preset": "squares", "set": {"orders": str(orders)}}
    first = drivers.start(study=TROUBLED, store=str(store), how=how)
    _await(lambda: any((store / paths.LEASES).glob("*/*.json")), "the first takes no lease")
    [hung] = [path.parent.name for path in (store / paths.LEASES).glob("*/*.json")]
    second = drivers.start(study=TROUBLED, store=str(store), how=how)
    _await(lambda: WAITING in drivers.log.read_text()[earlier:], "the second does not wait")
    assert {row["pack_id"] for row in committed(store)}.isdisjoint({hung})
    assert len(committed(store)) == 2
    if killed:
        assert drivers.kill(first) == -signal.SIGKILL
    orders.write_text("")
    assert killed or drivers.wait(first) == 0
    assert drivers.wait(second) == 0
    assert states(store) == {"done": 6}
    assert _twice(store) == 0
    assert drivers.log.read_text()[earlier:].count(WAITING) == 1, "it is said once"


def test_who_runs_again_after_a_kill_waits_for_nothing(drivers: Drivers, tmp_path: Path) -> None:
    store = tmp_path / "store"
    fault = {"GRADLAW_FAULT": "before_commit:1"}
    code = drivers.run(study=TINY, store=str(store), how={**HOW, "seeds": 4}, env=fault)
    assert code == -signal.SIGKILL
    [lease] = (store / paths.LEASES).glob("*/*.json")
    lines: list[str] = []
    assert gradlaw.run(TINY, store=store, seeds=4, say=lines.append, **HOW).complete
    assert [line for line in lines if line.startswith("waiting")] == []
    assert not lease.exists()
    assert _twice(store) == 0


def _plant(store: Store, pack_id: str, **process: Any) -> Path:
    """A lease of a worker on another machine, which nobody here can know to be gone, or as told."""
    there = process or {"host": "elsewhere", "boot_id": "other", "pid": 1, "pid_started": 1}
    document = {**there, "driver": "other"}
    key = paths.lease(pack_id, 1)
    assert store.files.create(key, json.dumps(document).encode())
    return Path(store.files.location(key))


def test_a_dead_worker_of_another_machine_is_waited_for_until_its_lease_expires(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    pack = _packs(TINY, seeds=4)[0]
    planted, lines = _plant(store, pack.pack_id), list[str]()

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith(f"{WAITING} on elsewhere"):
            past = store.files.now() - EXPIRE_S - 1
            os.utime(planted, (past, past))

    assert gradlaw.run(TINY, store=tmp_path, seeds=4, say=say, **HOW).complete
    assert any(line.startswith(WAITING) for line in lines)
    rows = sorted(committed(tmp_path), key=lambda row: row["started_at"])
    assert rows[-1]["pack_id"] == pack.pack_id, "it is run last, after the rest"
    assert {row["attempt"] for row in rows} == {0}, "waiting is no attempt"


def test_who_waits_says_for_what_and_for_how_long_at_most(tmp_path: Path) -> None:
    """A lease that was not renewed for 50 of its 90 seconds: its machine may be gone."""
    store, lines = Store.create(tmp_path), list[str]()
    pack = _packs(TINY, seeds=4)[0]
    planted = _plant(store, pack.pack_id)
    past = store.files.now() - 50
    os.utime(planted, (past, past))

    def say(line: str) -> None:
        lines.append(line)
        if "no sign of a worker" in line:
            os.utime(planted, (past - EXPIRE_S, past - EXPIRE_S))

    assert gradlaw.run(TINY, store=tmp_path, seeds=4, say=say, **HOW).complete
    first, late = [line for line in lines if line.startswith("waiting")]
    assert first.endswith("at the latest 90 s after the last sign of a worker that is gone")
    told = re.fullmatch(
        rf"waiting: pack {pack.pack_id} on elsewhere: no sign of a worker for (\d+) s; "
        r"what of it is gone, is free in (\d+) s at most",
        late,
    )
    assert told
    assert int(told[1]) >= 50
    assert abs(int(told[1]) + int(told[2]) - EXPIRE_S) <= 1, "rounded"


def test_a_lease_that_only_workers_take_for_alive_is_waited_for_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process ran on the driver's machine and is gone, which workers of other machines cannot know."""
    store, lines = Store.create(tmp_path), list[str]()
    packs = _packs(TINY, seeds=4)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    planted: list[Path] = []

    class Elsewhere(Leases):
        def _told(self, entries: Collection[Entry]) -> list[Lease]:
            process = Process("driver", "", 1, 1)
            return [replace(lease, process=process) for lease in super()._told(entries)]

    monkeypatch.setattr(worker, "Leases", Elsewhere)

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith("plan "):  # later than what is dead is swept
            gone = this_process()._replace(pid=child.pid)
            planted.append(_plant(store, packs[0].pack_id, **gone._asdict()))
        if line.startswith("waiting"):
            past = store.files.now() - EXPIRE_S - 1
            os.utime(planted[0], (past, past))

    assert gradlaw.run(TINY, store=tmp_path, seeds=4, say=say, **HOW).complete
    [told] = [line for line in lines if line.startswith("waiting")]
    assert told.startswith(
        f"waiting: pack {packs[0].pack_id}: found held by our workers; if a worker that is"
    )
    assert told.endswith("free in 90 s at most")
    assert _twice(tmp_path) == 0


def test_what_failed_and_another_tries_again_is_waited_for_and_tried_here_if_it_dies(tmp_path: Path) -> None:
    store, lines = Store.create(tmp_path), list[str]()
    packs = _packs(TINY, seeds=4)
    for pack in packs:
        reasons = {member.trial.trial_id: "error: thrice" for member in pack.members}
        commit_unrun(store, pack, reasons, State.FAILED, {})
    planted = _plant(store, packs[0].pack_id)

    def say(line: str) -> None:
        lines.append(line)
        if line.startswith(WAITING):
            past = store.files.now() - EXPIRE_S - 1
            os.utime(planted, (past, past))

    assert gradlaw.run(TINY, store=tmp_path, seeds=4, retry_failed=True, say=say, **HOW).complete
    assert any(line.startswith(WAITING) for line in lines)
    assert len(committed(tmp_path)) == 16, "each once more"


def test_who_waits_for_what_is_not_to_run_says_so_and_ends_when_told(tmp_path: Path) -> None:
    store, stop, lines = Store.create(tmp_path), Stop(), list[str]()
    skipped = plan_study(TROUBLED, preset="skips").plan.skipped
    _plant(store, digest(["skipped", sorted(member.trial.trial_id for member, _ in skipped)]))

    def say(line: str) -> None:
        lines.append(line)
        stop.ask()

    gradlaw.run(TROUBLED, preset="skips", store=tmp_path, stop=stop, say=say, **HOW)
    assert lines[0].startswith(f"{WAITING} on elsewhere")
    assert committed(tmp_path) == []


def _work(store: Store, pack: Pack, seen: Seen = Seen(), driver: str = "me") -> list[Report]:  # noqa: B008
    order = Order(pack=pack, store=store.path, compile="never", tenant=Tenant(driver=driver), seen=seen)
    return list(work(order))


def test_a_worker_leaves_what_another_runs_or_has_run(tmp_path: Path) -> None:
    store, (pack, *_) = Store.create(tmp_path), _packs(TINY, seeds=2)
    held = [Report(pack_id=pack.pack_id, finished=True, held=True)]
    planted = _plant(store, pack.pack_id)
    assert _work(store, pack) == held
    assert _work(store, pack, driver="other")[-1].states == {"done": 4}, "its own lost worker's"
    assert not planted.exists()
    assert _work(store, pack) == held, "committed since the driver looked"
    assert _twice(tmp_path) == 0
    sight = Sight(store.resolve(), [pack.pack_id])
    assert sight.of(pack.pack_id) == Seen(frozenset({0}), 0)
    assert sight.of("another") == Seen(frozenset(), 0)
    assert _work(store, pack, sight.of(pack.pack_id))[-1].states == {"done": 4}, "as when probes are added"
    assert list((tmp_path / paths.LEASES).glob("*/*")) == []


def test_the_lease_is_free_when_the_last_report_comes(tmp_path: Path) -> None:
    """Nobody asks for more: a worker that waits for its next pack must not go on holding this one."""
    store, (pack, *_) = Store.create(tmp_path), _packs(TINY, seeds=2)
    order = Order(pack=pack, store=store.path, compile="never", flush_s=1e-6, tenant=Tenant(driver="me"))
    reports = work(order)
    assert not next(reports).finished
    assert [*Leases(store.files).live()] == [pack.pack_id]
    assert next(report for report in reports if report.finished).states == {"done": 4}
    assert Leases(store.files).live() == {}


def test_what_was_merged_meanwhile_is_seen_and_what_is_damaged_is_not_taken_for_it(tmp_path: Path) -> None:
    gradlaw.run(TINY, store=tmp_path, seeds=2, **HOW)
    store, (pack, *_) = Store.open(tmp_path), _packs(TINY, seeds=2)
    before = Seen()
    for _ in range(2):  # what is merged is deleted a generation later
        compact(store, keep_s=0.0)
        gradlaw.run(TINY, store=tmp_path, seeds=4, **HOW)
    compact(store, keep_s=0.0)
    assert not list(tmp_path.glob(f"trials/*/{pack.pack_id}-*.parquet"))
    assert committed_since(store.files, pack.study, pack.pack_id, before)
    now = Sight(store.resolve(), [pack.pack_id]).of(pack.pack_id)
    assert not committed_since(store.files, pack.study, pack.pack_id, now)

    [part] = [unit for unit in store.resolve().units if (pack.pack_id, 0) in unit.packs]
    merged = tmp_path / part.files[-1].key
    merged.write_bytes(merged.read_bytes()[:-9])
    fresh = Store.open(tmp_path)
    assert fresh.resolve().set_aside
    assert Sight(fresh.resolve(), [pack.pack_id]).of(pack.pack_id).committed == {0}
    lines: list[str] = []
    assert gradlaw.run(TINY, store=tmp_path, seeds=2, say=lines.append, **HOW).complete
    assert [line for line in lines if line.startswith("waiting")] == []


def test_an_error_elsewhere_does_not_keep_the_lease(tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    orders.write_text("raise 1")
    store = Store.create(tmp_path / "store")
    plan = plan_study(TROUBLED, preset="squares", overrides={"orders": str(orders)}).plan
    with pytest.raises(LookupError):
        _work(store, plan.packs[0])
    assert Leases(store.files).live() == {}
    assert len(missing_packs(plan, store.index())) == len(plan.packs)


def test_a_checkpoint_that_another_driver_deletes_while_it_is_read_fails_no_pack(
    drivers: Drivers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = {**HOW, "seeds": 2, "set": {"steps": 270}, "checkpoint_s": 1e-9}
    store = tmp_path / "store"
    fault = {"GRADLAW_FAULT": "checkpoint_after_manifest:1"}
    assert drivers.run(study=TINY, store=str(store), how=how, env=fault) == -signal.SIGKILL
    take, gone = PackCheckpoints._take, []

    def late(self: PackCheckpoints, key: str, held: Any) -> None:
        """Between a look at the checkpoint and its rows the other driver commits the pack."""
        gone.append(clear_checkpoints(self._files, self._writer.pack.pack_id))
        take(self, key, held)

    monkeypatch.setattr(PackCheckpoints, "_take", late)
    assert gradlaw.run(TINY, store=store, **how).complete
    assert len(gone) == 1
    assert gone[0] >= 3
    assert {row["state"] for row in committed(store)} == {"done"}, "no attempt failed"
    gradlaw.run(TINY, store=tmp_path / "undisturbed", **how)
    assert numbers(store) == numbers(tmp_path / "undisturbed")
