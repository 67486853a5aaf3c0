"""What a run says of itself, in lines worth reading."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from gradlaw.adaptive.growth import Round
from gradlaw.launch.base import Report
from gradlaw.pack import Pack
from gradlaw.planning.plan import Plan
from gradlaw.running.measurable import survey
from gradlaw.running.pending import Index, changed_source, kind_of, planned_trials
from gradlaw.store.leases import EXPIRE_S, Lease
from gradlaw.store.store import Store
from gradlaw.trial import SETTLED

Say = Callable[[str], None]

_NAMED = 5


class Teller:
    """Says things, the same note once."""

    def __init__(self, say: Say | None) -> None:
        self._say, self._noted = say, set[str]()

    def say(self, line: str) -> None:
        """Says a line."""
        if self._say:
            self._say(line)

    def once(self, line: str) -> None:
        """Says a line that was not said before."""
        if line not in self._noted:
            self._noted.add(line)
            self.say(line)

    def plan(self, plan: Plan, packs: Sequence[Pack], *, share: str = "", notes: Iterable[str] = ()) -> None:
        """What there is to do.

        Args:
            plan: The plan, or the share of it that is run.
            packs: What is missing of it.
            share: Which share it is; "" for the whole plan.
            notes: Of the planning.
        """
        num_planned = len({trial.trial_id for trial in planned_trials(plan)})
        num_to_run = len({member.trial.trial_id for pack in packs for member in pack.members})
        num_skipped = len(plan.skipped)
        held = num_planned - num_to_run - num_skipped
        self.say(
            f"plan {plan.plan_id}{share and f', {share}'}: {num_planned} trials, {held} in the store, "
            f"{num_to_run} to run in {len(packs)} packs" + (f", {num_skipped} skipped" if num_skipped else "")
        )
        for note in notes:
            self.say(note)

    def doubts(self, plan: Plan, packs: Sequence[Pack], index: Index, store: Store) -> None:
        """What of the store's content is run again or may be out of date, and what cannot be read."""
        again = sum(
            1
            for pack in packs
            for member in pack.members
            if (entry := index.get(member.trial.trial_id)) and entry.state in SETTLED
        )
        if again:
            self.say(f"{again} of them run again: they were not measured with every probe asked for")
            if measurable := sum(len(lacking.jobs) for lacking in survey(plan, store)):
                self.say(f"{measurable} of those need no training: gradlaw measure reads the weights kept")
        changed = changed_source(plan, index)
        if changed:
            self.say(
                f"warning: {changed} trials in the store were run by other source of their task, rule, "
                "schedule or probes, of the same versions; if it changed their numbers, raise the version"
            )
        for item in store.resolve().set_aside:
            self.say(f"set aside: {item.path}: {item.reason}")

    def devices(self, held: Mapping[str, int], device: str) -> None:
        """That a plan goes on on another device than it was begun on.

        Args:
            held: Trials in the store by kind of device.
            device: Of what trains now.
        """
        others = {kind: number for kind, number in sorted(held.items()) if kind != kind_of(device)}
        if others:
            begun = " and ".join(f"{number} on {kind}" for kind, number in others.items())
            most = max(others, key=lambda kind: others[kind])
            self.say(
                f"warning: trials in the store were trained on another device ({begun}), the rest will be on "
                f"{device}: in their last digits numbers differ; --device {most} for all on one"
            )

    def round(self, done: Round, packs: Sequence[Pack]) -> None:
        """What a round asks for."""
        num_to_run = sum(len(pack.members) for pack in packs)
        self.say(
            f"round {done.number}: {len(done.asks)} trials asked for, "
            f"{num_to_run} to run in {len(packs)} packs"
        )

    def report(self, report: Report) -> None:
        """What a worker says of a pack."""
        if report.error:
            self.say(f"pack {report.pack_id}: {report.error}")
        if report.note:
            self.once(f"note: {report.note}")

    def waiting(self, held: Mapping[str, Lease]) -> None:
        """That all that is left is run by others."""
        self.once(
            f"waiting: what is left is being run by others{_hosts(held)}; what they do not finish runs here, "
            f"at the latest {EXPIRE_S:g} s after the last sign of a worker that is gone"
        )

    def late(self, held: Mapping[str, Lease]) -> None:
        """That nothing was heard of late of some that run what is left."""
        ages = [lease.age_s for lease in held.values()]
        self.say(
            f"waiting: {_packs(held)}{_hosts(held)}: no sign of a worker for {min(ages):.0f} s; "
            f"what of it is gone, is free in {EXPIRE_S - min(ages):.0f} s at most"
        )

    def refused(self, pack_ids: Sequence[str]) -> None:
        """That packs are free as seen from here, and were not as seen by workers."""
        self.once(
            f"waiting: {_packs(pack_ids)}: found held by our workers; if a worker that is gone holds what is "
            f"left, it is free in {EXPIRE_S:g} s at most"
        )


def _hosts(held: Mapping[str, Lease]) -> str:
    hosts = sorted({lease.process.host for lease in held.values()} - {""})
    return f" on {', '.join(hosts[:5])}{' and others' if len(hosts) > 5 else ''}" if hosts else ""


def _packs(pack_ids: Collection[str]) -> str:
    """Packs by name, of many the first few."""
    names, more = list(pack_ids)[:_NAMED], len(pack_ids) - _NAMED
    return f"pack{'s' if len(pack_ids) > 1 else ''} {', '.join(names)}" + (
        f" and {more} more" if more > 0 else ""
    )
