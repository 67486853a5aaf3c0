"""Who works on what now, as the leases of a store tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gradlaw.busy import advice
from gradlaw.store.leases import Lease

_MOST_HOSTS = 6


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Workers that hold a pack.

    Attributes:
        hosts: How many there are by host, the most first.
        cpu_busy, gpu_busy: Means of the shares used of late, in [0, 1], of those that tell; None: none does.
        longest_s, shortest_s: Seconds since the first and the last of them began their packs.
    """

    hosts: Mapping[str, int]
    cpu_busy: float | None
    gpu_busy: float | None
    longest_s: float
    shortest_s: float

    @classmethod
    def of(cls, leases: Iterable[Lease], now_s: float) -> Workers | None:
        """Those that hold these leases at a time, in seconds since the epoch; None if there is none."""
        held = list(leases)
        if not held:
            return None
        hosts = Counter(lease.process.host or "unknown" for lease in held)
        ages = [max(0.0, now_s - lease.since) for lease in held if lease.since]
        return cls(
            hosts=dict(sorted(hosts.items(), key=lambda item: (-item[1], item[0]))),
            cpu_busy=_mean(lease.cpu_utilisation for lease in held),
            gpu_busy=_mean(lease.gpu_utilisation for lease in held),
            longest_s=max(ages, default=0.0),
            shortest_s=min(ages, default=0.0),
        )

    @property
    def number(self) -> int:
        """How many there are."""
        return sum(self.hosts.values())

    def __str__(self) -> str:
        shown = [f"{host} {number}" for host, number in list(self.hosts.items())[:_MOST_HOSTS]]
        more = ["..."] if len(self.hosts) > _MOST_HOSTS else []
        where = f"{len(self.hosts):,} hosts ({', '.join([*shown, *more])})"
        if len(self.hosts) == 1:
            where = next(iter(self.hosts))
        busy = [
            f"{name} {share:.0%} busy"
            for name, share in (("CPU", self.cpu_busy), ("GPU", self.gpu_busy))
            if share is not None
        ]
        first, last = (f"{age_s:,.0f} s" for age_s in (self.longest_s, self.shortest_s))
        begun = f"begun {first} ago" if first == last else f"begun {last} to {first} ago"
        low = advice(self.gpu_busy)
        return "; ".join([f"{self.number:,} on {where}", *busy, begun, *([low] if low else [])])


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) / len(known) if known else None
