"""Growth: an adaptive plan and its rounds in a store, recorded before their trials run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.adaptive.ask import Ask, Ended
from gradlaw.adaptive.declared import Built, Declared, Held
from gradlaw.adaptive.outcomes import metrics_of, read_outcomes
from gradlaw.adaptive.rounds import next_round, outline
from gradlaw.errors import StoreError
from gradlaw.pack import Pack, Training, probe_digests
from gradlaw.planning.plan import Plan
from gradlaw.running.pending import planned_trials
from gradlaw.store.plans import PlannedTrial
from gradlaw.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a plan asked for at once.

    Attributes:
        number: From 0.
        asks: What was asked for.
        built: Its trials.
    """

    number: int
    asks: tuple[Ask, ...]
    built: Built


class Growth:
    """A plan with the rounds that a store holds of it. Every round is made by :meth:`ask`.

    Attributes:
        plan: The plan, grown by the rounds so far. It stays as it is where nothing is adaptive.
        rounds: The rounds so far.
        is_open: Whether rounds may follow.
        needed: Digests of the probes that the plan asks for, by trial id.
    """

    def __init__(self, plan: Plan, store: Store | None) -> None:
        """Reads the rounds so far; nothing is written.

        Args:
            plan: As :func:`gradlaw.planning.plan.make_plan` gives it.
            store: The store; None: there is none yet.

        Raises:
            StoreError: A round cannot be read, or is not one of this plan.
        """
        self.plan, self._store = plan, store
        self.rounds: list[Round] = []
        self.is_open = plan.adaptive is not None
        self.needed = {trial.trial_id: trial.probes for trial in planned_trials(plan)}
        if plan.adaptive is None or store is None:
            return
        for rows in store.rounds(plan.plan_id):
            self._add(plan.adaptive, _asks_of(rows), rows["trial_id"].to_pylist())
        self.is_open = not store.is_closed(plan.plan_id)

    @property
    def asked(self) -> tuple[Ask, ...]:
        """Everything asked for so far, in order."""
        return tuple(ask for part in self.rounds for ask in part.asks)

    def first_ids(self) -> tuple[str, ...]:
        """Ids of the trials of the first round, recorded or not: the store may hold them before."""
        declared = self.plan.adaptive
        if self.rounds:
            return self.rounds[0].built.trial_ids
        return declared.build(next_round(declared, ())).trial_ids if declared else ()

    def ask(self) -> bool:
        """Asks for the next round and records it, once all trials so far have ended; whether there is one.

        Raises:
            StoreError: The store cannot be read or written.
        """
        declared, store = self.plan.adaptive, self._store
        if declared is None or store is None or not self.is_open:
            return False
        asks = next_round(declared, self._ended(declared, store))
        plan_id, number = self.plan.plan_id, len(self.rounds)
        if not asks:
            store.close_plan(plan_id)
            self.is_open = False
            return False
        built = declared.build(asks, self._held())
        if not store.write_round(plan_id, number, self._planned(asks, built, number)):
            asks = _asks_of(store.rounds(plan_id)[number])  # another driver's, and so what counts
        self._add(declared, asks)
        return True

    def outlined(self) -> tuple[Pack, ...]:
        """As many packs as may yet be asked for, of trials that stand for them; they are not to be run."""
        declared = self.plan.adaptive
        if declared is None or not self.is_open:
            return ()
        return declared.build(outline(declared, self.asked), self._held()).packs

    def _held(self) -> Held:
        """Probes of all trials so far; those of the last that asked, who asked for the most."""
        packs = {
            member.trial.trial_id: pack.program.probes if isinstance(pack.program, Training) else ()
            for pack in self.plan.packs
            for member in pack.members
        }
        return packs | {member.trial.trial_id: () for member, _ in self.plan.skipped}

    def _ended(self, declared: Declared, store: Store) -> list[Ended]:
        if not self.rounds:
            return []
        found = read_outcomes(store, self.needed, metrics_of(declared))
        return [
            Ended(ask, found[trial_id])
            for part in self.rounds
            for ask, trial_id in zip(part.asks, part.built.trial_ids, strict=True)
        ]

    def _add(self, declared: Declared, asks: Sequence[Ask], recorded: Sequence[str] | None = None) -> None:
        number, built = len(self.rounds), declared.build(asks, self._held())
        if recorded is not None and list(built.trial_ids) != list(recorded):
            msg = (
                f"plan {self.plan.plan_id}: round {number} holds trials that this code would not make of "
                "what was asked; run it with the gradlaw that began it, or in another store"
            )
            raise StoreError(msg)
        self.rounds.append(Round(number=number, asks=tuple(asks), built=built))
        for trial in self._planned(asks, built, number):
            self.needed[trial.trial_id] = trial.probes
        self.plan = replace(
            self.plan,
            packs=(*self.plan.packs, *built.packs),
            skipped=(*self.plan.skipped, *built.skipped),
        )

    def _planned(self, asks: Sequence[Ask], built: Built, number: int) -> Iterator[PlannedTrial]:
        """The rows of a round; a trial that the plan holds as it is asked for keeps its probes."""
        probes = {
            member.trial.trial_id: tuple(probe_digests(pack.program))
            for pack in built.packs
            for member in pack.members
        }
        for ask, trial_id in zip(asks, built.trial_ids, strict=True):
            yield PlannedTrial(
                trial_id,
                ask.seed,
                probes.get(trial_id, self.needed.get(trial_id, ())),
                role=ask.role,
                search=ask.search,
                arm=ask.arm,
                number=ask.number,
                round=number,
                asked=json.dumps(dict(ask.values), sort_keys=True),
            )


def _asks_of(rows: pa.Table) -> tuple[Ask, ...]:
    """What was asked for, as it is recorded: JSON gives back every number as it was."""
    return tuple(
        Ask(row["role"], row["search"], row["arm"], row["number"], row["seed"], json.loads(row["asked"]))
        for row in rows.to_pylist()
    )
