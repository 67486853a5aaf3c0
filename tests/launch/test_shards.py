"""Shares of a plan, each run by itself: disjoint, together the plan, in any order and at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drivers import Drivers
from held import STUDIES, committed, counting, states
from typer.testing import CliRunner

import gradlaw
from gradlaw.cli import app
from gradlaw.errors import UsageError
from gradlaw.planning.plan import Plan
from gradlaw.planning.planned import plan_study
from gradlaw.planning.shard import Shard
from gradlaw.store.store import Store

TINY, TROUBLED, CLAIMED, SOUGHT = (str(STUDIES / name) for name in ("tiny", "troubled", "claimed", "sought"))
HOW: dict[str, Any] = {"launcher": "inline", "compile": "never"}


def _plan(study: str, **how: Any) -> Plan:
    return plan_study(study, **how).plan


def _ids(plan: Plan) -> list[str]:
    return [member.trial.trial_id for member in plan.members]


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "a/b", "1/0", "", "1/2/3", "-1/2", " 1/2", "1/1000000", "²/3"]
)
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Shard.parse(text)
    assert f"got {text!r}, allowed i/n with 1 <= i <= n <= 100000, for example 2/4" in str(caught.value)


def test_the_command_refuses_it_before_anything_is_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["run", TINY, "--shard", "5/4", "--store", str(tmp_path / "store")])
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_shares_are_disjoint_and_together_the_plan(count: int) -> None:
    for plan in (_plan(TINY, seeds=40), _plan(TROUBLED, preset="skips")):
        shares = [Shard(number, count).of(plan) for number in range(1, count + 1)]
        assert sorted(trial_id for share in shares for trial_id in _ids(share)) == sorted(_ids(plan))
        sizes = [len(share.packs) for share in shares]
        assert max(sizes) <= min(sizes) + 1


def _start(drivers: Drivers, study: str, store: Path, shard: str, fault: str = "", **how: Any) -> int:
    env = {"GRADLAW_FAULT": fault}
    return drivers.start(study=study, store=str(store), how={**HOW, **how, "shard": shard}, env=env)


@pytest.mark.slow
def test_three_at_once_of_which_one_is_killed_and_run_again(
    drivers: Drivers, tmp_path: Path, assert_whole: Callable[..., None]
) -> None:
    store, seeds = tmp_path / "store", 10
    plan = _plan(TINY, seeds=seeds)
    shares = {text: set(_ids(Shard.parse(text).of(plan))) for text in ("1/3", "2/3", "3/3")}
    assert all(shares.values())
    fault = "before_commit:1"
    pids = {
        text: _start(drivers, TINY, store, text, fault if text == "2/3" else "", seeds=seeds)
        for text in shares
    }
    codes = {text: drivers.wait(pid) for text, pid in pids.items()}
    assert codes == {"1/3": 0, "2/3": -signal.SIGKILL, "3/3": 0}, "a share is complete when it has ended"
    assert {row["trial_id"] for row in committed(store)} == shares["1/3"] | shares["3/3"]
    assert drivers.wait(_start(drivers, TINY, store, "2/3", seeds=seeds)) == 0
    assert len(committed(store)) == 2 * seeds, "no trial ran twice"
    assert len(Store.open(store).plans()) == 1
    lines: list[str] = []
    assert gradlaw.run(TINY, store=store, seeds=seeds, say=lines.append, **HOW).trials_run == 0
    assert "20 in the store, 0 to run in 0 packs" in lines[0]
    assert_whole(store, seeds)


def test_claims_are_locked_once_whichever_share_comes_first(drivers: Drivers, tmp_path: Path) -> None:
    store = tmp_path / "store"
    pids = [_start(drivers, CLAIMED, store, f"{number}/3") for number in (1, 2, 3)]
    assert [drivers.wait(pid) for pid in pids] == [0, 0, 0]
    (lock,) = Store.open(store).locks("claimed")
    assert lock["before_data"]
    assert states(store) == {"done": 8}


def test_what_is_told_and_summed_up_is_of_the_share(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = _plan(TROUBLED, preset="skips")
    run = {"preset": "skips", "store": tmp_path, "say": lines.append, **HOW}
    shares = [Shard(number, 2) for number in (1, 2)]
    for shard in shares:
        summary = gradlaw.run(TROUBLED, shard=shard, **run)
        share = shard.of(plan)
        assert summary.complete
        assert summary.trials_planned == sum(summary.states.values()) == len(_ids(share))
        assert summary.trials_run == sum(len(pack.members) for pack in share.packs)
    of_second = f"share 2 of 2: {len(_ids(shares[1].of(plan)))} trials, 0 in the store"
    assert [line for line in lines if of_second in line]
    assert states(tmp_path) == {"done": 6, "skipped": 2}
    assert len(committed(tmp_path)) == 8


def test_what_fails_stays_with_its_share_to_the_last_attempt(tmp_path: Path) -> None:
    """The last attempt at a trial is in a pack of its own, which has another digest."""
    orders, store = tmp_path / "orders", tmp_path / "store"
    orders.write_text("raise 1")
    how: dict[str, Any] = {"preset": "squares", "set": {"orders": str(orders)}, "store": store, **HOW}
    plan = _plan(TROUBLED, preset="squares", overrides={"orders": str(orders)})
    [own] = [
        number
        for number in (1, 2, 3)
        if any(member.trial.seed == 1 for member in Shard(number, 3).of(plan).members)
    ]
    for _ in range(3):
        with pytest.raises(LookupError):
            gradlaw.run(TROUBLED, shard=Shard(own, 3), **how)
    assert not gradlaw.run(TROUBLED, shard=Shard(own, 3), **how).complete
    assert [row["seed"] for row in counting(store) if row["state"] == "failed"] == [1]
    for number in {1, 2, 3} - {own}:
        assert gradlaw.run(TROUBLED, shard=Shard(number, 3), **how).complete
    assert states(store) == {"done": 5, "failed": 1}


def test_shares_of_an_adaptive_plan_go_round_by_round(tmp_path: Path) -> None:
    """The one that finds everything ended asks for more; the others say that more is to come."""
    how: dict[str, Any] = {"preset": "short", **HOW}
    gradlaw.run(SOUGHT, store=tmp_path / "whole", **how)
    store, lines, turns = tmp_path / "shared", list[str](), 0
    while True:
        shard = Shard(1 + turns % 2, 2)
        summary = gradlaw.run(SOUGHT, store=store, shard=shard, say=lines.append, **how)
        turns += 1
        if summary.complete:
            break
        assert summary.is_open
        assert set(summary.states) <= {"done", "diverged"}
        assert turns < 40
    assert turns > 2
    assert gradlaw.run(SOUGHT, store=store, shard=Shard(1 + turns % 2, 2), **how).complete
    said = [line for line in lines if line.startswith("rounds are to come")]
    assert said == [
        "rounds are to come: they wait for trials of other shares that have not ended; run again"
    ] * (turns - 1)
    ends = [{row["trial_id"]: row["state"] for row in counting(path)} for path in (tmp_path / "whole", store)]
    assert ends[0] == ends[1]
    assert len(committed(store)) == len(ends[0]), "no trial ran twice"


@pytest.mark.slow
def test_the_command_runs_a_share_without_ray(tmp_path: Path) -> None:
    program = (
        "import sys; from gradlaw.cli import app\n"
        f"app({['run', TROUBLED, '--preset', 'squares', '--shard', '1/1', '--store', str(tmp_path)]!r}, "
        "standalone_mode=False)\n"
        "assert 'ray' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "share 1 of 1: 6 trials" in ended.stderr
    assert states(tmp_path) == {"done": 6}
