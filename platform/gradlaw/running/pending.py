"""What a run still has to do: the plan minus what the store holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gradlaw.fingerprint import digest
from gradlaw.pack import Member, Pack, Training, parted_source, probe_digests, program_source
from gradlaw.planning.plan import Plan
from gradlaw.store.plans import PlannedTrial
from gradlaw.store.winners import TrialStatus
from gradlaw.trial import FINAL, GIVEN_UP, MAX_ATTEMPTS, State

Index = Mapping[str, TrialStatus]
"""What the store knows of each trial, by id."""


def planned_trials(plan: Plan) -> Iterator[PlannedTrial]:
    """Every trial of a plan with the probes asked of it, skipped ones last."""
    for pack in plan.packs:
        probes = tuple(probe_digests(pack.program))
        for member in pack.members:
            yield PlannedTrial(member.trial.trial_id, member.trial.seed, probes)
    for member, _ in plan.skipped:
        yield PlannedTrial(member.trial.trial_id, member.trial.seed)


def missing_packs(plan: Plan, index: Index, *, retry_failed: bool = False) -> tuple[Pack, ...]:
    """The packs that still have something to run, each with only the members it lacks.

    A trial is held if it has a final state and was measured with every probe its program asks for. The
    last attempt at a trial is made alone, so that it does not fail for a neighbour's fault. Trials that share
    a budget run together or not at all.
    """
    return tuple(
        part
        for pack in plan.packs
        for part in _apart(_lacking(pack, index, retry_failed=retry_failed), index)
    )


def failed_attempts(members: Iterable[Member], index: Index) -> dict[str, int]:
    """Failed attempts of the members that have any, by trial id."""
    entries = [(member.trial.trial_id, index.get(member.trial.trial_id)) for member in members]
    return {trial_id: entry.num_attempts for trial_id, entry in entries if entry and entry.num_attempts}


def changed_source(plan: Plan, index: Index) -> int:
    """How many trials of the plan the store holds from other source than what would run them now."""
    num_changed = 0
    for pack in plan.packs:
        now = parted_source(program_source(pack.program), probe_digests(pack.program))
        entries = (index.get(member.trial.trial_id) for member in pack.members)
        held = Counter((entry.source, entry.probes) for entry in entries if entry)
        num_changed += sum(number for then, number in held.items() if _differ(parted_source(*then), now))
    return num_changed


_Sources = tuple[str, Mapping[str, str]]
"""Digests of what trains, and of each probe by its own."""


def _differ(then: _Sources, now: _Sources) -> bool:
    """Whether sources differ in what is known of both; one need not have every probe of the other."""
    pairs = [(then[0], now[0]), *((then[1].get(probe, ""), source) for probe, source in now[1].items())]
    return any(one and other and one != other for one, other in pairs)


def devices_held(plan: Plan, index: Index) -> Counter[str]:
    """Number of the plan's trials that the store holds trained, by kind of device, as "cuda"."""
    trained = (pack for pack in plan.packs if isinstance(pack.program, Training))
    entries = (index.get(member.trial.trial_id) for pack in trained for member in pack.members)
    return Counter(kind_of(entry.device) for entry in entries if entry and entry.device)


def kind_of(device: str) -> str:
    """What is to be told apart: which of several GPUs it was changes no number.

    >>> kind_of("cuda:1")
    'cuda'
    """
    return device.partition(":")[0]


def shares_budget(pack: Pack) -> bool:
    """Whether the pack's trials are cut together, so that they run together or not at all."""
    return isinstance(pack.program, Training) and pack.program.halving is not None


def _lacking(pack: Pack, index: Index, *, retry_failed: bool) -> Pack:
    asked = probe_digests(pack.program)
    lacking = [item for item in pack.members if not is_held(item, index, asked, retry_failed=retry_failed)]
    if len(lacking) == len(pack.members) or (lacking and shares_budget(pack)):
        return pack
    return replace(pack, members=tuple(lacking))


def is_held(member: Member, index: Index, asked: set[str], *, retry_failed: bool) -> bool:
    """Whether a trial has a final state and was measured with every probe asked for."""
    entry = index.get(member.trial.trial_id)
    if entry is None or entry.state not in FINAL:
        return False
    if retry_failed and entry.state in GIVEN_UP:
        return False
    return entry.state is State.FAILED or asked <= entry.probes


def _apart(pack: Pack, index: Index) -> Iterator[Pack]:
    """The pack without the members that have one attempt left, then each of those in a pack of its own."""
    if not pack.members:
        return
    if len(pack.members) == 1 or shares_budget(pack):
        yield pack
        return
    failed = failed_attempts(pack.members, index)
    last = {trial_id for trial_id, number in failed.items() if number >= MAX_ATTEMPTS - 1}
    together = tuple(item for item in pack.members if item.trial.trial_id not in last)
    if together:
        yield pack if not last else replace(pack, members=together)
    for member in pack.members:
        if member.trial.trial_id in last:
            yield alone(pack, member)


def alone(pack: Pack, member: Member) -> Pack:
    """One member of a pack in a pack of its own."""
    pack_id = digest(["alone", pack.pack_id, member.trial.trial_id])
    return replace(pack, pack_id=pack_id, members=(member,))
