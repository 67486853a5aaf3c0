"""Waiting for packs that others run: how often to look, and what is said meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping

from gradlaw.running.telling import Teller
from gradlaw.store.leases import RENEW_S, Lease, Leases

FIRST_PAUSE_S, PAUSE_GROWTH, LONGEST_PAUSE_S = 0.05, 1.5, 5.0
"""Pauses between looks at what others run."""

LATE_S = 2 * RENEW_S
"""Age in seconds of a lease that was not renewed once and again: its holder may be gone."""


def pauses() -> Iterator[float]:
    """Growing pauses, in seconds, without end."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(LONGEST_PAUSE_S, pause_s * PAUSE_GROWTH)


class Waiting:
    """Waits for one driver, and says for what and for how long at most.

    Args:
        leases: As the driver sees them.
        teller: Told what is waited for.
        is_over: Whether to wait no longer.
    """

    def __init__(self, leases: Leases, teller: Teller, is_over: Callable[[], bool] = lambda: False) -> None:
        self._leases, self._teller, self._is_over = leases, teller, is_over
        self._late: set[str] = set()

    def until_one_is_free(self, held: Mapping[str, Lease]) -> None:
        """Returns once any of these packs is held no more, or at once if the wait is over."""
        now = held
        for pause_s in pauses():
            self.tell(now)
            if self._is_over():
                return
            time.sleep(pause_s)
            now = self._leases.live(held.keys())
            if len(now) < len(held):
                return

    def tell(self, held: Mapping[str, Lease]) -> None:
        """Says, once, that others run what is left, and, of each, that its holder is late."""
        self._teller.waiting(held)
        late = {pack_id: lease for pack_id, lease in held.items() if lease.age_s > LATE_S}
        if fresh := late.keys() - self._late:
            self._teller.late({pack_id: late[pack_id] for pack_id in sorted(fresh)})
            self._late |= fresh

    def tell_refused(self, pack_ids: Collection[str]) -> None:
        """Says of packs that workers found held whether their leases are dead as seen from here."""
        if dead := set(pack_ids) - self._leases.live(pack_ids).keys():
            self._teller.refused(sorted(dead))
