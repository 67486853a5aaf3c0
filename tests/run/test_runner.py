"""What a run refuses before it begins, and what it says before it goes on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from held import as_trained_on

import gradlaw
from gradlaw import fingerprint
from gradlaw.engine.measure import measure
from gradlaw.errors import ConfigurationError, SchemaError, UsageError
from gradlaw.launch.committing import commit_unrun
from gradlaw.pack import Program
from gradlaw.planning.planned import plan_study
from gradlaw.running import pending
from gradlaw.running.runner import RunSummary
from gradlaw.store.compaction import compact
from gradlaw.store.store import Store
from gradlaw.trial import State

TINY = Path(__file__).parents[1] / "fixtures" / "studies" / "tiny"


def run(store: Path, lines: list[str] | None = None, **how: object) -> RunSummary:
    say = (lines if lines is not None else []).append
    return gradlaw.run(TINY, preset="smoke", store=store, say=say, **how)


def test_faults_of_plan_and_options_come_together_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        run(
            tmp_path / "store",
            seeds=0,
            set={"lr": [0.1, 0.1], "nope": 3},
            time_limit_s=-1.0,
            flush_s=0.0,
            device="cuda:99",
        )
    text = str(caught.value)
    assert text.startswith("6 faults:")
    for part in (
        "flush_s: got 0.0, allowed > 0",
        "time_limit_s: got -1.0, allowed > 0",
        "device: got 'cuda:99'",
        "seeds: got 0, allowed >= 1",
        "nope: unknown hyperparameter; known: ",
        "lr: got 0.1 twice, allowed once",
    ):
        assert part in text
    assert not (tmp_path / "store").exists()


def test_a_folder_without_a_study_is_told_from_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape("holds no study.py; name the folder of a study")):
        gradlaw.run(tmp_path, store=tmp_path / "store")


def test_a_changed_source_of_the_same_version_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = run(tmp_path)
    lines: list[str] = []
    run(tmp_path, lines)
    assert not [line for line in lines if "other source" in line]

    def changed(program: Program | None) -> str:
        return fingerprint.digest(["changed", str(type(program))])

    monkeypatch.setattr(pending, "program_source", changed)
    again = run(tmp_path, lines)
    assert [line for line in lines if line.startswith(f"warning: {held.trials_planned} trials")]
    assert again.trials_run == 0


def test_what_lacked_memory_runs_once_more_if_asked_and_what_it_measures_counts(tmp_path: Path) -> None:
    store, plan = Store.create(tmp_path), plan_study(TINY, preset="smoke").plan
    for pack in plan.packs:
        reasons = {member.trial.trial_id: "no room" for member in pack.members}
        commit_unrun(store, pack, reasons, State.OUT_OF_MEMORY, {})
    held = run(tmp_path)
    assert (held.trials_run, held.states) == (0, {"out_of_memory": held.trials_planned})
    again = run(tmp_path, retry_failed=True)
    assert (again.trials_run, again.states) == (held.trials_planned, {"done": held.trials_planned})
    assert run(tmp_path, retry_failed=True).trials_run == 0


@pytest.mark.parametrize("merged", [False, True])
def test_a_plan_begun_on_another_device_is_told(merged: bool, tmp_path: Path) -> None:
    def told(seeds: int) -> list[tuple[int, str]]:
        lines: list[str] = []
        assert run(tmp_path, lines, seeds=seeds).complete
        return [(place, line) for place, line in enumerate(lines) if "another device" in line]

    assert told(2) == told(3) == []
    as_trained_on("cuda:0", tmp_path)
    if merged:
        compact(Store.open(tmp_path), keep_s=0.0)
    assert told(3) == [], "nothing is to be trained"
    [(place, line)] = told(4)
    assert place == 1, "before anything is trained"
    assert line == (
        "warning: trials in the store were trained on another device (6 on cuda), the rest will be on cpu: "
        "in their last digits numbers differ; --device cuda for all on one"
    )
    [(_, line)] = told(5)
    assert "(6 on cuda)" in line, "of eight"


def test_who_measures_trains_nothing_and_asks_for_no_device(tmp_path: Path) -> None:
    troubled = TINY.parent / "troubled"
    for seeds in (2, 3):
        lines: list[str] = []
        gradlaw.run(troubled, preset="squares", seeds=seeds, store=tmp_path, say=lines.append)
        as_trained_on("cuda:0", tmp_path)
    assert len(lines) == 1


def test_files_set_aside_are_named_and_their_trials_run_again(tmp_path: Path) -> None:
    run(tmp_path)
    damaged = sorted(tmp_path.glob("metrics/*/*.parquet"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-7])
    lines: list[str] = []
    summary = run(tmp_path, lines)
    assert [line for line in lines if line.startswith("set aside: ") and damaged.name in line]
    assert summary.trials_run > 0
    assert summary.complete


def test_a_measurement_that_gives_no_columns_is_told(tmp_path: Path) -> None:
    from gradlaw.engine.clock import Clock
    from gradlaw.engine.recorder import MemoryRecorder
    from gradlaw.measurement import Measurement
    from gradlaw.pack import Member
    from gradlaw.trial import Trial

    class Nothing(Measurement):
        name = "nothing"

        @classmethod
        def tables(cls):
            return ()

        def measure(self, hyperparameters, seed):
            return None

    member = Member(trial=Trial(task="nothing@1", hyperparameters={}, seed=0), hyperparameters={})
    with pytest.raises(SchemaError, match="measurement nothing: measure gave None, allowed: columns by"):
        list(measure(Nothing(), [member], MemoryRecorder(), Clock(10.0, None)))
