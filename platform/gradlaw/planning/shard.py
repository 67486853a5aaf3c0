"""Shares of a plan, for sites where each machine runs one by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gradlaw.errors import UsageError
from gradlaw.planning.plan import Plan

MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Shard:
    """One of several shares of a plan. Which packs it takes depends on the plan, not on what is left to do.

    Attributes:
        number: Which, from 1.
        count: Of how many.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads ``i/n``.

        Raises:
            UsageError: It is none.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        shard = cls(int(match[1]), int(match[2])) if match else None
        if shard is None or not 1 <= shard.number <= shard.count <= MOST_SHARDS:
            msg = f"shard: got {text!r}, allowed i/n with 1 <= i <= n <= {MOST_SHARDS}, for example 2/4"
            raise UsageError(msg)
        return shard

    def of(self, plan: Plan) -> Plan:
        """The plan with the packs of this share; what is not to run is the first one's.

        Packs are dealt out in the order of their ids, which are digests: shares differ by one pack at most,
        and none gets all the long ones.
        """
        dealt = sorted(pack.pack_id for pack in plan.packs)[self.number - 1 :: self.count]
        own = frozenset(dealt)
        packs = tuple(pack for pack in plan.packs if pack.pack_id in own)
        return replace(plan, packs=packs, skipped=plan.skipped if self.number == 1 else ())

    def __str__(self) -> str:
        return f"share {self.number} of {self.count}"
