"""Leases against a model: drivers that ask, renew, sleep, let go and die, and real processes that race."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gradlaw.store import paths
from gradlaw.store.leases import EXPIRE_S, RENEW_S, Hold, Leases, Tenant
from gradlaw.store.local import LocalFiles

PACK = "p0"


class Clocked(LocalFiles):
    """Files with a clock of their own: a file is as old as the clock has moved since it was made."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.time_s = 1_000_000_000.0

    def now(self) -> float:
        return self.time_s

    def create(self, key: str, data: bytes, *, durable: bool = True) -> bool:
        made = super().create(key, data, durable=durable)
        if made:
            os.utime(self.root / key, (self.time_s, self.time_s))
        return made


class LeaseMachine(RuleBasedStateMachine):
    """Three drivers ask, renew, let go and die in any order, under a clock that goes on as it likes.

    A model without files says what must come of each: it holds who got it last and has neither let go, nor
    died, nor slept too long. Who died was of this machine, so that its file holds nothing.
    """

    folders: Iterator[Path]

    def __init__(self) -> None:
        super().__init__()
        self.files = Clocked(next(self.folders))
        self.files.root.mkdir()
        self.holds: dict[int, Hold] = {}
        self.renewed: dict[int, float] = {}
        self.told: set[int] = set()
        self.last: int | None = None
        self.corpse = False

    def holder(self) -> int | None:
        """Who holds the lease, as the model has it."""
        if self.last is None or self.files.time_s - self.renewed[self.last] >= EXPIRE_S:
            return None
        return self.last

    @rule(driver=st.integers(0, 2))
    def ask(self, driver: int) -> None:
        if driver in self.holds:
            return
        expected = self.holder() is None
        hold = Leases(self.files, f"d{driver}").acquire(PACK, Tenant(driver=f"d{driver}"))
        assert (hold is not None) == expected
        if hold:
            self.holds[driver], self.renewed[driver], self.last = hold, self.files.time_s, driver
            self.told.discard(driver)
            self.corpse = False

    @rule(driver=st.integers(0, 2))
    def renew(self, driver: int) -> None:
        """Who slept keeps what nobody took, and gets back what is free again, unless told of the loss."""
        if driver not in self.holds:
            return
        free = self.last is None and not self.corpse and driver not in self.told
        expected = self.last == driver or free
        assert self.holds[driver].renew() == expected
        if expected:
            self.renewed[driver], self.last = self.files.time_s, driver
        else:
            self.told.add(driver)

    @rule(driver=st.integers(0, 2))
    def release(self, driver: int) -> None:
        if driver in self.holds and (self.last == driver or driver in self.told):
            self.holds.pop(driver).release()
            self.last = None if self.last == driver else self.last

    @rule(driver=st.integers(0, 2))
    def die(self, driver: int) -> None:
        """Leaves its file as it is, but of a process of this machine that is gone."""
        hold = self.holds.pop(driver, None)
        if hold and self.last == driver:
            path = self.files.root / paths.lease(PACK, hold.number)
            if path.exists():  # else it slept, and was swept
                document = json.loads(path.read_text()) | {"pid_started": 1}
                path.write_text(json.dumps(document))
                os.utime(path, (self.renewed[driver], self.renewed[driver]))
                self.corpse = True
            self.last = None

    @rule(seconds=st.sampled_from([1.0, RENEW_S, EXPIRE_S - 1, EXPIRE_S + 1, 1e5]))
    def wait(self, seconds: float) -> None:
        self.files.time_s += seconds

    @rule()
    def sweep(self) -> None:
        Leases(self.files).sweep()
        self.corpse = self.corpse and self.holder() is not None

    @invariant()
    def who_holds_is_who_should(self) -> None:
        found = Leases(self.files).live()
        expected = self.holder()
        assert sorted(found) == ([] if expected is None else [PACK])
        if expected is not None:
            assert found[PACK].tenant.driver == f"d{expected}"


def test_who_holds_is_what_a_model_says(tmp_path: Path) -> None:
    LeaseMachine.folders = (tmp_path / str(number) for number in range(10**9))
    machine: Any = LeaseMachine.TestCase
    machine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
    machine().runTest()


RACE = """
import os, sys, time
from gradlaw.store.files import open_files
from gradlaw.store.leases import Leases, Tenant

root, me = sys.argv[1], sys.argv[2]
files = open_files(root)
print("ready", flush=True)
input()
for turn in range(60):
    hold = Leases(files, me).acquire("p0", Tenant(driver=me))
    if hold is None:
        continue
    inside = os.open(os.path.join(root, "inside"), os.O_CREAT | os.O_EXCL)
    hold.renew()
    os.close(inside)
    os.unlink(os.path.join(root, "inside"))
    hold.release()
    print("held", flush=True)
"""


def test_of_real_processes_that_race_one_is_inside_at_a_time(tmp_path: Path) -> None:
    """Each that holds makes a file that must not be there, renews, and removes it."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()  # from here on they race
    ends = [racer.communicate(timeout=120) for racer in racers]
    assert [error for _, error in ends] == [""] * 4
    assert sum(out.count("held") for out, _ in ends) >= 4
    assert list(LocalFiles(tmp_path).scan(paths.LEASES)) == []
