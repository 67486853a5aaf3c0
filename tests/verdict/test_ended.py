"""What counts as ended in a verdict is what a run would not run again."""

from __future__ import annotations

import json

import pytest

from gradlaw.pack import Member
from gradlaw.running.pending import is_held
from gradlaw.store.winners import TrialStatus
from gradlaw.trial import State, Trial
from gradlaw_analysis.plan_data import MISSING, _ended


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(("asked", "held"), [((), ()), (("p",), ()), (("p",), ("p", "q")), ((), ("p",))])
def test_as_a_run_sees_it(state: State, asked: tuple[str, ...], held: tuple[str, ...]) -> None:
    member = Member(trial=Trial(task="t@1", hyperparameters={}, seed=0), hyperparameters={})
    index = {member.trial.trial_id: TrialStatus(state, 1, frozenset(held))}
    expected = is_held(member, index, set(asked), retry_failed=False)
    assert _ended(str(state), json.dumps(asked), json.dumps(held)) == expected
    assert _ended(MISSING, json.dumps(asked), None) is False
