"""Rounds: packs that Tune is suggested stage by stage, workers that live over them and go when they must."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from held import STUDIES, counting
from ray.tune.execution import tune_controller
from ray.tune.search import Searcher

import gradlaw
from gradlaw.launch import tuning
from gradlaw.launch.base import OnReport, Order, Report
from gradlaw.launch.inline import InlineLauncher
from gradlaw.launch.tuning import ASK, PACK, Feed, Forward, Idle, Parcel, Stage, Stopped, amended
from gradlaw.planning.planned import plan_study
from gradlaw.running import runner
from gradlaw.store.leases import Leases, Tenant
from gradlaw.store.store import Store

ASKED = {"CPU": 1.0}


def stages(*names: str, log: list[str] | None = None) -> Iterator[Stage]:
    """A stage for each word, a parcel for each of its letters; what is asked for is logged."""
    for word in names:
        if log is not None:
            log.append(word)
        yield Stage(Parcel(letter, ASKED, letter.encode()) for letter in word)


def begun(feed: Feed, limit: int = 100) -> Feed:
    assert feed.begin()
    feed.limit(limit)
    return feed


def suggested(feed: Feed, trial_id: str) -> str:
    configuration = feed.suggest(trial_id)
    assert configuration[ASK] == ASKED
    name: str = configuration[PACK]
    assert feed.data(trial_id) == name.encode()
    return name


def test_a_stage_is_asked_for_once_all_before_has_ended() -> None:
    log: list[str] = []
    feed = begun(Feed(stages("ab", "c", log=log)))
    assert [suggested(feed, "1"), suggested(feed, "2")] == ["a", "b"]
    assert feed.suggest("3") is None
    feed.on_trial_complete("1")
    assert feed.suggest("4") is None, "b still runs"
    assert log == ["ab"]
    feed.on_trial_complete("2", error=True)
    assert suggested(feed, "5") == "c"
    assert feed.suggest("6") is None
    feed.on_trial_complete("5")
    assert feed.suggest("7") == Searcher.FINISHED
    assert not feed.begin()


def test_a_stage_without_parcels_lets_the_workers_go_before_the_next_is_asked_for() -> None:
    log: list[str] = []
    feed = begun(Feed(stages("a", "", "b", log=log)))
    assert suggested(feed, "1") == "a"
    feed.on_trial_complete("1")
    assert feed.suggest("2") == Searcher.FINISHED
    assert log == ["a", ""]
    assert suggested(begun(feed), "3") == "b"


def test_an_experiment_ends_at_its_limit_and_the_next_goes_on() -> None:
    feed = begun(Feed(stages("abc")), limit=2)
    assert [suggested(feed, "1"), suggested(feed, "2")] == ["a", "b"]
    assert feed.suggest("3") == Searcher.FINISHED
    assert suggested(begun(feed), "4") == "c"


def test_nothing_more_is_given_of_a_stage_that_is_dropped() -> None:
    feed = begun(Feed(stages("abc", "d")))
    assert suggested(feed, "1") == "a"
    feed.drop()
    assert suggested(begun(feed), "2") == "d"


def test_what_a_round_raises_ends_the_experiment_and_is_kept() -> None:
    def broken() -> Iterator[Stage]:
        yield from stages("a")
        raise LookupError

    feed = begun(Feed(broken()))
    assert suggested(feed, "1") == "a"
    feed.on_trial_complete("1")
    assert feed.suggest("2") == Searcher.FINISHED
    assert isinstance(feed.error, LookupError)


def test_idle_workers_are_kept_until_room_is_needed_or_they_are_long_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    idle = Idle()
    assert [idle.cache_object("1 CPU", name) for name in "abc"] == [True] * 3
    assert list(idle.flush_cached_objects()) == []
    idle.increase_max("1 CPU")
    assert list(idle.flush_cached_objects()) == ["a", "b"], "one pack waits for one of them"
    idle.increase_max("2 CPUs")
    idle.decrease_max("1 CPU")
    assert list(idle.flush_cached_objects()) == ["c"], "others wait for its room"
    assert not idle.cache_object("1 CPU", "d"), "as for that of one that has just ended"
    idle.decrease_max("2 CPUs")
    assert [idle.cache_object("1 CPU", name) for name in "ef"] == [True] * 2
    monkeypatch.setattr(tuning, "IDLE_S", -1.0)
    assert list(idle.flush_cached_objects()) == ["e", "f"]


def test_once_a_worker_has_died_no_pack_is_given_to_one_that_was_idle() -> None:
    """What ended it, a node or want of memory, may have ended them: a pack would be lost with each."""
    idle, reports = Idle(), list[Report]()
    with amended(idle):
        assert tune_controller._ObjectCache(may_keep_one=True) is idle
    for name in "abc":
        idle.cache_object("1 CPU", name)
    idle.increase_max("1 CPU", 2)
    trial = SimpleNamespace(trial_id="1", config={PACK: "pack"}, error_file=None)
    Forward(Feed(stages()), reports.append, Stopped(), idle).on_trial_error(0, [], trial)
    assert [report.lost for report in reports] == [True]
    assert list(idle.flush_cached_objects()) == ["a", "b", "c"], "though packs wait for them"
    idle.cache_object("1 CPU", "d")
    assert list(idle.flush_cached_objects()) == [], "those that begin afterwards are kept again"


def test_a_run_lets_its_workers_go_before_it_waits_for_what_others_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, store = STUDIES / "claimed", Store.create(tmp_path)
    (pack, *_), tenant = plan_study(study, preset="smoke").plan.packs, Tenant(driver="another")
    hold = Leases(store.files, tenant.driver).acquire(pack.pack_id, tenant)
    assert hold is not None
    sizes: list[int] = []

    class Recording(InlineLauncher):
        def run_rounds(self, rounds: Iterator[Sequence[Order]], on_report: OnReport) -> None:
            for orders in rounds:
                sizes.append(len(orders))
                if orders:
                    self.run(orders, on_report)
                else:
                    hold.release()

    monkeypatch.setattr(runner, "make_launcher", lambda *_, **__: Recording())
    assert gradlaw.run(study, preset="smoke", store=tmp_path).complete
    assert sizes == [0, 1], "the other had all of it"
    assert {row["pack_id"] for row in counting(tmp_path)} == {pack.pack_id}
