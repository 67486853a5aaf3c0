"""A run that is told to end: packs keep checkpoints, leases are free, and the next run goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from held import STUDIES, committed, counting, numbers

import gradlaw
from gradlaw.cli import running
from gradlaw.launch.base import Report
from gradlaw.launch.tuning import Feed, Forward, Idle, Parcel, Stage, Stopped
from gradlaw.running.stop import Stop
from gradlaw.running.tally import RunProgress
from gradlaw.store import stops
from gradlaw.store.files import UnreachableError
from gradlaw.store.local import LocalFiles
from gradlaw.store.store import Store

TINY, TROUBLED = (str(STUDIES / name) for name in ("tiny", "troubled"))
HOW: dict[str, Any] = {"compile": "never", "set": {"steps": 300}, "seeds": 4}
SOON: dict[str, Any] = HOW | {"flush_s": 0.01}


def _once_it_runs(stop: Stop, store: Path) -> Callable[[RunProgress], None]:
    """Tells the run to end at its first step, and waits until its worker can know."""

    def ask(progress: RunProgress) -> None:
        if progress.steps_done and not stop.asked:
            stop.ask()
            end = time.monotonic() + 60
            while not list(store.glob("_tmp/stop-*")):
                assert time.monotonic() < end
                time.sleep(0.01)

    return ask


@pytest.mark.slow
def test_a_run_that_is_told_to_end_goes_on_where_it_was_bit_for_bit(tmp_path: Path) -> None:
    stop, told = Stop(), []
    how = SOON | {"on_progress": _once_it_runs(stop, tmp_path / "s")}
    began = gradlaw.run(TINY, store=tmp_path / "s", stop=stop, say=told.append, **how)
    assert not began.complete
    assert committed(tmp_path / "s") == []
    names = sorted(path.name for path in (tmp_path / "s" / "_checkpoints").iterdir())
    assert len([name for name in names if name.endswith(".json")]) == 1, "the other pack did not begin"
    assert not list((tmp_path / "s").glob("_leases/*/*.json"))
    assert not list((tmp_path / "s").glob("_tmp/stop-*"))
    assert any(line.startswith("told to end") for line in told)

    again: list[str] = []
    ended = gradlaw.run(TINY, store=tmp_path / "s", say=again.append, **HOW)
    assert ended.complete
    assert sum("goes on from its checkpoint" in line for line in again) == 1
    gradlaw.run(TINY, store=tmp_path / "undisturbed", **HOW)
    assert numbers(tmp_path / "s") == numbers(tmp_path / "undisturbed")
    assert len(committed(tmp_path / "s")) == 8
    assert {row["state"] for row in counting(tmp_path / "s")} == {"done"}


def test_without_checkpoints_it_ends_all_the_same(tmp_path: Path) -> None:
    stop = Stop()
    how = SOON | {"checkpoint_s": float("inf")}
    began = gradlaw.run(TINY, store=tmp_path, stop=stop, on_progress=_once_it_runs(stop, tmp_path), **how)
    assert began.states == {}
    assert not list(tmp_path.glob("_checkpoints/*"))


def test_told_before_it_begins_nothing_runs(tmp_path: Path) -> None:
    stop = Stop()
    stop.ask()
    assert gradlaw.run(TINY, store=tmp_path, stop=stop, **HOW).trials_run == 0


def test_a_wish_is_one_run_s_alone(tmp_path: Path) -> None:
    files = Store.create(tmp_path).files
    stops.ask(files, "a" * 32)
    assert stops.is_asked(files, "a" * 32)
    assert not stops.is_asked(files, "b" * 32)
    assert not stops.is_asked(files, "")
    stops.clear(files, "a" * 32)
    assert not stops.is_asked(files, "a" * 32)


def test_the_second_run_of_the_same_options_hears_it_too(tmp_path: Path) -> None:
    files, stop = Store.create(tmp_path).files, Stop()
    with stop.heard(files, "a" * 32):
        pass
    with stop.heard(files, "b" * 32):
        stop.ask()
        end = time.monotonic() + 60
        while not stops.is_asked(files, "b" * 32):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert not stops.is_asked(files, "b" * 32)


def test_a_store_that_does_not_answer_tells_nobody_to_end(tmp_path: Path) -> None:
    class Mute(LocalFiles):
        def exists(self, key: str) -> bool:
            raise UnreachableError(key)

    assert not stops.is_asked(Mute(tmp_path), "a" * 32)


def _be_told_and_go_on(stop: Stop) -> None:
    with running._ends_soon_at_sigterm(stop):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)


def test_an_ending_that_takes_too_long_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ENDING_S", 0.1)
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop()
    with pytest.raises(KeyboardInterrupt):
        _be_told_and_go_on(stop)
    assert stop.asked
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_a_second_sigterm_ends_a_run_at_once(tmp_path: Path) -> None:
    """A measurement that hangs hears nothing of the first."""
    orders = tmp_path / "orders"
    orders.write_text("wait 0 1 2 3")
    words = ["run", TROUBLED, "--preset", "squares", "--set", f"orders={orders}", "--launcher", "inline"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gradlaw.cli", *words, "--store", str(tmp_path / "store")],
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 300
    while not list((tmp_path / "store").glob("_leases/*/*.json")):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.terminate()
    while not list((tmp_path / "store").glob("_tmp/stop-*")):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.terminate()
    assert process.wait(60) == 130
    assert process.stderr
    assert "interrupted" in process.stderr.read()
    process.stderr.close()


def test_tune_ends_once_those_that_ran_beside_a_stopped_pack_have() -> None:
    """Those that begin after it end as they begin, and are not waited for."""
    reports: list[Report] = []
    stopped, sent = Stopped(), list[bytes]()
    feed = Feed(iter([Stage(Parcel(name, {"CPU": 1}, name.encode()) for name in "abc")]))
    assert feed.begin()
    feed.limit(3)
    assert [feed.suggest(name)["pack"] for name in "abc"] == ["a", "b", "c"]
    forward = Forward(feed, reports.append, stopped, Idle())
    worker = SimpleNamespace(take=SimpleNamespace(remote=sent.append))
    state = SimpleNamespace(ray_actor=worker)
    trials = [SimpleNamespace(trial_id=name, temporary_state=state) for name in "abc"]
    for trial in trials[:2]:
        forward.on_trial_start(0, [], trial)
    forward.on_trial_result(0, [], trials[0], {"report": vars(Report(pack_id="a"))})
    assert not stopped.stop_all()
    ended = vars(Report(pack_id="a", finished=True, stopped=True))
    forward.on_trial_result(0, [], trials[0], {"report": ended})
    forward.on_trial_start(0, [], trials[2])
    assert not stopped.stop_all(), "b still runs"
    forward.on_trial_result(0, [], trials[1], {"report": vars(Report(pack_id="b", finished=True))})
    assert stopped.stop_all()
    assert len(reports) == 3
    assert sent == [b"a", b"b", b"c"]
