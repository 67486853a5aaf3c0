"""Packs whose workers died for lack of memory: what is left of them runs narrower, at last trial by trial."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gradlaw.engine.choice import WIDTH
from gradlaw.launch.base import Order
from gradlaw.pack import Pack
from gradlaw.running.pending import alone, shares_budget


class Starved:
    """What one run has learned of the memory that its packs take.

    The engine halves its batches itself where an allocation fails. Here the whole process is gone, and with
    it what it knew: each death halves the width, and at width 1 the trials go on one by one. None of this is
    a failed attempt, but to die alone at width 1 is; the last one ends the trial as out of memory.
    """

    def __init__(self) -> None:
        self._widest: dict[str, int] = {}
        self._apart: set[str] = set()

    def widest(self, pack: Pack) -> int | None:
        """Trials that a batch of the pack may hold; None: nothing has been learned of it."""
        return self._widest.get(pack.pack_id)

    def split(self, packs: Iterable[Pack]) -> tuple[Pack, ...]:
        """The packs, in place of those that died at width 1 their trials one by one."""
        return tuple(part for pack in packs for part in self._parts(pack))

    def _parts(self, pack: Pack) -> Iterator[Pack]:
        if pack.pack_id not in self._apart:
            yield pack
            return
        for member in pack.members:
            single = alone(pack, member)
            self._widest.setdefault(single.pack_id, 1)
            yield single

    def goes_on(self, order: Order, width: int = 0) -> bool:
        """Takes note of a death; whether there is a way on.

        Args:
            order: As it was sent; its worker may have made narrower batches, by its share of a node.
            width: Trials in one batch when it died; 0: it died before it told, and a width is presumed.
        """
        pack = order.pack
        if not width:
            width = min(order.width or WIDTH, order.widest or WIDTH, max(2, len(pack.members)))
        if order.trains and width > 1:
            self._widest[pack.pack_id] = max(1, width // 2)
            return True
        if len(pack.members) == 1 or shares_budget(pack):
            return False
        self._apart.add(pack.pack_id)
        return True
