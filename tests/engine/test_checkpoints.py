"""Packs that go on from checkpoints, each against a run that nobody disturbed: bit for bit."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradlaw.ending import Halving, Target
from gradlaw.engine import checkpoint, wave
from gradlaw.engine.checkpoint import Document, identity, refusal
from gradlaw.engine.machine import Machine
from gradlaw.engine.members import Starts
from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.results import Execution
from gradlaw.engine.run import program_of
from gradlaw.pack import Member, Pack, Training
from gradlaw.probe import Columns, MetricProbe, TrialView
from gradlaw.probes import FullLoss, UpdateNorm
from gradlaw.random import Streams
from gradlaw.rule import Rule
from gradlaw.rules import SGD, Adam, HeavyBall
from gradlaw.schedules import CosineDecay
from gradlaw.table import Column
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Pytree, Taps, Task
from gradlaw.trial import Trial

Train = Callable[..., Any]
Rows = dict[str, dict[str, NDArray[Any]]]


class _Killed(Exception):  # noqa: N818 - it is no error
    """A process that ended right after a checkpoint."""


class _Kept(NamedTuple):
    document: str
    arrays: Mapping[str, NDArray[Any]]
    rows: Any


class _Keeper(MemoryRecorder):
    """Keeps checkpoints as the store does, as JSON and arrays of its own, with the rows up to them.

    Args:
        found: What to go on from.
        lives: Checkpoints until the process is killed.
    """

    every_s = 0.0

    def __init__(self, found: _Kept | None = None, lives: float = math.inf) -> None:
        super().__init__()
        self._found, self._lives = found, lives
        self.kept: list[_Kept] = []

    def find(self, refusal: Callable[[Document], str]) -> tuple[Document, Mapping[str, Any]] | None:
        if self._found is None:
            return None
        document = json.loads(self._found.document)
        assert refusal(document) == ""
        self._parts = copy.deepcopy(self._found.rows)
        return document, self._found.arrays

    def keep(self, document: Document, arrays: Mapping[str, NDArray[Any]]) -> None:
        copied = {name: array.copy() for name, array in arrays.items()}
        self.kept.append(_Kept(json.dumps(document), copied, copy.deepcopy(self._parts)))
        if len(self.kept) >= self._lives:
            raise _Killed


@dataclass(frozen=True, kw_only=True)
class _Score(MetricProbe):
    """A column that the trial was given."""

    name = "score"

    def columns(self, task: Task) -> tuple[Column, ...]:
        return (Column(name="score", type="float64"),)

    def read(self, held: Pytree, view: TrialView) -> dict[str, Tensor]:
        return {"score": view.hp["score"].clone()}


class _Turned(Task):
    """Its buffer lies in memory the other way round after a step, and the loss is a product with it."""

    name = "turned"
    num_rows = 40

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        drawn = streams.normal("init", (40, 48))
        return {"w": drawn[:, :40].clone()}, {"b": drawn[:, 8:].clone()}

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        return indices

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        out = params["w"] @ buffers["b"]
        return LossOutput((out**2).mean(), out[:, 0], {"b": (0.97 * buffers["b"] + 0.01).T})


def _arms(*lrs: float, **other: Any) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"lr": lr} | {name: values[place] for name, values in other.items()} for place, lr in enumerate(lrs)
    )


LRS = (0.1, 0.05, 0.2, 0.15, 0.12)
NORM = UpdateNorm()


def _cases(weights: Any, watched: Any, least_squares: Any) -> dict[str, Callable[[], dict[str, Any]]]:
    """Settings of runs by the feature that they show, each time with a task of its own."""
    at = weights(at_steps=(0, 7, 10, 11, 29, 47))
    return {
        "waves": lambda: {"task": least_squares(), "arms": _arms(*LRS), "width": 2, "rule": HeavyBall()},
        "batches": lambda: {
            "task": least_squares(12, 3), "arms": _arms(*LRS), "rule": Adam(), "batch_size": 4,
            "schedule": CosineDecay(), "probes": (FullLoss(), NORM, at), "log_every": 3,
        },
        "epochs": lambda: {
            "task": least_squares(), "arms": _arms(*LRS), "batch_size": 5, "sampling": "epoch",
            "dtype": "float32", "width": 4,
        },
        "lengths": lambda: {
            "task": least_squares(), "log_every": 4, "probes": (NORM, weights()), "width": 4,
            "arms": _arms(*LRS, steps=(47, 9, 10, 30, 30)),
        },
        "target": lambda: {
            "task": least_squares(), "arms": _arms(0.003, 0.02, 0.05, 0.1, 0.2), "log_every": 2,
            "target": Target(metric="loss", value=0.32), "probes": (weights(), NORM),
        },
        "diverged": lambda: {
            "task": least_squares(), "arms": _arms(0.1, 1e150, 3.0, 1.5, 0.1), "width": 3,
            "probes": (at, NORM),
        },
        "halving": lambda: {
            "task": least_squares(),
            "arms": _arms(*LRS, 0.3, 0.02, score=(3.0, 1.0, 2.0, 0.0, 4.0, 5.0, 6.0)),
            "halving": Halving(metric="score", first=6, factor=2), "log_every": 3, "width": 3,
            "probes": (_Score(), weights()),
        },
        "one at a time": lambda: {"task": _alone(least_squares()), "arms": _arms(*LRS[:3]), "steps": 24},
        "narrowed": lambda: {"task": watched(limit=3), "arms": _arms(*LRS, 0.01, 0.02, 0.03)},
        "lack of memory": lambda: {
            "task": least_squares(), "arms": _arms(*LRS), "width": 4, "probes": (_late(weights), NORM),
        },
        "layout": lambda: {"task": _Turned(), "arms": _arms(*LRS[:4]), "steps": 30},
    }  # fmt: skip


NAMES = (
    "waves", "batches", "epochs", "lengths", "target", "diverged", "halving", "one at a time", "narrowed",
    "lack of memory", "layout",
)  # fmt: skip


def _alone(task: Any) -> Any:
    task.vmappable = False
    return task


def _late(weights: Any) -> Any:
    """Memory does not suffice once, at step 33, after rows were recorded."""

    class Late(weights):  # type: ignore[misc]  # a fixture's class
        def rows(self, snapshot: Any) -> Mapping[str, Columns]:
            if snapshot.step == 33 and not failed:
                failed.append(snapshot.step)
                msg = "tried to allocate"
                raise torch.OutOfMemoryError(msg)
            return super().rows(snapshot)

    failed: list[int] = []
    return Late(at_steps=(2, 33, 47))


def _run(train: Train, settings: dict[str, Any], keeper: _Keeper | None = None) -> Any:
    how = {"steps": 47, "compile": "never", **settings}
    task, rule, arms = how.pop("task"), how.pop("rule", SGD()), how.pop("arms")
    return train(task, rule, arms, **how, **({"recorder": keeper, "checkpoints": keeper} if keeper else {}))


def _rows(trained: Any) -> Rows:
    """Every row by trial and table, in the order of steps."""
    found = {}
    for place, result in enumerate(trained.results):
        for table in ("metrics", "weights"):
            found[f"{result.trial_id} {table}"] = trained.rows(place, table)
    return found


def _assert_same(trained: Any, undisturbed: Any) -> None:
    ours, theirs = ([replace(one, wall_s=0.0) for one in run.results] for run in (trained, undisturbed))
    assert ours == theirs
    rows, expected = _rows(trained), _rows(undisturbed)
    for key, columns in expected.items():
        assert rows[key].keys() == columns.keys()
        for name, values in columns.items():
            assert np.array_equal(rows[key][name], values, equal_nan=values.dtype.kind == "f"), (key, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_killed_after_every_checkpoint_ends_as_one_that_was_not(
    name: str, train: Train, least_squares: Any, watched: Any, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wave, "LOOK_STEPS", 5)
    case = _cases(weights, watched, least_squares)[name]
    undisturbed = _run(train, case())
    settings, found, kills = case(), None, 0
    while kills < 100:
        keeper = _Keeper(found, lives=1)
        try:
            trained = _run(train, settings, keeper)
            break
        except _Killed:
            found, kills = keeper.kept[0], kills + 1
    assert 5 <= kills < 100
    _assert_same(trained, undisturbed)
    assert all(result.wall_s > 0.0 for result in trained.results)


def test_checkpoints_disturb_nothing_and_each_serves(
    train: Train, least_squares: Any, watched: Any, weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that keeps them is the one that does not; a process may go on from any of them, twice."""
    monkeypatch.setattr(wave, "LOOK_STEPS", 5)
    case = _cases(weights, watched, least_squares)["halving"]
    undisturbed, keeper = _run(train, case()), _Keeper()
    _assert_same(_run(train, case(), keeper), undisturbed)
    assert {result.state for result in undisturbed.results} == {"done", "stopped"}
    for kept in (keeper.kept[1], keeper.kept[1], keeper.kept[-1]):
        again = _Keeper(kept)
        _assert_same(_run(train, case(), again), undisturbed)
        assert len(again.kept) == len(keeper.kept) - 1 - [one is kept for one in keeper.kept].index(True)


def test_waves_of_one_segment_are_kept_between_them(train: Train, least_squares: Any) -> None:
    """No step is taken again: what ended stays ended."""
    arms, keeper = _arms(*LRS), _Keeper()
    undisturbed = train(least_squares(), SGD(), arms, width=2, recorder=keeper, checkpoints=keeper)
    documents = [json.loads(kept.document) for kept in keeper.kept]
    assert [(document["wave"], len(document["results"])) for document in documents] == [(None, 2), (None, 4)]
    again = _Keeper(keeper.kept[-1])
    trained = train(least_squares(), SGD(), arms, width=2, recorder=again, checkpoints=again)
    _assert_same(trained, undisturbed)
    assert [one.wall_s for one in trained.results[:4]] == [one.wall_s for one in undisturbed.results[:4]]


def test_a_short_pack_keeps_none(train: Train, least_squares: Any) -> None:
    keeper = _Keeper()
    keeper.every_s = 60.0
    train(least_squares(), SGD(), _arms(*LRS), steps=300, recorder=keeper, checkpoints=keeper)
    assert keeper.kept == []


@pytest.mark.slow
def test_a_compiled_pack_goes_on_in_the_same_mode_and_width(
    train: Train, least_squares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled anew, as by another process."""
    monkeypatch.setattr(wave, "LOOK_STEPS", 10)
    how = {"task": least_squares(), "rule": Adam(), "arms": _arms(*LRS[:2]), "width": 2}
    how |= {"compile": "always", "dtype": "float32"}
    undisturbed, keeper = _run(train, how), _Keeper(lives=1)
    assert undisturbed.results[0].execution.mode == "compiled"
    with pytest.raises(_Killed):
        _run(train, how, keeper)
    document = json.loads(keeper.kept[0].document)
    assert (document["wave"]["step"], document["modes"]) == (9, {"2": "compiled"})
    monkeypatch.setattr("gradlaw.engine.machine._COMPILED", {})
    again = {**how, "compile": "auto", "width": None}  # which would neither measure nor compile so few steps
    _assert_same(_run(train, again, _Keeper(keeper.kept[0])), undisturbed)


def test_narrower_widths_are_chosen_as_if_nothing_had_happened(least_squares: Any) -> None:
    """What was compiled before the checkpoint counts as compiled after it."""
    pack = _pack(least_squares)
    assert isinstance(pack.program, Training)
    program = program_of(pack.program, pack.members, "cpu")
    execution = Execution(device="cpu", mode="compiled", width=8, threads=1)
    starts = Starts(program, pack.members, "cpu")
    resumed = Machine(program, execution, starts, modes={8: "compiled", 4: "eager"}, bytes_made=1)
    assert [resumed.narrowed(8, 3, steps=10), resumed.narrowed(4, 2, steps=10)] == [4, 4]
    assert resumed.functions(starts.stack(0, 3, 4)).mode == "eager"
    assert Machine(program, execution, starts, bytes_made=1).narrowed(8, 3, steps=10) == 8


def _pack(least_squares: Any, rule: Rule | None = None, **settings: Any) -> Pack:
    program = {
        "steps": 9,
        "schedule": CosineDecay(),
        "task": least_squares(),
        "rule": rule or SGD(),
        **settings,
    }
    training = Training(**program)
    members = tuple(
        Member(trial=Trial(task="t", hyperparameters={"lr": lr}, seed=0, steps=9), hyperparameters={"lr": lr})
        for lr in (0.1, 0.2, 0.3)
    )
    return Pack(pack_id="p", study="s", program=training, members=members)


def _refused(now: Document, then: Document, mode: str = "eager") -> str:
    return refusal(now, {"identity": json.loads(json.dumps(then)), "executions": [{"mode": mode}]})


def test_what_must_match(least_squares: Any, weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(pack: Pack, *, device: str = "cpu", width: int | None = None, mode: Any = "auto") -> Document:
        return identity(pack, device=device, width=width, compile=mode)

    pack = _pack(least_squares)
    then = told(pack)
    assert _refused(told(pack), then) == ""
    fewer = replace(pack, members=pack.members[:2])
    assert _refused(told(fewer), then) == "trials: got a list of 2, the checkpoint has a list of 3"
    turned = replace(pack, members=pack.members[::-1])
    assert "trials: " in _refused(told(turned), then)
    assert "probes: " in _refused(told(_pack(least_squares, probes=(weights(),))), then)
    assert "settings: " in _refused(told(_pack(least_squares, log_every=2)), then)
    assert "settings: " in _refused(told(_pack(least_squares, loss_bound=9.0)), then)
    assert "source: " in _refused(told(_pack(least_squares, HeavyBall())), then)
    assert "device: got cuda, the checkpoint has cpu" in _refused(told(pack, device="cuda"), then)
    assert _refused(told(pack, width=8), then) == "width: got 8, the checkpoint has None"
    assert _refused(told(pack, mode="never"), then) == "compile: got never, the checkpoint has auto"
    assert _refused(then, told(pack, width=8, mode="never")) == ""
    assert _refused(then, {}) != ""
    for name in ("gradlaw", "torch", "numpy", "engine", "format"):
        assert _refused(then, {**then, name: "other"}).startswith(f"{name}: got {then[name]}, the check")
    torch.set_num_threads(2)
    assert _refused(told(pack), then) == "threads: got 2, the checkpoint has 1"
    monkeypatch.setattr(checkpoint, "missing_compiler", lambda device: "no C++ compiler: none")
    assert _refused(then, then, "compiled") == "it was compiled: no C++ compiler: none"
