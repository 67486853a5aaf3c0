"""Leases: who runs a pack now. Of many drivers on one store one runs a pack and the others leave it alone.

A lease is a file ``_leases/<pack>/<n>.json``, made exclusively; the newest number counts. Its holder renews
it by making the next number and deleting its own, and deletes it at the end. It is dead once it is older
than ``EXPIRE_S`` by the store's own clock, or at once if the process that made it ran on this machine and is
gone. Whoever finds it dead makes the next number, and of several one succeeds.

A lease keeps work from being done twice; nothing rests on it. Where it fails, because clocks jump or a holder
sleeps too long, a pack is run twice, and one result of each trial counts as ever.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from gradlaw.errors import StoreError
from gradlaw.store import paths
from gradlaw.store.files import Entry, Files, content_of
from gradlaw.store.process import Process, this_process

RENEW_S = 20.0
"""Seconds between renewals: four may fail or come late before a lease is taken for dead."""

EXPIRE_S = 90.0
"""Age in seconds at which a lease is dead."""

Sample = Callable[[], Mapping[str, float | None]]
"""Shares of a device and of the CPUs used since the last call: ``gpu_utilisation``, ``cpu_utilisation``."""

_LARGEST = 2.0**53

logger = logging.getLogger("gradlaw")


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """What a holder says of itself.

    Attributes:
        driver: Token of the run; a run takes over the leases of its own lost workers at once.
        study, plan_id: What is run.
        device: Where.
        num_trials: Trials of the pack.
    """

    driver: str = ""
    study: str = ""
    plan_id: str = ""
    device: str = ""
    num_trials: int = 0


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lease as it was read. What cannot be read of it is as of a :class:`Tenant` that says nothing.

    Attributes:
        pack_id: The pack.
        tenant: Who holds it.
        process: Its process.
        since: When it began, in seconds since the epoch, by the holder's clock; 0 if unknown.
        gpu_utilisation, cpu_utilisation: Shares used of late, in [0, 1]; None: unknown.
        age_s: Seconds since it was last renewed, by the store's clock; below 0 if that was put back since.
    """

    pack_id: str
    tenant: Tenant
    process: Process
    since: float = 0.0
    gpu_utilisation: float | None = None
    cpu_utilisation: float | None = None
    age_s: float = 0.0


class Leases:
    """The leases of one store, as one driver or worker sees them."""

    def __init__(self, files: Files, driver: str = "") -> None:
        """Reads nothing yet.

        Args:
            files: The store's.
            driver: Token of the run that asks: leases of its own count as dead, for it asks only after it
                was told of a worker's end.
        """
        self._files, self._driver = files, driver
        self._read: dict[str, Lease] = {}

    def acquire(self, pack_id: str, tenant: Tenant, sample: Sample | None = None) -> Hold | None:
        """Takes the lease of a pack; None if another holds it.

        Args:
            pack_id: The pack.
            tenant: Who asks.
            sample: Called at each renewal.

        Raises:
            StoreError: The store cannot be read or written.
        """
        paths.check("pack_id", pack_id, paths.PACK)
        before = self._entries(_folder(pack_id)).get(pack_id, {})
        if before and self._living([before[max(before)]]):
            return None
        hold = Hold(self._files, paths.LeaseKey(pack_id, max(before, default=0) + 1), tenant, sample)
        if not hold.begin():
            return None
        # A listing made while files come and go may miss some: whoever still sees another one withdraws.
        after = self._entries(_folder(pack_id)).get(pack_id, {})
        others = [entry for number, entry in after.items() if number != hold.number]
        if self._living(others):
            hold.release()
            return None
        self._files.delete_each(entry.key for entry in others)
        return hold

    def live(self, among: Collection[str] | None = None) -> dict[str, Lease]:
        """The leases that hold now, by pack.

        Args:
            among: Of these packs; None: all.

        Raises:
            StoreError: The store cannot be read.
        """
        found = self._entries(paths.LEASES)
        wanted = found if among is None else found.keys() & set(among)
        newest = [found[pack_id][max(found[pack_id])] for pack_id in wanted]
        leases = {lease.pack_id: lease for lease in self._living(newest)}
        listed = {entry.key for entry in newest}
        self._read = {key: lease for key, lease in self._read.items() if key in listed}
        return leases

    def sweep(self) -> int:
        """Deletes dead leases, which killed processes left behind; returns how many."""
        entries = [entry for numbers in self._entries(paths.LEASES).values() for entry in numbers.values()]
        holding = {lease.pack_id for lease in self._living(entries)}
        dead = [entry for entry in entries if _pack_of(entry.key) not in holding]
        self._files.delete_each(entry.key for entry in dead)
        for pack_id in {_pack_of(entry.key) for entry in dead}:
            self._files.tidy(_folder(pack_id))
        return len(dead)

    def _entries(self, folder: str) -> dict[str, dict[int, Entry]]:
        """Files of leases by pack and number."""
        found: dict[str, dict[int, Entry]] = {}
        for key, entry in self._files.scan(folder).items():
            name = paths.parse_lease(key)
            if name is not None:
                found.setdefault(name.pack_id, {})[name.number] = entry
        return found

    def _living(self, entries: Collection[Entry]) -> list[Lease]:
        """Those of these that hold: young, not of a process known to be gone, nor of this very run."""
        now = self._files.now() if entries else 0.0
        # Of one from the future the clock was put back since: its holder, if it lives, makes a younger one.
        young = [entry for entry in entries if abs(now - entry.modified_s) < EXPIRE_S]
        return [
            replace(lease, age_s=now - entry.modified_s)
            for entry, lease in zip(young, self._told(young), strict=True)
            if not self._is_own(lease) and not lease.process.is_gone()
        ]

    def _is_own(self, lease: Lease) -> bool:
        return bool(self._driver) and lease.tenant.driver == self._driver

    def _told(self, entries: Collection[Entry]) -> list[Lease]:
        """What leases say; one that is being renewed or cannot be understood holds, and says nothing."""
        unread = [entry.key for entry in entries if entry.key not in self._read]
        for key, content in self._files.read_each(unread):
            with suppress(FileNotFoundError, ValueError, RecursionError):
                self._read[key] = _parsed(_pack_of(key), json.loads(content_of(content)))
        return [self._read.get(entry.key) or _parsed(_pack_of(entry.key), {}) for entry in entries]


class Hold:
    """A lease that is held. Within ``with`` it is renewed by a thread, and given up at the end.

    Attributes:
        pack_id: The pack.
        number: Of the lease's file, as of the last renewal.
        is_lost: Whether another has taken it, which changes nothing for what runs.
    """

    def __init__(
        self, files: Files, key: paths.LeaseKey, tenant: Tenant, sample: Sample | None = None
    ) -> None:
        self.pack_id, self.number = key
        self.is_lost = False
        self._made, self._left = {self.number}, {self.number}
        self._files, self._tenant, self._sample = files, tenant, sample
        self._since, self._owner = datetime.now(UTC).timestamp(), uuid.uuid4().hex
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {self.pack_id}", daemon=True)

    def begin(self) -> bool:
        """Makes the first file; returns False if another was faster."""
        return self._create(self.number, {})

    def renew(self) -> bool:
        """Takes the next number; returns False once another has taken the lease.

        Raises:
            StoreError: The store cannot be read or written; the lease stays as it is.
        """
        names = map(paths.parse_lease, self._files.scan(_folder(self.pack_id)))
        listed = {name.number for name in names if name}
        self.is_lost = self.is_lost or not listed <= self._made
        if self.is_lost:
            return False
        number = max(self._made) + 1
        self._made.add(number)
        self._left.add(number)  # a write that fails may yet be carried out
        if not self._create(number, self._sample() if self._sample else {}):
            self.is_lost = True
            return False
        self.number = number
        self._delete(listed)
        self._left -= listed
        return True

    def release(self) -> None:
        """Gives the lease up."""
        if not self.is_lost:
            with suppress(StoreError):  # it expires
                self._delete(self._left)
                self._files.tidy(_folder(self.pack_id))

    def _delete(self, numbers: Iterable[int]) -> None:
        self._files.delete_each(paths.lease(self.pack_id, number) for number in numbers)

    def _create(self, number: int, shares: Mapping[str, float | None]) -> bool:
        process = this_process()._asdict()
        document = {"owner": self._owner, "since": self._since, **asdict(self._tenant), **process, **shares}
        return self._files.create(
            paths.lease(self.pack_id, number), json.dumps(document).encode(), durable=False
        )

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_S) and not self.is_lost:
            try:
                self.renew()
            except OSError as error:  # no reason to end a pack; the next renewal may succeed
                logger.debug("lease of pack %s not renewed: %s", self.pack_id, error)

    def __enter__(self) -> Self:
        try:
            self._thread.start()
        except RuntimeError:  # the system gives no thread: nothing will run, so nothing is held
            self.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.release()


def _folder(pack_id: str) -> str:
    return f"{paths.LEASES}/{pack_id}"


def _pack_of(key: str) -> str:
    return key.split("/")[1]


def _parsed(pack_id: str, document: Any) -> Lease:
    """A lease's document, of which only what is of the right kind is taken."""
    held = document if isinstance(document, dict) else {}

    def text(name: str) -> str:
        value = held.get(name)
        return value if isinstance(value, str) and value.isprintable() else ""

    def number(name: str) -> float:
        value = held.get(name)
        return value if isinstance(value, int | float) and 0 <= value < _LARGEST else 0

    def share(name: str) -> float | None:
        return None if held.get(name) is None else min(1.0, number(name))

    return Lease(
        pack_id=pack_id,
        tenant=Tenant(
            driver=text("driver"),
            study=text("study"),
            plan_id=text("plan_id"),
            device=text("device"),
            num_trials=int(number("num_trials")),
        ),
        process=Process(text("host"), text("boot_id"), int(number("pid")), int(number("pid_started"))),
        since=number("since"),
        gpu_utilisation=share("gpu_utilisation"),
        cpu_utilisation=share("cpu_utilisation"),
    )
