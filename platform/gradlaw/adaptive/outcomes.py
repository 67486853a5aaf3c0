"""How the trials of an adaptive plan ended, read from the store's commits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gradlaw.adaptive.ask import STEPS_TO_TARGET, Outcome
from gradlaw.adaptive.declared import Declared
from gradlaw.store import paths
from gradlaw.store.committed import committed_rows
from gradlaw.store.paths import PackKey
from gradlaw.store.store import Store
from gradlaw.store.units import Unit
from gradlaw.store.winners import TrialIndex
from gradlaw.trial import FINAL, State


def read_outcomes(
    store: Store, needed: Mapping[str, Collection[str]], metrics: Collection[str]
) -> dict[str, Outcome]:
    """The outcomes of those trials that have ended.

    Args:
        store: The store.
        needed: Digests of the probes that the plan asks for, by trial id.
        metrics: Columns of ``metrics`` whose last row is wanted.

    Raises:
        StoreError: If the store cannot be read.
    """
    resolved = store.resolve()
    index = TrialIndex(resolved.index, needed)
    units = {pack: unit for unit in resolved.units for pack in unit.packs}
    groups: dict[int, tuple[Unit, dict[str, PackKey]]] = {}
    found: dict[str, Outcome] = {}
    for trial_id in needed:
        entry = index.get(trial_id)
        if entry is None or entry.pack is None or entry.state not in FINAL:
            continue
        found[trial_id] = Outcome(state=entry.state)
        unit = units[entry.pack]
        groups.setdefault(id(unit), (unit, {}))[1][trial_id] = entry.pack
    for unit, wanted in groups.values():
        found |= _of_unit(store, unit, wanted, metrics)
    return found


def _of_unit(
    store: Store, unit: Unit, wanted: Mapping[str, PackKey], metrics: Collection[str]
) -> dict[str, Outcome]:
    ended = {
        row["trial_id"]: row for row in _rows(store, unit, wanted, paths.TRIALS, ("state", "steps_done"))
    }
    last: dict[str, dict[str, Any]] = {}
    for row in _rows(store, unit, wanted, paths.METRICS, ("step", *metrics)) if metrics else ():
        if row["step"] >= last.get(row["trial_id"], row)["step"]:
            last[row["trial_id"]] = row
    return {
        trial_id: Outcome(
            state=State(row["state"]),
            steps_done=int(row["steps_done"]),
            last={
                name: float(value)
                for name in metrics
                if (value := last.get(trial_id, {}).get(name)) is not None
            },
        )
        for trial_id, row in ended.items()
    }


def _rows(
    store: Store, unit: Unit, wanted: Mapping[str, PackKey], table: str, columns: Iterable[str]
) -> Iterable[dict[str, Any]]:
    """Rows of the wanted trials; a file without one of the columns has rows without it."""
    for rows in committed_rows(store.files, unit, table, wanted, ["trial_id", *columns]):
        yield from rows.to_pylist()


def metrics_of(declared: Declared) -> set[str]:
    """The columns that searches and edges read."""
    found = {search.metric for search in declared.searches} - {STEPS_TO_TARGET}
    return found | {edge.fails.metric for _, edge in declared.edges if edge.fails}
