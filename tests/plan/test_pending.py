"""What is still to be run of a plan, against sets counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from plan_helpers import Flat, plan_of

from gradlaw.ending import Halving
from gradlaw.pack import Pack, probe_digests, program_source
from gradlaw.planning.plan import Plan
from gradlaw.probe import Probe
from gradlaw.probes import ParameterMax, ParameterNorm
from gradlaw.rules.sgd import SGD
from gradlaw.running.pending import changed_source, missing_packs
from gradlaw.store.winners import TrialStatus
from gradlaw.study import Grid
from gradlaw.trial import MAX_ATTEMPTS, State

RATES = (0.1, 0.2, 0.3, 0.4)


class Peak(ParameterMax):
    """A probe that another, below, is not to be taken for."""

    name = "peak"


def plan(halving: Halving | None = None, probes: tuple[Probe, ...] = ()) -> Plan:
    values = {"lr": RATES}
    ends: dict[str, Any] = {"halving": halving, "probes": probes}
    return plan_of(Grid(task=Flat, rule=SGD, values=values, steps=8, pack_width=4, **ends), seeds=2)


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


def test_what_lacked_memory_runs_again_only_if_asked() -> None:
    planned = plan()
    index = {trial_id: held(State.DONE) for trial_id in ids(planned)}
    index[ids(planned)[2]] = held(State.OUT_OF_MEMORY)
    assert missing_packs(planned, index) == ()
    assert rates(missing_packs(planned, index, retry_failed=True)) == [[(0, 0.3)]]


def _of_other_source() -> type[Peak]:
    class Peak(ParameterMax):
        """The same name, version and settings."""

        name = "peak"
        scale = 2.0

    return Peak


@pytest.mark.parametrize(
    ("held_by", "asked", "number"),
    [
        ((Peak(),), (Peak(),), 0),
        ((Peak(),), (_of_other_source()(),), 8),
        ((Peak(), ParameterNorm()), (_of_other_source()(),), 8),
        ((Peak(), ParameterNorm()), (ParameterNorm(),), 0),
        ((ParameterNorm(),), (ParameterNorm(), _of_other_source()()), 0),
        ((), (Peak(),), 0),
        ((Peak(),), (), 0),
    ],
)
def test_trials_measured_by_other_source_of_their_probes_are_counted(
    held_by: tuple[Probe, ...], asked: tuple[Probe, ...], number: int
) -> None:
    """And not those that were measured with other probes: these are run again, or not asked for."""
    index = {}
    for pack in plan(probes=held_by).packs:
        status = TrialStatus(
            State.DONE, 0, frozenset(probe_digests(pack.program)), program_source(pack.program)
        )
        index |= {member.trial.trial_id: status for member in pack.members}
    assert changed_source(plan(probes=asked), index) == number
    unknown = {trial_id: status._replace(source="") for trial_id, status in index.items()}
    assert changed_source(plan(probes=asked), unknown) == 0


def test_a_pack_that_shares_a_budget_runs_whole_or_not_at_all() -> None:
    planned = plan(Halving(metric="loss", first=2))
    one, *others = ids(planned)[:4]
    for lacking in (None, held(State.TIMED_OUT, 1), held(State.LOST, MAX_ATTEMPTS - 1)):
        index = {trial_id: held(State.STOPPED) for trial_id in others} | ({one: lacking} if lacking else {})
        assert missing_packs(planned, index) == planned.packs
    index = {trial_id: held(State.STOPPED) for trial_id in others} | {one: held(State.FAILED, MAX_ATTEMPTS)}
    assert missing_packs(planned, index) == planned.packs[1:]
    assert missing_packs(planned, index, retry_failed=True) == planned.packs
