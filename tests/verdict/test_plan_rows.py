"""A plan's rows and what counts for them, against the same said row by row in plain Python."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlaw.store.parquet import DataFile
from gradlaw.store.paths import PackKey
from gradlaw.store.plans import PLAN_SCHEMA
from gradlaw.store.resolve import Resolved
from gradlaw.store.units import Unit
from gradlaw.store.winners import INDEX_SCHEMA
from gradlaw_analysis.plan_data import MISSING, planned_trials
from gradlaw_analysis.plan_rows import PlanRows

RANKS = [
    ["done", "reached_target", "diverged", "stopped"],
    ["out_of_memory", "skipped"],
    ["failed"],
    ["error", "timed_out", "lost"],
]
STATES = [state for states in RANKS for state in states]
TRIALS = [f"t{number}" for number in range(6)]

probes = st.sets(st.sampled_from(["a@1", "bb@1", "cc@1"])).map(lambda found: json.dumps(sorted(found)))
asked = st.tuples(
    st.sampled_from(TRIALS), probes, st.sampled_from([None, "tuning", "fresh"]), st.none() | st.integers(0, 2)
)
plans = st.lists(asked, max_size=12)
commits = st.lists(
    st.dictionaries(st.sampled_from(TRIALS), st.tuples(st.sampled_from(STATES), probes), max_size=4),
    max_size=6,
)
cuts = st.lists(st.booleans(), min_size=6, max_size=6)

Row = dict[str, Any]


def listed(plan: list[tuple[str, str, str | None, int | None]]) -> pa.Table:
    rows = [
        {"plan_id": "p", "trial_id": trial, "seed": int(trial[1:]) % 3, "probes": needs, "role": role,
         "round": number}
        for trial, needs, role, number in plan
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, PLAN_SCHEMA)


def store(held: list[dict[str, tuple[str, str]]], merged: list[bool]) -> tuple[Resolved, list[Row]]:
    """Commits, of which some stand with the one before in one unit; two attempts at each pack."""
    rows: list[Row] = []
    units: list[list[tuple[PackKey, int]]] = []
    for number, commit in enumerate(held):
        pack = PackKey(f"p{number // 2}", number % 2)
        rows += [
            {"trial_id": trial, "pack_id": pack.pack_id, "attempt": pack.attempt, "study": "toy",
             "state": state, "probes": found, "source_digest": "", "device": "cpu"}
            for trial, (state, found) in commit.items()
        ]  # fmt: skip
        if not (units and merged[number]):
            units.append([])
        units[-1].append((pack, len(commit)))
    found = tuple(
        Unit(
            study="toy",
            packs=frozenset(pack for pack, _ in unit),
            files=(DataFile(table="trials", key=f"{place}", size=1, sha256="", rows=1),),
            num_rows=sum(num for _, num in unit),
        )
        for place, unit in enumerate(units)
    )
    index = pa.Table.from_pylist(rows, INDEX_SCHEMA)
    return Resolved(generation=0, units=found, index=index, live=(), set_aside=()), rows


def best(rows: list[Row], trial: str, needs: set[str]) -> int:
    """Place of the row that counts; -1: there is none."""

    def order(place: int) -> tuple[Any, ...]:
        row = rows[place]
        measured = set(json.loads(row["probes"]))
        rank = next(rank for rank, states in enumerate(RANKS) if row["state"] in states)
        return rank, -len(measured & needs), -len(measured), row["attempt"], row["pack_id"]

    mine = [place for place, row in enumerate(rows) if row["trial_id"] == trial]
    return min(mine, key=order, default=-1)


@settings(max_examples=200)
@given(plan=plans, held=commits, merged=cuts, named=st.sets(st.sampled_from(TRIALS)))
def test_rows_of_a_plan(plan, held, merged, named) -> None:
    resolved, rows = store(held, merged)
    found = PlanRows(listed(plan), resolved)
    expected = []
    for trial in dict.fromkeys(row[0] for row in plan):
        mine = [row for row in plan if row[0] == trial]
        needs = max((row[1] for row in mine), key=len)
        place = best(rows, trial, set(json.loads(needs)))
        state = rows[place]["state"] if place >= 0 else MISSING
        measured = place >= 0 and set(json.loads(needs)) <= set(json.loads(rows[place]["probes"]))
        ended = state == "failed" or (state in RANKS[0] + RANKS[1] and measured)
        tuning = all(row[2] == "tuning" for row in mine)
        expected.append((trial, int(trial[1:]) % 3, tuning, state, ended, place))

    frame = planned_trials(found)
    columns = ["trial_id", "seed", "tuning", "state", "ended"]
    told = zip(*(frame[name].tolist() for name in columns), found.places.tolist(), strict=True)
    assert sorted(told) == sorted(expected)

    kept = {place for *_, place in expected if place >= 0}
    assert set(np.flatnonzero(found.keeps()).tolist()) == kept
    some = {place for trial, *_, place in expected if trial in named and place >= 0}
    assert set(np.flatnonzero(found.keeps(named)).tolist()) == some
    packs = [PackKey(rows[place]["pack_id"], rows[place]["attempt"]) for place in kept]
    assert found.packs() == {pack: packs.count(pack) for pack in packs}
    assert found.num_rounds == len({row[3] for row in plan} - {None})
    held_by = {pack for unit in resolved.holding(found.keeps()) for pack in unit.packs}
    assert held_by == {pack for unit in resolved.units if unit.packs & {*packs} for pack in unit.packs}
