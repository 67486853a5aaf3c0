"""Which trials of a plan table probes can measure without training: from weights that the store keeps.

A trial needs that where it was measured with every metric probe asked for (those read while it trains), and
where its weights are kept at every step at which a table probe that is asked for and lacking would have
measured. Whatever it lacks is a reason to leave it alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow.compute as pc  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.engine.chunk import probes_due
from gradlaw.fingerprint import digest
from gradlaw.pack import Member, Pack, Training, probe_digests
from gradlaw.planning.plan import Plan
from gradlaw.probe import MetricProbe, TableProbe
from gradlaw.probes.weights import BUFFER, PARAMETER, WEIGHTS, Weights, shape_text
from gradlaw.random import streams_of
from gradlaw.running.pending import Index, is_held, planned_trials
from gradlaw.store import paths
from gradlaw.store.attempts import Seen, Sight
from gradlaw.store.committed import committed_rows
from gradlaw.store.paths import PackKey
from gradlaw.store.resolve import Resolved
from gradlaw.store.store import Store
from gradlaw.store.units import Unit
from gradlaw.store.winners import TrialIndex, TrialStatus
from gradlaw.table import Table
from gradlaw.trial import State

Due = Mapping[int, Sequence[TableProbe]]
"""The table probes to run, by the step whose weights they read."""

_MEASURED = frozenset({State.DONE, State.REACHED_TARGET, State.DIVERGED, State.STOPPED})
_KEPT = f"{Weights.name}@{Weights.version}:"
_Kept = dict[int, set[tuple[str, str, str]]]
"""Kind, name and shape of what is kept of a trial, by step."""


class Job(NamedTuple):
    """A trial that can be measured.

    Attributes:
        member: The trial.
        unit, source: Where its rows stand, and the commit that they are of.
        row: Its row of ``trials`` there.
        due: What to run.
        copied: Tables whose rows stay as they are, beside ``metrics``.
    """

    member: Member
    unit: Unit
    source: PackKey
    row: Mapping[str, Any]
    due: Due
    copied: tuple[Table, ...]


class Lacking(NamedTuple):
    """What a pack lacks in the store.

    Attributes:
        pack: As it was planned.
        jobs: Members that can be measured.
        left: Why the other lacking ones cannot, by trial id.
        pack_id: Of the pack that its measurements are committed as.
        seen: What was seen of that one.
    """

    pack: Pack
    jobs: tuple[Job, ...]
    left: Mapping[str, str]
    pack_id: str
    seen: Seen

    @property
    def first_attempt(self) -> int:
        """The least number of a commit of the measurements: above those of what they are made of."""
        return 1 + max(job.source.attempt for job in self.jobs)


def survey(plan: Plan, store: Store) -> Iterator[Lacking]:
    """The packs of a plan that lack something, one at a time.

    Raises:
        StoreError: If the store cannot be read.
    """
    resolved = store.resolve()  # once: what another process commits meanwhile is not seen by halves
    needed = {trial.trial_id: trial.probes for trial in planned_trials(plan)}
    index = TrialIndex(resolved.index, needed)
    lacking = [(pack, members) for pack in plan.packs if (members := _lacking(pack, index))]
    # of several commits that hold as much of what is asked, one that keeps weights
    kept = _kept_digests(resolved)
    asked = {item.trial.trial_id for _, members in lacking for item in members}
    sources = TrialIndex(resolved.index, {trial_id: {*needed[trial_id], *kept} for trial_id in asked})
    units = {pack: unit for unit in resolved.units for pack in unit.packs}
    sight = Sight(resolved, [_measured(pack) for pack, _ in lacking])
    for pack, members in lacking:
        jobs, left = _Survey(pack, store, units, sources).run(members)
        yield Lacking(pack, jobs, left, _measured(pack), sight.of(_measured(pack)))


def _measured(pack: Pack) -> str:
    """Id of the pack that measurements of a pack are committed as."""
    return digest(["measured", pack.pack_id])


def _lacking(pack: Pack, index: Index) -> list[Member]:
    asked = probe_digests(pack.program)
    return [item for item in pack.members if not is_held(item, index, asked, retry_failed=True)]


def _kept_digests(resolved: Resolved) -> set[str]:
    """Digests of the probes that keep weights, among all with which any trial was measured."""
    texts = pc.unique(resolved.index["probes"]).to_pylist()
    return {item for text in texts for item in json.loads(text) if item.startswith(_KEPT)}


class _Survey:
    """The lacking members of one pack."""

    def __init__(self, pack: Pack, store: Store, units: Mapping[PackKey, Unit], sources: Index) -> None:
        self._pack, self._files, self._units, self._sources = pack, store.files, units, sources
        self._jobs: list[Job] = []
        self._left: dict[str, str] = {}

    def run(self, members: Sequence[Member]) -> tuple[tuple[Job, ...], Mapping[str, str]]:
        groups: dict[int, list[tuple[Member, TrialStatus]]] = {}
        for member in members:
            entry = self._sources.get(member.trial.trial_id)
            reason = self._at_once(entry)
            if reason or entry is None or entry.pack is None:
                self._left[member.trial.trial_id] = reason
            else:
                groups.setdefault(id(self._units[entry.pack]), []).append((member, entry))
        for group in groups.values():
            self._look(group)
        return tuple(self._jobs), self._left

    def _at_once(self, entry: TrialStatus | None) -> str:
        """Why a trial cannot be measured, as far as the index tells; "" if it may be."""
        program = self._pack.program
        if entry is None:
            return "it is not in the store"
        if entry.state not in _MEASURED or not isinstance(program, Training):
            return f"it ended as {entry.state}"
        metrics = {probe.digest for probe in program.probes if isinstance(probe, MetricProbe)}
        if untaken := sorted(metrics - entry.probes):
            return f"only training measures {', '.join(untaken)}"
        return ""

    def _look(self, group: Sequence[tuple[Member, TrialStatus]]) -> None:
        """Members whose rows stand in one unit."""
        program = self._pack.program
        assert isinstance(program, Training)
        wanted = {member.trial.trial_id: entry.pack for member, entry in group if entry.pack}
        unit = self._units[next(iter(wanted.values()))]
        rows = {
            row["trial_id"]: row
            for part in committed_rows(self._files, unit, paths.TRIALS, wanted)
            for row in part.to_pylist()
        }
        kept = self._kept(unit, wanted)
        expected = expected_weights(program, group[0][0].trial.seed)
        for member, entry in group:
            trial_id = member.trial.trial_id
            again = _to_run(program, entry.probes)
            due = due_of(program, member, rows[trial_id], again)
            reason = _beyond_weights(again) or _reason(due, kept.get(trial_id, {}), expected)
            if reason:
                self._left[trial_id] = reason
                continue
            copied = {
                table.name: table
                for probe in program.probes
                if isinstance(probe, TableProbe) and probe not in again
                for table in probe.tables()
            }
            self._jobs.append(
                Job(member, unit, wanted[trial_id], rows[trial_id], due, tuple(copied.values()))
            )

    def _kept(self, unit: Unit, wanted: Mapping[str, PackKey]) -> dict[str, _Kept]:
        names = ["trial_id", "step", "kind", "name", "shape"]
        found: dict[str, _Kept] = {}
        for rows in committed_rows(self._files, unit, WEIGHTS.name, wanted, names):
            for trial_id, step, *what in zip(*(rows[name].to_pylist() for name in names), strict=True):
                found.setdefault(trial_id, {}).setdefault(step, set()).add((what[0], what[1], what[2]))
        return found


def expected_weights(program: Training, seed: int) -> set[tuple[str, str, str]]:
    """Kind, name and shape of all parameters and buffers."""
    params, buffers = program.task.init(streams_of(seed))
    return {
        (kind, name, shape_text(value.shape))
        for kind, values in ((PARAMETER, params), (BUFFER, buffers))
        for name, value in values.items()
    }


def _to_run(program: Training, held: Collection[str]) -> list[TableProbe]:
    """The table probes whose rows are not there as they are asked for.

    Rows tell which table they are in, not which probe they are of. So a probe runs again too if it shares a
    table with one that does, or its name with one that is no longer asked for.
    """
    asked = probe_digests(program)
    stale = {item.partition("@")[0] for item in held if item not in asked}
    probes = [probe for probe in program.probes if isinstance(probe, TableProbe)]
    again = [probe for probe in probes if probe.digest not in held or probe.name in stale]
    while True:
        tables = {table.name for probe in again for table in probe.tables()}
        sharing = [
            probe
            for probe in probes
            if probe not in again and tables & {table.name for table in probe.tables()}
        ]
        if not sharing:
            return again
        again += sharing


def _beyond_weights(probes: Collection[TableProbe]) -> str:
    """Why weights are not enough for some of these probes; "" if they are."""
    reasons = {
        "reads the rule's state, which is not kept": [item.name for item in probes if item.needs_state],
        "measures where a metric crosses a value": [item.name for item in probes if item.crossings()],
    }
    return "; ".join(
        f"only training measures {', '.join(names)}: it {what}" for what, names in reasons.items() if names
    )


def due_of(
    program: Training, member: Member, row: Mapping[str, Any], probes: Collection[TableProbe]
) -> dict[int, list[TableProbe]]:
    """What the engine would have had these probes measure of a trial that ended as its row says."""
    steps, last, state = member.trial.steps, int(row["steps_done"]), State(row["state"])
    all_due = {
        step: [probe for probe in due if probe in probes] for step, due in probes_due(program, steps).items()
    }
    if state is State.DONE:
        due = all_due
    elif state is State.DIVERGED:
        due = {step: found for step, found in all_due.items() if step < last}
    else:  # it ended early, but soundly: what is due at the end was measured there
        due = {step: found for step, found in all_due.items() if step <= last}
        before = due.get(last, [])
        due[last] = before + [probe for probe in all_due.get(steps, []) if probe not in before]
    return {step: found for step, found in sorted(due.items()) if found}


def _reason(due: Due, kept: _Kept, expected: set[tuple[str, str, str]]) -> str:
    """Why what is due cannot be measured on what is kept; "" if it can."""
    missing = [str(step) for step in due if step not in kept]
    if missing:
        there = ", ".join(map(str, sorted(kept))) or "none"
        return f"no weights are kept at step {', '.join(missing)} (kept: {there})"
    for step in due:
        if kept[step] != expected:
            got, allowed = (
                ", ".join(f"{kind} {name} [{shape}]" for kind, name, shape in sorted(items))
                for items in (kept[step], expected)
            )
            return f"what is kept at step {step} is not what its task has now: got {got}; allowed {allowed}"
    return ""
