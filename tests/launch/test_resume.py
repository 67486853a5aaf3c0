"""Packs that keep checkpoints, killed by SIGKILL: the next run goes on, and ends as if nothing had happened.

A checkpoint is kept at the end of every segment here, so that every kill finds one half-way through a pack.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Generator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from drivers import Drivers
from held import STUDIES, committed, counting, numbers, states

import gradlaw
from gradlaw.engine import wave
from gradlaw.errors import ConfigurationError, StoreError
from gradlaw.launch.base import Launcher, OnReport, Order, Report
from gradlaw.launch.committing import commit_unrun
from gradlaw.launch.worker import work
from gradlaw.planning.planned import plan_study
from gradlaw.running import runner
from gradlaw.store import paths
from gradlaw.store.checkpoints import PackCheckpoints, newest_checkpoints, sweep_checkpoints
from gradlaw.store.local import LocalFiles, LocalSink
from gradlaw.store.parquet import read_bytes
from gradlaw.store.store import Store
from gradlaw.trial import State

TINY = str(STUDIES / "tiny")
STEPS, SEEDS = 270, 2
HOW: dict[str, Any] = {
    "seeds": SEEDS, "set": {"steps": STEPS}, "checkpoint_s": 1e-9, "compile": "never", "flush_s": 1.0
}  # fmt: skip
GOES_ON, UNUSED = "goes on from its checkpoint", "is not used: "


def _files(store: Path) -> list[str]:
    """The files of checkpoints, without the pack's id."""
    return sorted(path.name.split("-", 1)[1] for path in (store / paths.CHECKPOINTS).glob("*"))


def _killed(drivers: Drivers, study: str, store: Path, fault: str, **how: object) -> None:
    code = drivers.run(study=study, store=str(store), how=HOW | how, env={"GRADLAW_FAULT": fault})
    assert code == -signal.SIGKILL


def _run(study: str, store: Path, **how: object) -> list[str]:
    """Runs what is missing, in this process; the lines that were said."""
    lines: list[str] = []
    settings: dict[str, Any] = {"launcher": "inline", **HOW, **how}
    assert gradlaw.run(study, store=store, say=lines.append, **settings).complete
    return lines


def _about(lines: list[str], text: str) -> list[str]:
    return [line for line in lines if text in line]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """The curves of a run that nobody disturbed, and that kept no checkpoint."""
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    _run(TINY, store, checkpoint_s=float("inf"))
    return numbers(store)


@pytest.fixture(scope="module")
def _half_way(drivers: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("half_way") / "store"
    _killed(drivers, TINY, store, "checkpoint_after_manifest:2")
    return store


@pytest.fixture
def half_way(_half_way: Path, tmp_path: Path) -> Path:
    """A store whose driver was killed when its second checkpoint was whole and the first was still there."""
    shutil.copytree(_half_way, tmp_path / "half_way")
    return tmp_path / "half_way"


def _assert_whole(store: Path, expected: dict[Any, Any]) -> None:
    """Every trial once, done, with the rows of the undisturbed run; no checkpoint is left."""
    assert [row["state"] for row in counting(store)] == ["done"] * 2 * SEEDS
    assert {row["steps_done"] for row in counting(store)} == {STEPS}
    assert numbers(store) == expected
    assert _files(store) == []


def test_killed_while_checkpoints_are_written(
    drivers: Drivers, tmp_path: Path, expected: dict[Any, Any]
) -> None:
    """The second one is not whole: the first is used. Killed again when the new second one is; then done."""
    store = tmp_path / "store"
    _killed(drivers, TINY, store, "checkpoint_before_manifest:2")
    left = ["0-0-metrics.parquet", "0-0.json", "0-0.safetensors", "0-1-metrics.parquet", "0-1.safetensors"]
    assert _files(store) == left
    assert committed(store) == []
    _killed(drivers, TINY, store, "checkpoint_after_manifest:1")
    assert {"1-0.json", "1-0.safetensors", "1-0-metrics.parquet", *left[:3]} <= set(_files(store))
    lines = _run(TINY, store)
    assert [line.rpartition("-1-")[2] for line in _about(lines, GOES_ON)] == ["0.json"]
    assert _about(lines, UNUSED) == []
    _assert_whole(store, expected)
    rows = committed(store, "metrics")
    assert {row["attempt"] for row in rows} == {2}, "rows of before are the attempt's own"
    assert len(rows) == 2 * SEEDS * len(range(0, STEPS + 1, 4)) + 2 * SEEDS * (STEPS % 4 > 0)
    assert _about(_run(TINY, store), "0 to run in 0 packs")


@pytest.mark.slow
def test_killed_at_random_moments(
    drivers: Drivers,
    tmp_path: Path,
    expected: dict[Any, Any],
    record_testsuite_property: Callable[[str, object], None],
) -> None:
    """Killed again and again until it is done: it gets ever further, since it goes on from checkpoints."""
    moments, kills, store = random.Random(5), 0, tmp_path / "store"
    for attempt in count():
        pid = drivers.start(study=TINY, store=str(store), how=HOW)
        time.sleep(moments.uniform(0.2, 0.4 + 0.05 * attempt))
        if drivers.kill(pid) == 0:
            break
        kills += 1
    sweep_checkpoints(LocalFiles(store), Store.open(store).index(), keep_s=0.0)  # a kill fell after a commit
    _assert_whole(store, expected)
    assert kills >= 2, kills
    record_testsuite_property("kills at random of packs with checkpoints", kills)


def _damage(store: Path, ending: str, change: Callable[[bytes], bytes | None]) -> None:
    [file] = (store / paths.CHECKPOINTS).glob(f"*{ending}")
    data = change(file.read_bytes())
    file.unlink()
    if data is not None:
        file.write_bytes(data)


@pytest.mark.parametrize(
    ("ending", "change", "said"),
    [
        (".json", lambda data: data[:100], "it is damaged: JSONDecodeError"),
        (".json", lambda data: data.replace(b'version": 1', b'version": 9'), "version is 9, allowed 1"),
        (".json", lambda data: data.replace(b'"step": 255', b'"step": 251'), "(digest)"),
        (".safetensors", lambda data: data[:-1], "is not what was written (size or digest)"),
        (".safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is not what was written"),
        ("-metrics.parquet", lambda data: None, "1-metrics.parquet is missing"),
    ],
)
def test_of_two_checkpoints_the_newest_whole_one_is_used(
    ending: str, change: Callable[[bytes], bytes], said: str, half_way: Path, expected: Any
) -> None:
    _damage(half_way, f"-0-1{ending}", change)
    lines = _run(TINY, half_way)
    assert len(_about(lines, UNUSED)) == 1
    assert said in _about(lines, UNUSED)[0]
    assert _about(lines, GOES_ON)[0].endswith("-0-0.json")
    _assert_whole(half_way, expected)


def test_without_a_whole_checkpoint_the_pack_starts_anew(half_way: Path, expected: Any) -> None:
    _damage(half_way, "-0-0-metrics.parquet", lambda data: data[:200])
    lines = _run(TINY, half_way)
    assert len(_about(lines, UNUSED)) == 2
    assert _about(lines, GOES_ON) == []
    _assert_whole(half_way, expected)


def test_what_is_asked_for_otherwise_is_not_gone_on_with(half_way: Path) -> None:
    said = _about(_run(TINY, half_way, width=3), UNUSED)
    assert len(said) == 2
    assert all(line.endswith("width: got 3, the checkpoint has None") for line in said)
    assert {(row["state"], row["pack_width"]) for row in counting(half_way)} == {("done", 3)}
    assert _files(half_way) == []


def test_a_pack_that_lacks_fewer_members_starts_anew(half_way: Path) -> None:
    """Half of it was run meanwhile, in another pack."""
    _run(TINY, half_way, seeds=1)
    said = _about(_run(TINY, half_way), UNUSED)
    assert said[0].endswith("trials: got a list of 2, the checkpoint has a list of 4")
    assert [row["state"] for row in counting(half_way)] == ["done"] * 2 * SEEDS
    assert len({(row["trial_id"], row["step"]) for row in committed(half_way, "metrics")}) == len(
        committed(half_way, "metrics")
    )


def test_what_a_lost_worker_kept_serves_the_next_attempt(half_way: Path, expected: Any) -> None:
    """A driver that lives on commits the trials as lost, which is no end of theirs."""
    planned = plan_study(TINY, preset="demo", overrides={"steps": STEPS}, seeds=SEEDS, explore=False)
    [pack], store = planned.plan.packs, Store.open(half_way)
    commit_unrun(store, pack, {one.trial.trial_id: "it died" for one in pack.members}, State.LOST, {})
    assert sweep_checkpoints(store.files, store.index(), keep_s=0.0) == 0
    assert _about(_run(TINY, half_way), GOES_ON)
    _assert_whole(half_way, expected)


def test_what_failed_for_good_goes_on_when_it_is_tried_again(half_way: Path, expected: Any) -> None:
    planned = plan_study(TINY, preset="demo", overrides={"steps": STEPS}, seeds=SEEDS, explore=False)
    [pack], store = planned.plan.packs, Store.open(half_way)
    commit_unrun(store, pack, {one.trial.trial_id: "it died" for one in pack.members}, State.FAILED, {})
    assert sweep_checkpoints(store.files, store.index(), keep_s=0.0) == 0
    assert _about(_run(TINY, half_way, retry_failed=True), GOES_ON)
    _assert_whole(half_way, expected)


class _Preempted(Launcher):
    """Takes every worker away once: as soon as it has kept a checkpoint, or before it can keep any."""

    def __init__(self, *, keeping: bool) -> None:
        self._keeping = keeping
        self.launched: list[int] = []
        self.lost = 0

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        for order in orders:
            self.launched.append(len(order.pack.members))
            reports, files = work(order), Store.open(order.store).files
            assert isinstance(reports, Generator)
            before = newest_checkpoints(files)
            for report in reports:
                kept = newest_checkpoints(files) != before and not report.finished
                if kept or not self._keeping:
                    reports.close()
                    self.lost += 1
                    on_report(Report(pack_id=order.pack.pack_id, finished=True, error="gone", lost=True))
                    break
                on_report(report)


def _run_preempted(
    store: Path, steps: int, launcher: _Preempted, monkeypatch: pytest.MonkeyPatch
) -> tuple[bool, list[str]]:
    lines: list[str] = []
    how = HOW | {"set": {"steps": steps}, "flush_s": 1e-9, "device": "cpu"}
    with monkeypatch.context() as patched:
        patched.setattr(runner, "make_launcher", lambda *_, **__: launcher)
        summary = gradlaw.run(TINY, store=store, say=lines.append, **how)
    return summary.complete, lines


def test_workers_taken_away_again_and_again_use_up_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More often than a trial has attempts: the pack stays together, and goes on from where it was."""
    monkeypatch.setattr(wave, "LOOK_STEPS", 8)
    steps, launcher = 6 * 8, _Preempted(keeping=True)
    complete, lines = _run_preempted(tmp_path / "store", steps, launcher, monkeypatch)
    assert complete
    assert (launcher.lost, launcher.launched) == (6, [2 * SEEDS] * 7)
    assert len(_about(lines, "lost, but it kept a checkpoint: no failed attempt")) == 6
    assert {row["state"] for row in committed(tmp_path / "store")} == {"done"}, "no attempt was counted"
    assert _files(tmp_path / "store") == []
    _run(TINY, tmp_path / "undisturbed", set={"steps": steps}, checkpoint_s=float("inf"))
    assert numbers(tmp_path / "store") == numbers(tmp_path / "undisturbed")


def test_workers_that_get_nowhere_use_up_their_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = _Preempted(keeping=False)
    complete, lines = _run_preempted(tmp_path / "store", 100, launcher, monkeypatch)
    assert not complete
    assert launcher.launched == [2 * SEEDS] * 2 + [1] * 2 * SEEDS
    assert states(tmp_path / "store") == {"failed": 2 * SEEDS}
    assert _about(lines, "no failed attempt") == []


def test_a_checkpoint_that_names_foreign_files_is_not_used(half_way: Path, expected: Any) -> None:
    """They would be read, and deleted when the next one is whole."""
    [document] = (half_way / paths.CHECKPOINTS).glob("*-0-1.json")
    [tensors] = (half_way / paths.CHECKPOINTS).glob("*-0-1.safetensors")
    foreign = half_way.parent / "foreign.safetensors"
    shutil.copy(tensors, foreign)
    text = document.read_text()
    document.write_text(text.replace(f"{paths.CHECKPOINTS}/{tensors.name}", f"../{foreign.name}"))
    lines = _run(TINY, half_way)
    said = _about(lines, UNUSED)[0]
    assert said.endswith("it names ../foreign.safetensors, which is no file of its pack's checkpoints")
    assert _about(lines, GOES_ON)[0].endswith("-0-0.json")
    assert foreign.exists()
    _assert_whole(half_way, expected)


def test_what_a_committed_pack_left_is_swept(drivers: Drivers, half_way: Path, expected: Any) -> None:
    _killed(drivers, TINY, half_way, "after_commit:1")
    left, store = _files(half_way), Store.open(half_way)
    assert left
    assert sweep_checkpoints(store.files, store.index()) == 0, "it is younger than an hour"
    assert sweep_checkpoints(store.files, store.index(), keep_s=0.0) == len(left)
    _assert_whole(half_way, expected)


def test_rows_of_before_are_seen_at_once_and_rows_past_the_checkpoint_no_more(
    drivers: Drivers, half_way: Path
) -> None:
    """The first driver had shown rows up to 255; the second goes on from the checkpoint at 127."""
    _damage(half_way, "-0-1.json", lambda data: None)
    _killed(drivers, TINY, half_way, "flush:2", flush_s=1e-9)
    store = Store.open(half_way)
    live = [key for key in store.resolve().live if paths.parse_live(key)]
    rows = [row for key in live for row in read_bytes(store.files.read(key))[0].to_pylist()]
    assert {row["attempt"] for row in rows} == {1}
    assert sorted(row["step"] for row in rows) == sorted([*range(0, 128, 4)] * 2 * SEEDS)


def test_a_full_disk_ends_the_checkpoints_and_not_the_pack(
    tmp_path: Path, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = LocalSink.publish
    failed: list[str] = []

    def full(self: LocalSink, key: str, *, durable: bool = True) -> bool:
        if key.endswith("1.safetensors"):
            failed.append(key)
            msg = "the disk is full"
            raise StoreError(msg)
        return published(self, key, durable=durable)

    monkeypatch.setattr(LocalSink, "publish", full)
    store = tmp_path / "store"
    assert _about(_run(TINY, store), "no more checkpoints of pack")[0].endswith("the disk is full")
    assert len(failed) == 1
    _assert_whole(store, expected)


def test_none_for_short_packs_and_none_where_none_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PackCheckpoints, "_keep", lambda *_: pytest.fail("a checkpoint was kept"))
    for checkpoint_s in (300.0, float("inf")):
        _run(TINY, tmp_path / f"{checkpoint_s:g}", checkpoint_s=checkpoint_s, seeds=1)
    with pytest.raises(ConfigurationError, match=r"checkpoint_s: got 0.0, allowed > 0"):
        _run(TINY, tmp_path / "none", checkpoint_s=0.0)
