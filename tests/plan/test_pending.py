"""What is still to be run of a plan, against sets counted by hand."""

from __future__ import annotations

from plan_helpers import Flat, plan_of

from gradlaw.ending import Halving
from gradlaw.pack import Pack
from gradlaw.planning.plan import Plan
from gradlaw.rules.sgd import SGD
from gradlaw.running.pending import missing_packs
from gradlaw.store.winners import TrialStatus
from gradlaw.study import Grid
from gradlaw.trial import MAX_ATTEMPTS, State

RATES = (0.1, 0.2, 0.3, 0.4)


def plan(halving: Halving | None = None) -> Plan:
    values = {"lr": RATES}
    return plan_of(Grid(task=Flat, rule=SGD, values=values, steps=8, pack_width=4, halving=halving), seeds=2)


def rates(packs: tuple[Pack, ...]) -> list[list[tuple[int, object]]]:
    return [[(m.trial.seed, m.hyperparameters["lr"]) for m in pack.members] for pack in packs]


def ids(of: Plan) -> list[str]:
    return [member.trial.trial_id for member in of.members]


def held(state: State, attempts: int = 0) -> TrialStatus:
    return TrialStatus(state, attempts, frozenset())


def test_what_is_held_is_not_run_and_whole_packs_are_those_of_the_plan() -> None:
    planned = plan()
    assert all(found is pack for found, pack in zip(missing_packs(planned, {}), planned.packs, strict=True))
    index = {ids(planned)[1]: held(State.DONE), ids(planned)[2]: held(State.STOPPED)}
    assert rates(missing_packs(planned, index)) == [[(0, 0.1), (0, 0.4)], [(1, rate) for rate in RATES]]


def test_a_last_attempt_is_made_alone() -> None:
    planned = plan()
    index = {ids(planned)[1]: held(State.ERROR, MAX_ATTEMPTS - 1), ids(planned)[2]: held(State.ERROR, 1)}
    found = missing_packs(planned, index)
    first = [[(0, 0.1), (0, 0.3), (0, 0.4)], [(0, 0.2)]]
    assert rates(found) == [*first, [(1, rate) for rate in RATES]]
    assert len({pack.pack_id for pack in found}) == 3


def test_a_pack_that_shares_a_budget_runs_whole_or_not_at_all() -> None:
    planned = plan(Halving(metric="loss", first=2))
    one, *others = ids(planned)[:4]
    for lacking in (None, held(State.TIMED_OUT, 1), held(State.LOST, MAX_ATTEMPTS - 1)):
        index = {trial_id: held(State.STOPPED) for trial_id in others} | ({one: lacking} if lacking else {})
        assert missing_packs(planned, index) == planned.packs
    index = {trial_id: held(State.STOPPED) for trial_id in others} | {one: held(State.FAILED, MAX_ATTEMPTS)}
    assert missing_packs(planned, index) == planned.packs[1:]
    assert missing_packs(planned, index, retry_failed=True) == planned.packs
