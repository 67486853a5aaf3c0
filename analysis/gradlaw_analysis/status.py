"""How far the newest plan of each study is, as the store alone can tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.store import paths
from gradlaw.store.damage import DamagedError, parsed
from gradlaw.store.files import Files
from gradlaw.store.leases import Lease
from gradlaw.store.paths import PackKey
from gradlaw.store.plans import PlanRecord
from gradlaw_analysis.plan_data import MISSING, PlanData
from gradlaw_analysis.workers import Workers

WINDOW_S = 600.0
"""The rate is that of packs committed in these last seconds."""

READ = 200
"""Of packs committed of late at most so many are read for the time in which they ran."""

_LIVE = """
-- one row a pack whose worker lives and that shows rows of the plan's trials
SELECT pack_id, count(DISTINCT trial_id)
FROM temp.metrics_live WHERE trial_id IN (SELECT trial_id FROM temp.plans WHERE plan_id = $plan_id)
AND list_contains($pack_ids::VARCHAR[], pack_id)
GROUP BY pack_id
"""


@dataclass(frozen=True, kw_only=True)
class PlanStatus:
    """How far one plan is.

    Attributes:
        study, plan, kind: Of the plan.
        num_planned, num_ended: Its trials, and those that need not run again.
        states: Its trials by state; "running" have live rows, "missing" have no row at all.
        packs_committed, packs_running: Its packs in the store, and those that a living worker holds.
        trials_per_s: Trials ended a second of late; None if nothing is missing, or no pack ended of late.
        left_s: Seconds left at this rate; None without one.
        num_rounds: Rounds that an adaptive plan has asked for so far; 0 of any other.
        is_open: Whether more may come; then the numbers are those so far.
        workers: Who works on it now; None: nobody.
    """

    study: str
    plan: str
    kind: str
    num_planned: int
    num_ended: int
    states: Mapping[str, int]
    packs_committed: int
    packs_running: int
    trials_per_s: float | None
    left_s: float | None
    num_rounds: int = 0
    is_open: bool = False
    workers: Workers | None = None

    def __str__(self) -> str:
        states = ", ".join(f"{count:,} {state}" for state, count in self.states.items())
        lines = [
            f"{self.study}, plan {self.plan} ({self.kind})",
            f"  trials  {self.num_ended:,} of {self.num_planned:,}: {states}",
            f"  packs   {self.packs_committed:,} committed, {self.packs_running:,} running",
        ]
        if self.num_rounds or self.is_open:
            more = "more to come" if self.is_open else "none to come"
            lines.append(f"  rounds  {self.num_rounds:,} so far, {more}")
        if self.workers:
            lines.append(f"  workers {self.workers}")
        if self.trials_per_s is not None:
            left = "" if self.left_s is None else f", about {self.left_s:,.0f} s left"
            lines.append(f"  rate    {self.trials_per_s:.3g} trials/s{left}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far the newest plan of each study is.

    Attributes:
        plans: One entry a study, by name.
        set_aside: Number of files that could not be read.
        others: Who works on other plans, by plan.
    """

    plans: tuple[PlanStatus, ...]
    set_aside: int
    others: Mapping[str, Workers] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [str(plan) for plan in self.plans] or ["no plan in this store; run a study first"]
        lines += [f"also at work on plan {plan}: {workers}" for plan, workers in self.others.items()]
        if self.set_aside:
            lines.append(f"{self.set_aside} files set aside: they cannot be read; the report names them")
        return "\n".join(lines)


def plan_status(
    connection: duckdb.DuckDBPyConnection,
    plan: PlanData,
    files: Files,
    now: datetime,
    leases: Mapping[str, Lease],
) -> PlanStatus:
    """How far a plan is.

    Args:
        connection: On the store.
        plan: The plan's data.
        files: The store's.
        now: UTC, without a zone.
        leases: All that hold now, by pack.
    """
    record: PlanRecord = plan.record
    given = {"plan_id": record.plan_id}
    packs = plan.rows_held.packs()
    shown = dict(connection.execute(_LIVE, {**given, "pack_ids": list(leases)}).fetchall())
    own = {pack_id: lease for pack_id, lease in leases.items() if lease.tenant.plan_id == record.plan_id}
    states = dict(plan.states)
    running = min(sum(shown.values()), states.get(MISSING, 0))
    if running:
        states = {**states, "running": running, MISSING: states[MISSING] - running}
    missing = plan.num_planned - plan.num_ended
    rate = _rate(_recent(files, record.study, packs), now) if missing else None
    return PlanStatus(
        study=record.study,
        plan=record.plan_id,
        kind=record.kind,
        num_planned=plan.num_planned,
        num_ended=plan.num_ended,
        states={state: count for state, count in states.items() if count},
        packs_committed=len(packs),
        packs_running=len({*shown, *own}),
        trials_per_s=rate,
        left_s=missing / rate if rate else None,
        num_rounds=plan.rows_held.num_rounds,
        is_open=record.is_open,
        workers=Workers.of(own.values(), now.replace(tzinfo=UTC).timestamp()),
    )


def other_workers(
    leases: Mapping[str, Lease], shown: Collection[str], now: datetime
) -> Mapping[str, Workers]:
    """Who works on plans that are not shown, by plan.

    Args:
        leases: All that hold now, by pack.
        shown: Ids of the plans that are shown.
        now: UTC, without a zone.
    """
    plans = sorted({lease.tenant.plan_id for lease in leases.values()} - {*shown, ""})
    now_s = now.replace(tzinfo=UTC).timestamp()
    found = {
        plan: Workers.of((lease for lease in leases.values() if lease.tenant.plan_id == plan), now_s)
        for plan in plans
    }
    return {plan: workers for plan, workers in found.items() if workers}


def _recent(files: Files, study: str, packs: Mapping[PackKey, int]) -> list[tuple[datetime, float, int]]:
    """Of packs committed in the window some, spread over it: start, seconds, and trials it stands for.

    These are all of the plan's that were committed between it and the next one that is read.
    """
    opening = files.now() - WINDOW_S
    commits = files.scan(f"{paths.TRIALS}/study={study}").items()
    recent = sorted((entry.modified_s, key) for key, entry in commits if entry.modified_s >= opening)
    named = [(key, name.pack) for _, key in recent if (name := paths.parse_data(key)) and name.pack in packs]
    step = max(1, -(-len(named) // READ))
    parts = [named[start : start + step] for start in range(0, len(named), step)]
    stands_for = {part[0][0]: sum(packs[pack] for _, pack in part) for part in parts}
    found = []
    for key, content in files.read_each(stands_for):
        with suppress(DamagedError, FileNotFoundError):  # what was merged is not needed any more
            rows, _ = parsed(key, content, ["started_at", "wall_s"])
            began = pc.min(rows["started_at"]).as_py()
            found.append((began, pc.sum(rows["wall_s"]).as_py(), stands_for[key]))
    return found


def _rate(packs: list[tuple[datetime, float, int]], now: datetime) -> float | None:
    """Trials a second over the packs that ended in the window, from the first of their starts in it."""
    opening = now - timedelta(seconds=WINDOW_S)
    recent = [pack for pack in packs if pack[0] + timedelta(seconds=pack[1]) >= opening]
    if not recent:
        return None
    begun = max(opening, min(started for started, _, _ in recent))
    elapsed = (now - begun).total_seconds()
    return sum(count for _, _, count in recent) / elapsed if elapsed > 0 else None
