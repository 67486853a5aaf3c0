"""What a dry run says of time and memory, against runs, the profiler and counts by hand."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import gradlaw
from gradlaw.engine import estimate
from gradlaw.engine.choice import Found
from gradlaw.engine.estimate import cost_of
from gradlaw.engine.memory import PeakBytes, process_bytes
from gradlaw.errors import ConfigurationError, UsageError
from gradlaw.pack import Member, Pack, Training
from gradlaw.planning import expected as expected_module
from gradlaw.planning.dry_run import describe_plan
from gradlaw.planning.expected import expect
from gradlaw.planning.planned import plan_study
from gradlaw.random import Streams
from gradlaw.rules.sgd import SGD
from gradlaw.running.options import RunOptions
from gradlaw.schedules import Constant
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Taps, Task
from gradlaw.trial import Trial

STUDIES = Path(__file__).parents[1] / "fixtures" / "studies"
SWEEP = """\
task: digits_mlp
values: {batch_size: 16}
grid: {lr: [1e-2, 1e-1]}
steps: 600
seeds: 4
probes: [full_loss]
"""


def _lines(study: Path | str, tmp_path: Path, *, preset: str | None = None, **options: Any) -> list[str]:
    return describe_plan(
        study,
        preset=preset,
        set={},
        seeds=None,
        store=tmp_path / "store",
        explore=False,
        options=RunOptions(**options),
    )


@pytest.mark.slow
def test_the_time_expected_is_the_time_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By processor time: what both take on a machine that does nothing else."""
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=time.process_time))
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    packs = plan_study(file).plan.packs
    found = expect(packs)
    started = time.process_time()
    gradlaw.run(file, store=tmp_path / "store")
    taken = time.process_time() - started
    assert (found.num_workers, found.num_programs, found.num_measured) == (1, 1, 1)
    assert taken / 3 < found.wall_s < taken * 3
    assert process_bytes() / 3 < found.memory_bytes < process_bytes() * 3


def test_what_is_said(tmp_path: Path) -> None:
    last = _lines(STUDIES / "tiny", tmp_path)[-1]
    assert last.startswith("expected: about ")
    assert "on 1 worker (measured: 1 of 1 programs), " in last
    assert " MiB a worker, " in last
    assert last.endswith(" on disk")
    assert not (tmp_path / "store").exists()


def test_measurements_are_not_measured(tmp_path: Path) -> None:
    *_, expected, note = _lines(STUDIES / "troubled", tmp_path, preset="squares")
    assert expected.startswith("expected: time not known, since no step was measured, ")
    assert note == "not measured: 6 trials that are measurements, which train nothing"


def test_nothing_left_takes_no_time(tmp_path: Path) -> None:
    gradlaw.run(STUDIES / "tiny", preset="smoke", store=tmp_path / "store")
    lines = _lines(STUDIES / "tiny", tmp_path, preset="smoke")
    assert lines[1] == "to run: 0 trials in 0 packs, 0 trial-steps"
    assert lines[-1].startswith("disk: ")


@pytest.mark.slow
def test_a_study_with_table_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_module, "BUDGET_S", math.inf)  # however slow the machine, all are measured
    monkeypatch.setattr(estimate, "LIMIT_S", 0.0)  # each part once
    last = _lines("sqrt_b", tmp_path, preset="smoke")[-1]
    assert "(measured: 8 of 8 programs)" in last


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"width": 0, "device": "tpu"}, "2 faults:"),
        ({"launcher": "slurm"}, "unknown launcher 'slurm'"),
        ({"launcher": "ray", "cpus": 60_000}, "resources: a pack asks for 60000 CPUs"),
        ({"launcher": "ray", "memory_gb": 1e6}, "resources: a pack asks for 1 CPU, 1000000.0 GiB; allowed"),
    ],
)
def test_what_a_run_refuses_is_refused(tmp_path: Path, options: Mapping[str, Any], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        _lines(STUDIES / "tiny", tmp_path, **options)


def test_packs_share_the_gpus_that_ray_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 8, "GPU": 1}')
    monkeypatch.setattr(expected_module, "_is_here", lambda device: device == "cpu")
    *_, asked, remark, expected, note = _lines(STUDIES / "tiny", tmp_path, launcher="ray", gpus=0.25)
    assert asked.startswith("resources: a pack asks for 1 CPU, 0.25 GPUs, ")
    assert "--device cpu" in remark
    assert "time not known" in expected
    assert note == "not measured: packs train on cuda, and this machine has none"


class _Stream(Task):
    """l(w) = mean (w x)^2 / 2 over fresh x."""

    name = "stream"

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"w": streams.normal("init", (5,))}, {}

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        return streams.normal("noise", (indices.shape[0], 5))

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        out = batch @ params["w"]
        return LossOutput(0.5 * (out**2).mean(), out, {})


class _Faulty(_Stream):
    name = "faulty"

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        msg = "the disk is full"
        raise OSError(msg)


class _Asking(_Stream):
    name = "asking"

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        scale = params["w"].sum().item()
        return super().loss({"w": params["w"] * scale}, buffers, batch, noise, taps)


class _Large(_Stream):
    """Parameters of 128 MiB in float64."""

    name = "large"

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"w": torch.zeros(1, dtype=torch.float32).expand(2**24)}, {}


def _pack(task: Task, *, num: int = 3, steps: int = 40, batch_size: int = 4, **settings: Any) -> Pack:
    training = Training(
        task=task,
        rule=SGD(),
        schedule=Constant(),
        steps=steps,
        batch_size=batch_size,
        dtype="float64",
        **settings,
    )
    values = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "batch_size": batch_size, "sampling": "iid"}
    trials = [
        Trial(task=task.name, rule="sgd", schedule="constant", hyperparameters=values, seed=seed, steps=steps)
        for seed in range(num)
    ]
    members = tuple(Member(trial=trial, hyperparameters=values) for trial in trials)
    return Pack(pack_id="pack", study="study", program=training, members=members)


def test_a_stream_is_measured() -> None:
    found = expect([_pack(_Stream())])
    assert (found.num_measured, found.notes) == (1, ())
    assert found.wall_s > 0.0


def test_what_a_task_raises_is_told() -> None:
    found = expect([_pack(_Faulty()), _pack(_Stream())])
    assert found.notes == ("not measured: task faulty raised OSError: the disk is full",)
    assert (found.num_programs, found.num_measured) == (2, 1)


def test_what_no_batch_can_do_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"task asking: torch.vmap refuses.*`vmappable = False`"):
        expect([_pack(_Asking())])


def test_impossible_programs_are_refused_all_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        expect([_pack(_Stream(), batch_size=0), _pack(_Asking())])
    assert len(caught.value.faults) == 2


def test_seconds_are_counted_as_the_engine_runs() -> None:
    """Five members of 10, 10, 20, 20, 20 steps, two at a time: chunks of 10, 20 and 20."""
    pack = _pack(_Stream(), num=5, log_every=5)
    members = [
        dataclasses.replace(member, trial=dataclasses.replace(member.trial, steps=steps))
        for member, steps in zip(pack.members, (10, 10, 20, 20, 20), strict=True)
    ]
    cost = estimate.Cost(
        width=2,
        start_s=1000.0,
        member_s=100.0,
        step_s=1.0,
        read_s=0.01,
        tables_s=10.0,
        member_bytes=8,
        made_bytes=100,
        at_most=False,
    )
    assert isinstance(pack.program, Training)
    assert cost.pack_s(pack.program, members) == pytest.approx(1000 + 550 + 11 + 21 + 21 + 0.01 * (3 + 5 + 5))
    assert cost.pack_bytes(pack.program, members) == 2 * 2 * 8 + 100
    assert cost.scaled(2.0).pack_s(pack.program, members) == pytest.approx(1000 + 2 * (550 + 53.13))


def test_packs_go_to_the_worker_that_is_free() -> None:
    assert expected_module._span([3.0, 1.0, 1.0, 1.0, 2.0], 2) == 5.0
    assert expected_module._span([], 2) == 0.0


def test_after_the_budget_the_rest_is_taken_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_module, "BUDGET_S", 0.0)
    one, other = _pack(_Stream(), steps=400), _pack(_Stream(), steps=400, batch_size=2)
    assert (expect([one, other]).num_programs, expect([one, other]).num_measured) == (2, 1)


def test_long_work_is_said_to_take_at_most_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would compile it; where an earlier compilation was noted, its time is taken."""
    pack = _pack(_Stream(), num=4, steps=10**7)
    assert isinstance(pack.program, Training)
    monkeypatch.setattr(estimate.Note, "read", lambda note: None)
    eager = cost_of(pack.program, pack.members)
    assert eager.at_most
    assert not cost_of(pack.program, pack.members, compile="never").at_most
    monkeypatch.setattr(estimate.Note, "read", lambda note: Found(2, 1e-7))
    noted = cost_of(pack.program, pack.members)
    assert (noted.width, noted.step_s, noted.at_most) == (2, pytest.approx(2e-7), False)
    assert noted.pack_s(pack.program, pack.members) == pytest.approx(4.0, rel=0.5)


def test_a_time_limit_ends_what_is_expected() -> None:
    pack = _pack(_Stream(), steps=10**7)
    assert expect([pack], compile="never", time_limit_s=3.0).wall_s < 6.0


def test_peak_bytes_are_those_of_the_profiler() -> None:
    x = torch.zeros(100, 1000)

    def call() -> Tensor:
        return torch.vmap(lambda row: ((row * 2.0).sin() @ row.reshape(1000, 1)).sum())(x) + (x @ x.T).sum()

    with PeakBytes() as counted:
        call()
    with torch.profiler.profile(profile_memory=True) as profiled:
        call()
    events = profiled.profiler.kineto_results.events()  # type: ignore[union-attr]
    now = most = 0
    for event in sorted(
        (item for item in events if item.name() == "[memory]"), key=lambda item: item.start_ns()
    ):
        now += event.nbytes()
        most = max(most, now)
    assert counted.peak == pytest.approx(most, rel=0.1)
    assert most > 400_000


def test_a_width_that_cannot_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, finish: Callable[..., Any]
) -> None:
    """Of members that take 128 MiB three fit into 400 MiB; told before more than one is made."""
    from gradlaw.engine import choice
    from gradlaw.engine.recorder import MemoryRecorder
    from gradlaw.engine.run import run_pack

    monkeypatch.setattr(choice, "available_bytes", lambda device: 400 * 2**20)
    pack = _pack(_Large(), num=8)
    fault = r"width: got 8, whose parameters and states take 1.0 GiB; allowed: at most 3 with 0.4 GiB free"
    for refused in (
        lambda: expect([pack], width=8),
        lambda: finish(run_pack(pack, MemoryRecorder(), width=8), None),
    ):
        with pytest.raises(ConfigurationError, match=fault):
            refused()
