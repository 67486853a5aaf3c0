"""Leases: of many that ask one gets a pack, a dead holder's is free, a living one's is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from gradlaw.errors import StoreError, UsageError
from gradlaw.store import leases as module
from gradlaw.store import paths
from gradlaw.store.files import Content
from gradlaw.store.leases import EXPIRE_S, RENEW_S, Leases, Tenant
from gradlaw.store.local import LocalFiles
from gradlaw.store.process import Process, this_process

PACK = "p0"


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path)


def keys(files: LocalFiles) -> list[str]:
    return sorted(files.scan(paths.LEASES))


def plant(files: LocalFiles, number: int = 1, *, age_s: float = 0.0, **fields: object) -> str:
    """A lease as another process left it, on another machine unless said otherwise."""
    elsewhere = {"host": "elsewhere", "boot_id": "other", "pid": 1, "pid_started": 1}
    key = paths.lease(PACK, number)
    assert files.create(key, json.dumps({**elsewhere, "driver": "d", **fields}).encode())
    moment = files.now() - age_s
    os.utime(files.root / key, (moment, moment))
    return key


def test_one_holds_and_the_rest_are_refused_until_it_lets_go(files: LocalFiles) -> None:
    first = Leases(files).acquire(PACK, Tenant(driver="a", plan_id="demo", num_trials=4))
    assert first
    with first:
        assert Leases(files).acquire(PACK, Tenant(driver="b")) is None
        assert Leases(files).acquire("another", Tenant(driver="b")) is not None
        lease = Leases(files).live([PACK])[PACK]
        assert lease.tenant == Tenant(driver="a", plan_id="demo", num_trials=4)
        assert lease.process == this_process()
        assert abs(lease.since - time.time()) < 60.0
        assert sorted(Leases(files).live()) == ["another", PACK]
    assert [key.split("/")[1] for key in keys(files)] == ["another"]
    assert not (files.root / paths.LEASES / PACK).exists(), "no empty folder is left for every pack"
    second = Leases(files).acquire(PACK, Tenant(driver="b"))
    assert second
    assert second.number == 1


def test_a_renewal_is_a_new_file_and_the_old_one_goes(files: LocalFiles) -> None:
    shares = iter(({"cpu_utilisation": 0.5, "gpu_utilisation": None}, {"cpu_utilisation": 7.0}))
    hold = Leases(files).acquire(PACK, Tenant(), lambda: next(shares))
    assert hold
    watching = Leases(files)
    assert watching.live()[PACK].cpu_utilisation is None
    assert hold.renew()
    assert keys(files) == [paths.lease(PACK, 2)]
    assert (watching.live()[PACK].cpu_utilisation, watching.live()[PACK].gpu_utilisation) == (0.5, None)
    assert hold.renew()
    assert watching.live()[PACK].cpu_utilisation == 1.0, "a share of more than all is all"
    hold.release()
    assert keys(files) == []


@pytest.mark.parametrize(("age_s", "holds"), [(0.0, True), (EXPIRE_S - 60, True), (EXPIRE_S + 5, False)])
def test_one_of_another_machine_is_waited_for_until_it_expires(
    files: LocalFiles, age_s: float, *, holds: bool
) -> None:
    plant(files, 3, age_s=age_s)
    assert (PACK in Leases(files).live()) == holds
    taken = Leases(files).acquire(PACK, Tenant())
    assert (taken is None) == holds
    assert keys(files) == [paths.lease(PACK, 3 if holds else 4)], "and what was dead is gone"


def test_a_clock_put_back_frees_what_it_left_in_the_future(files: LocalFiles) -> None:
    """A living holder makes a younger one soon; a dead one must not hold for as long as the clock jumped."""
    plant(files, age_s=-3600.0)
    assert Leases(files).acquire(PACK, Tenant())


def test_what_is_known_to_be_gone_holds_nothing(files: LocalFiles) -> None:
    here = this_process()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19])
    of_child = {"host": here.host, "boot_id": here.boot_id, "pid": child.pid, "pid_started": started}
    plant(files, **of_child)
    assert PACK in Leases(files).live()
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert PACK not in Leases(files).live(), "dead, though nobody has waited for it yet"
    child.communicate()
    assert PACK not in Leases(files).live()
    plant(files, 2, **of_child | {"boot_id": "of another space of process numbers"})
    assert PACK in Leases(files).live()
    plant(files, 3, **of_child | {"pid": here.pid})
    assert PACK not in Leases(files).live(), "the number is another process's by now"


def test_where_the_system_tells_little_a_process_is_still_seen_to_be_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr("gradlaw.store.process._PROC", tmp_path)
    monkeypatch.setattr("gradlaw.store.process._boot_id", lambda: "")
    here = this_process()
    assert (here.boot_id, here.pid_started) == ("", 0)
    process = Process(here.host, "", child.pid, 0)
    assert not process.is_gone()
    assert not Process(here.host, "", 1, 0).is_gone(), "another user's, or not"
    child.communicate()
    assert process.is_gone()
    assert not Process("elsewhere", "", child.pid, 0).is_gone()


def test_a_run_takes_over_what_its_own_lost_workers_held(files: LocalFiles) -> None:
    plant(files, driver="mine")
    assert Leases(files).live()
    assert not Leases(files, "mine").live()
    assert Leases(files, "other").acquire(PACK, Tenant(driver="other")) is None
    assert Leases(files, "mine").acquire(PACK, Tenant(driver="mine"))


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"pid": "x", "num_trials": Infinity, "host": "a\\u001b[2J"}']
)
def test_one_that_cannot_be_read_holds_until_it_expires_and_says_nothing(
    files: LocalFiles, text: str
) -> None:
    key = paths.lease(PACK, 1)
    files.create(key, text.encode())
    lease = Leases(files).live()[PACK]
    assert (lease.tenant, lease.process) == (Tenant(), Process("", "", 0, 0))
    past = files.now() - EXPIRE_S - 1
    os.utime(files.root / key, (past, past))
    assert Leases(files).live() == {}


def test_who_sees_another_one_after_its_own_withdraws(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing made while a holder renews may show neither its old file nor its new one."""
    plant(files, 7)
    scan, listings = files.scan, iter([{}])
    monkeypatch.setattr(files, "scan", lambda folder: next(listings, None) or scan(folder))
    assert Leases(files).acquire(PACK, Tenant()) is None
    assert keys(files) == [paths.lease(PACK, 7)]


def test_who_lost_its_lease_goes_on_and_leaves_the_other_alone(files: LocalFiles) -> None:
    hold = Leases(files).acquire(PACK, Tenant(driver="slept"))
    assert hold
    past = files.now() - EXPIRE_S - 1
    os.utime(files.root / paths.lease(PACK, 1), (past, past))
    other = Leases(files).acquire(PACK, Tenant(driver="other"))
    assert other
    assert not hold.renew()
    assert not hold.renew()
    hold.release()
    assert keys(files) == [paths.lease(PACK, 2)]
    assert other.renew()


def test_the_dead_are_swept_and_the_living_stay(files: LocalFiles) -> None:
    plant(files, 1, age_s=EXPIRE_S + 1)
    plant(files, 2, age_s=EXPIRE_S + 1)
    assert Leases(files).acquire("p1", Tenant())
    assert Leases(files).sweep() == 2
    assert keys(files) == [paths.lease("p1", 1)]
    assert [path.name for path in (files.root / paths.LEASES).iterdir()] == ["p1"]


def test_many_are_read_at_once_and_each_once(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand workers are a thousand objects of a bucket, which one by one take half a minute."""
    for pack_id in ("p1", "p2", "p3"):
        assert Leases(files).acquire(pack_id, Tenant())
    asked: list[int] = []

    def counted(keys: Iterable[str]) -> Iterator[tuple[str, Content]]:
        found = [(key, files.read_or_error(key)) for key in keys]
        asked.append(len(found))
        return iter(found)

    monkeypatch.setattr(files, "read_each", counted)
    watching = Leases(files)
    assert sorted(watching.live()) == sorted(watching.live()) == ["p1", "p2", "p3"]
    assert asked == [3, 0]


def test_a_name_that_is_none_is_refused(files: LocalFiles) -> None:
    with pytest.raises(UsageError, match=r"pack_id: got '\.\./p', allowed"):
        Leases(files).acquire("../p", Tenant())


def test_a_thread_renews_and_what_fails_ends_nothing(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_S", 0.001)
    create = files.create
    failures = iter(
        [StoreError("the disk is full"), FileNotFoundError("the store was moved"), StoreError("")]
    )
    called = threading.Event()

    def full(key: str, data: bytes, *, durable: bool = True) -> bool:
        if not key.endswith("/1.json") and (error := next(failures, None)):
            raise error
        if key.endswith("/7.json"):
            called.set()
        return create(key, data, durable=durable)

    monkeypatch.setattr(files, "create", full)
    hold = Leases(files).acquire(PACK, Tenant())
    assert hold
    with hold:
        assert called.wait(30.0)
    assert hold.number >= 7
    assert keys(files) == []
    assert RENEW_S * 4 < EXPIRE_S


def test_without_a_thread_to_renew_it_nothing_is_held(
    files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    hold = Leases(files).acquire(PACK, Tenant())
    assert hold
    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(RuntimeError, match="new thread"), hold:
        pass
    assert keys(files) == []
