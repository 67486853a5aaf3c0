"""The orders of a run: what a worker is told of each pack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from gradlaw.launch.base import Order
from gradlaw.pack import Member, Pack
from gradlaw.running.pending import Index, failed_attempts
from gradlaw.running.starved import Starved
from gradlaw.store.attempts import Sight
from gradlaw.trial import GIVEN_UP


class Orders(Sequence[Order]):
    """The orders of packs, each made when it is asked for: a million packs are no million orders."""

    def __init__(
        self, packs: Sequence[Pack], like: Order, index: Index, sight: Sight, starved: Starved
    ) -> None:
        """Makes none yet.

        Args:
            packs: What to run.
            like: What is the same in all orders.
            index: What is known of the packs' trials.
            sight: What was seen of the packs.
            starved: What is known of the memory they take.
        """
        self._packs, self._like, self._index = packs, like, index
        self._sight, self._starved = sight, starved
        self._alike = Counter(id(pack.program) for pack in packs)

    def __len__(self) -> int:
        return len(self._packs)

    @overload
    def __getitem__(self, at: int) -> Order: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Order]: ...
    def __getitem__(self, at: int | slice) -> Order | Sequence[Order]:
        pack = self._packs[at]
        if not isinstance(pack, Pack):
            return Orders(pack, self._like, self._index, self._sight, self._starved)
        return replace(
            self._like,
            pack=pack,
            widest=self._starved.widest(pack),
            alike=self._alike[id(pack.program)],
            attempts=failed_attempts(self._counted(pack), self._index),
            tenant=replace(self._like.tenant, num_trials=len(pack.members)),
            seen=self._sight.of(pack.pack_id),
        )

    def _counted(self, pack: Pack) -> list[Member]:
        """Members whose attempts count: what was given up and is to run all the same begins anew."""
        statuses = [(member, self._index.get(member.trial.trial_id)) for member in pack.members]
        return [member for member, status in statuses if status and status.state not in GIVEN_UP]
