"""What must hold of every launcher, and of a run whatever its launcher."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from held import STUDIES, as_trained_on, committed, counting, numbers, states

from gradlaw.errors import UsageError
from gradlaw.running.runner import RunSummary, run
from gradlaw.running.tally import RunProgress
from gradlaw.store.store import Store

TINY, TROUBLED, CLAIMED = STUDIES / "tiny", STUDIES / "troubled", STUDIES / "claimed"
SOUGHT = STUDIES / "sought"
TWO_WORKERS = {"cpus": 1}
INLINE = pytest.mark.parametrize("launcher", ["inline"], indirect=True)
"""For what holds before and after a launcher, or in the engine within: shown where it takes least."""


class Bench:
    """Runs studies on one store with one launcher, and keeps what is said.

    A worker of Ray takes seconds to start: a pack asks for both CPUs, so that one runs all, unless told
    otherwise.
    """

    def __init__(self, launcher: str, folder: Path) -> None:
        self.launcher = launcher
        self.store = folder / "store"
        self.orders = folder / "orders"
        self.said: list[str] = []
        self.raised: list[str] = []
        self.progress: list[RunProgress] = []

    def run(self, study: Path, **how: Any) -> RunSummary:
        self.said, self.progress = [], []
        if self.launcher == "ray":
            how = {"cpus": 2} | how
        return run(
            study,
            store=self.store,
            launcher=self.launcher,
            say=self.said.append,
            on_progress=self.progress.append,
            **how,
        )

    def squares(self, orders: str, **how: Any) -> RunSummary | None:
        """Runs the measurement under these orders; inline raises what it raised, once it is recorded."""
        self.orders.write_text(orders)
        try:
            return self.run(TROUBLED, preset="squares", set={"orders": str(self.orders)}, **how)
        except LookupError as error:
            assert self.launcher == "inline"
            self.raised.append(str(error))
            return None


@pytest.fixture
def bench(launcher: str, tmp_path: Path) -> Bench:
    return Bench(launcher, tmp_path)


def attempts(store: Path) -> dict[int, list[str]]:
    """States of all committed rows of each seed, in the order of the attempts."""
    found: dict[int, list[tuple[Any, str]]] = {}
    for row in committed(store):
        found.setdefault(row["seed"], []).append((row["started_at"], row["state"]))
    return {seed: [state for _, state in sorted(rows)] for seed, rows in sorted(found.items())}


def test_every_planned_trial_ends_once_and_nothing_runs_again(bench: Bench, tmp_path: Path) -> None:
    """With the numbers of the launcher that is none, and reports that add up to the plan."""
    first = bench.run(TINY, flush_s=0.001, **TWO_WORKERS)
    assert first.complete
    assert first.states == {"done": 12}
    assert first.trials_run == 12
    assert sorted(numbers(bench.store)) == [(seed, lr) for seed in range(6) for lr in (0.05, 0.2)]
    assert all(
        [step for step, _ in curve] == list(range(0, 41, 4)) for curve in numbers(bench.store).values()
    )
    run(TINY, store=tmp_path / "other", launcher="inline")
    assert numbers(bench.store) == numbers(tmp_path / "other")
    _check_reports(bench.progress)

    again = bench.run(TINY)
    assert again.complete
    assert again.trials_run == 0
    assert len(committed(bench.store)) == 12
    assert bench.progress == []
    assert "12 trials, 12 in the store, 0 to run in 0 packs" in bench.said[0]


def _check_reports(progress: list[RunProgress]) -> None:
    last = progress[-1]
    assert (last.trials_done, last.packs_done, last.packs_planned) == (12, 3, 3)
    assert last.steps_done == last.steps_planned == 12 * 40
    done = [item.steps_done for item in progress]
    assert done == sorted(done)
    assert len(done) > 6, "a flush every millisecond must be seen while packs run"


def test_more_seeds_run_only_the_new_ones(bench: Bench) -> None:
    bench.run(TINY, seeds=5)
    as_trained_on("cuda:0", bench.store)
    grown = bench.run(TINY, seeds=10)
    assert [line for line in bench.said if "another device (10 on cuda)" in line]
    assert grown.trials_run == 10
    assert grown.states == {"done": 20}
    assert Counter(row["seed"] for row in committed(bench.store)) == dict.fromkeys(range(10), 2)


@INLINE
def test_divergence_is_data(bench: Bench) -> None:
    summary = bench.run(TROUBLED, preset="slope")
    assert summary.complete
    assert states(bench.store) == {"done": 2, "diverged": 2}
    reasons = {row["reason"].split(" at ")[0] for row in counting(bench.store) if row["state"] == "diverged"}
    assert all("loss" in reason for reason in reasons)


@INLINE
def test_skipped_combinations_are_rows_with_a_reason(bench: Bench) -> None:
    summary = bench.run(TROUBLED, preset="skips")
    assert summary.complete
    assert summary.states == {"done": 6, "skipped": 2}
    skipped = [row for row in counting(bench.store) if row["state"] == "skipped"]
    assert {(row["lr"], row["momentum"], row["reason"]) for row in skipped} == {
        (0.5, 0.9, "momentum is not asked about at this lr")
    }
    bench.run(TROUBLED, preset="skips")
    assert len(committed(bench.store)) == 8


@INLINE
def test_a_measurement_fills_its_table(bench: Bench) -> None:
    bench.squares("")
    seeds = {row["trial_id"]: row["seed"] for row in counting(bench.store)}
    found = {seeds[row["trial_id"]]: row["square"] for row in counting(bench.store, "squares")}
    assert found == {seed: seed * seed for seed in range(6)}


def test_what_must_run_alone_does(bench: Bench) -> None:
    bench.run(TROUBLED, preset="timed", **TWO_WORKERS)
    tasks = {row["trial_id"]: row["task"] for row in counting(bench.store)}
    rows = counting(bench.store, "intervals")
    assert len(rows) == 4
    for row in (row for row in rows if tasks[row["trial_id"]].startswith("timed@")):
        others = [other for other in rows if other is not row]
        assert all(
            other["ended_ms"] <= row["began_ms"] or row["ended_ms"] <= other["began_ms"] for other in others
        )


def test_an_error_is_retried_then_final_until_asked_and_does_not_take_its_neighbours(bench: Bench) -> None:
    """Run until nothing is left to do; inline stops at the first error of each run."""
    for _ in range(5):
        if bench.squares("raise 1", **TWO_WORKERS) is not None:
            break
    assert bench.raised == (["seed 1 was told to raise"] * 3 if bench.launcher == "inline" else [])
    tried = attempts(bench.store)
    assert tried[1] == ["error", "error", "failed"]
    assert {tried[seed][-1] for seed in (0, 2, 3, 4, 5)} == {"done"}
    assert tried[4] == tried[5] == ["done"], "another pack is not run again"
    failed = next(row for row in counting(bench.store) if row["state"] == "failed")
    assert "seed 1 was told to raise" in failed["reason"]

    before = len(committed(bench.store))
    summary = bench.squares("raise 1")
    assert summary is not None
    assert len(committed(bench.store)) == before, "not unless asked"
    assert not summary.complete
    summary = bench.squares("", retry_failed=True)
    assert summary is not None
    assert summary.complete
    assert summary.states == {"done": 6}
    assert len(committed(bench.store)) == before + 1


def test_time_limit_ends_what_is_not_done_and_it_is_tried_again(bench: Bench) -> None:
    summary = bench.run(TROUBLED, preset="slow", seeds=1, time_limit_s=0.3)
    assert attempts(bench.store) == {0: ["timed_out", "timed_out", "failed"]}
    assert not summary.complete
    reason = counting(bench.store)[0]["reason"]
    assert "time limit" in reason


@INLINE
def test_a_probe_added_later_is_measured_by_running_again_and_it_says_so(bench: Bench) -> None:
    bench.run(TINY, seeds=2)
    before = numbers(bench.store)
    summary = bench.run(TINY, preset="probed", seeds=2)
    assert summary.trials_run == 4
    assert any("4 of them run again: they were not measured" in line for line in bench.said)
    assert all(row["gradient_norm"] > 0.0 for row in counting(bench.store, "metrics"))
    assert numbers(bench.store) == before, "a probe changes nothing of the trajectory"
    assert bench.run(TINY, preset="probed", seeds=2).trials_run == 0
    assert bench.run(TINY, seeds=2).trials_run == 0, "more than was asked for is enough"


@INLINE
def test_plans_are_written_before_they_run_and_claims_are_locked_once(bench: Bench) -> None:
    bench.run(CLAIMED, preset="smoke")
    bench.run(CLAIMED, explore=True)
    store = Store.open(bench.store)
    assert store.locks("claimed") == ()
    bench.run(CLAIMED)
    bench.run(CLAIMED, seeds=9)
    kinds = {plan.plan_id: plan.kind for plan in store.plans()}
    assert sorted(kinds.values()) == ["confirm", "confirm", "explore", "smoke"]
    (lock,) = store.locks("claimed")
    assert lock["kind"] == "claims"
    assert lock["claims"][0]["name"] == "loss_is_small"
    assert "step = 5" in lock["claims"][0]["sql_text"]["final_loss.sql"]
    explored = {row["seed"] for row in committed(bench.store)} - set(range(9))
    assert explored == set(range(1_000_000, 1_000_008))


def test_rounds_follow_one_another_and_workers_outlive_them(bench: Bench, tmp_path: Path) -> None:
    """A search and an edge at once: the same trials by either launcher, under Ray all by one worker."""
    before = workers() if bench.launcher == "ray" else set()
    assert bench.run(SOUGHT, preset="short", compile="never").complete
    assert sum(line.startswith("round ") for line in bench.said) == 2
    if bench.launcher == "ray":
        assert len(workers() - before) == 1
        run(SOUGHT, preset="short", store=tmp_path / "other", launcher="inline", compile="never")
        plans = [
            sorted(row["trial_id"] for row in counting(path)) for path in (bench.store, tmp_path / "other")
        ]
        assert plans[0] == plans[1]


def workers() -> set[str]:
    """Ids of all actors that the cluster has had."""
    from ray._private import state

    return set(state.actors())


def test_a_worker_that_hangs_is_ended_and_its_neighbours_finish(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bench.launcher == "inline":
        pytest.skip("inline has no worker to end: interrupt it")
    summary = bench.squares("hang 1", time_limit_s=0.1, seeds=2)
    assert summary is not None
    assert summary.states == {"done": 1, "failed": 1}
    assert attempts(bench.store)[1] == ["timed_out", "timed_out", "failed"]


def test_what_the_engine_refuses_reaches_the_user(bench: Bench) -> None:
    said = "UsageError: task asking: torch.vmap refuses an operation in `scale = params"
    if bench.launcher == "inline":
        with pytest.raises(UsageError, match=r"task asking: torch\.vmap refuses"):
            bench.run(TROUBLED, preset="asking")
    else:
        assert bench.run(TROUBLED, preset="asking").states == {"failed": 2}
        assert any(said in line for line in bench.said)
    for row in committed(bench.store):
        assert row["state"] in ("error", "failed")
        assert said in row["reason"]
        assert row["reason"].endswith("set `vmappable = False` on the task.")
