"""What tests of trained packs share: a problem with exact answers, a probe of weights, a runner."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.results import Progress, TrialResult
from gradlaw.engine.run import run_pack
from gradlaw.hyperparameter import Scalar
from gradlaw.launch.auth import require_token
from gradlaw.pack import ENGINE_HYPERPARAMETERS, Member, Pack, Training
from gradlaw.probe import Columns, Snapshot, TableProbe
from gradlaw.random import Streams
from gradlaw.rule import Rule
from gradlaw.rules.sgd import SGD
from gradlaw.schedules import Constant, Schedule
from gradlaw.table import Column, Table
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Split, Taps, Task
from gradlaw.trial import Trial

# Machines are shared, so time decides nothing; and a run of the tests says the same twice.
settings.register_profile("gradlaw", deadline=None, derandomize=True)
settings.load_profile("gradlaw")


@pytest.fixture(autouse=True, scope="module")
def _ray_as_it_comes() -> None:
    """Ray reads once whether it asks for a token: what one module made of that, the next does not see."""
    if "ray._raylet" in sys.modules:
        raylet = sys.modules["ray._raylet"]
        raylet.AuthenticationTokenLoader.instance().reset_cache()
        require_token()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class LeastSquares(Task):
    """l(w) = (1/2) mean (X w - y)^2 with X of shape [rows, 3]: gradient X'(X w - y)/N, Hessian X'X/N."""

    name = "least_squares"

    def __init__(self, num_rows: int = 12, num_test: int = 0) -> None:
        drawn = np.random.default_rng(5).normal(size=(num_rows, 4))
        self.num_rows = num_rows
        self.num_test = num_test
        self.X, self.y = torch.from_numpy(drawn[:, :3]), torch.from_numpy(drawn[:, 3])

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        return {"w": streams.normal("init", (3,))}, {}

    def split(self, streams: Streams) -> Split:
        if not self.num_test:
            return super().split(streams)
        rows = streams.permutation("split", len(self.y))
        return Split(rows[self.num_test :], rows[: self.num_test])

    def batch(self, indices: Tensor, streams: Streams) -> Batch:
        return self.X[indices], self.y[indices], indices

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        out = taps.linear("w", batch[0], params["w"][None, :])[:, 0]
        return LossOutput(0.5 * ((out - batch[1]) ** 2).mean(), out, {})

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"worst": (outputs - batch[1]).abs().max()}

    def to(self, device: torch.device, dtype: torch.dtype) -> Task:
        moved = LeastSquares(len(self.y), self.num_test)
        moved.X, moved.y = self.X.to(device, dtype), self.y.to(device, dtype)
        return moved


class Watched(LeastSquares):
    """Notes the width of every batch that asks for its loss; one wider than ``limit`` does not fit.

    It counts members as vmap hides them, and raises as a device out of memory does.
    """

    def __init__(self, limit: int = 10**6) -> None:
        super().__init__()
        self.limit = limit
        self.widths: list[int] = []

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        hidden = params["w"]
        while torch._C._functorch.is_gradtrackingtensor(hidden):
            hidden = torch._C._functorch.get_unwrapped(hidden)
        width = torch._C._functorch.get_unwrapped(hidden).shape[0]
        if width > self.limit:
            msg = f"tried to allocate {width} members"
            raise torch.OutOfMemoryError(msg)
        self.widths.append(width)
        return super().loss(params, buffers, batch, noise, taps)

    def to(self, device: torch.device, dtype: torch.dtype) -> Task:
        return self


@dataclass(frozen=True, kw_only=True)
class Weights(TableProbe):
    """Every parameter at every step of ``at_steps``, or at the end."""

    name = "weights"
    at_steps: tuple[int, ...] = ()
    table: str = "weights"

    def tables(self) -> tuple[Table, ...]:
        columns = (
            Column(name="step", type="int64"),
            Column(name="position", type="int64"),
            Column(name="value", type="float64"),
        )
        return (Table(name=self.table, grain="One number of one trial at one step.", columns=columns),)

    def at(self, steps: int) -> Sequence[int]:
        return self.at_steps or (steps,)

    def rows(self, snapshot: Snapshot) -> Mapping[str, Columns]:
        parts = [*snapshot.params.values(), *snapshot.buffers.values()]
        flat = torch.cat([part.reshape(-1).double() for part in parts]).numpy()
        position = np.arange(len(flat))
        return {
            self.table: {"step": np.full_like(position, snapshot.step), "position": position, "value": flat}
        }


@dataclass
class Trained:
    """What a run left, by the number of its member."""

    results: tuple[TrialResult, ...]
    recorder: MemoryRecorder
    progress: list[Progress]

    def metrics(self, member: int, column: str = "loss") -> np.ndarray:
        return self.rows(member, "metrics")[column]

    def weights(self, member: int) -> np.ndarray:
        return self.rows(member, "weights")["value"]

    def rows(self, member: int, table: str) -> dict[str, np.ndarray]:
        found = self.recorder.rows(table, self.results[member].trial_id)
        return found or {"step": np.empty(0), "loss": np.empty(0), "value": np.empty(0)}


def _resolved(training: Training, values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    parts = (training.task, training.rule, training.schedule)
    declared = [item for part in parts for item in part.hyperparameters]
    return {item.name: item.default for item in (*ENGINE_HYPERPARAMETERS, *declared)} | dict(values)


def _member(training: Training, arm: Mapping[str, Scalar], seed: int) -> Member:
    values = {name: value for name, value in arm.items() if name != "steps"}
    trial = Trial(
        task=training.task.name,
        rule=training.rule.name,
        schedule=training.schedule.name,
        hyperparameters=values,
        seed=seed,
        steps=int(arm.get("steps", training.steps)),
        dtype=training.dtype,
        data_digest="",
    )
    return Member(trial=trial, hyperparameters=_resolved(training, values))


def _finish(run: Generator[Progress, None, tuple[TrialResult, ...]], recorder: MemoryRecorder) -> Trained:
    progress: list[Progress] = []
    while True:
        try:
            progress.append(next(run))
        except StopIteration as end:
            return Trained(end.value, recorder, progress)


def _train(
    task: Task,
    rule: Rule | None = None,
    arms: Sequence[Mapping[str, Scalar]] = ({},),
    *,
    seeds: Sequence[int] = (0,),
    schedule: Schedule | None = None,
    **settings: Any,
) -> Trained:
    """Trains every arm at every seed as one pack, in float64 unless told otherwise.

    An arm's "steps" are its own length; a recorder may be given.
    """
    own = {field.name for field in fields(Training)}
    chosen = {"steps": 20, "dtype": "float64", "probes": (Weights(),)}
    chosen |= {name: value for name, value in settings.items() if name in own}
    chosen["steps"] = max(int(arm.get("steps", chosen["steps"])) for arm in arms)
    training = Training(task=task, rule=rule or SGD(), schedule=schedule or Constant(), **chosen)
    members = tuple(_member(training, values, seed) for seed in seeds for values in arms)
    pack = Pack(pack_id="pack", study="study", program=training, members=members)
    run_settings = {name: value for name, value in settings.items() if name not in own}
    recorder = run_settings.pop("recorder", None) or MemoryRecorder()
    return _finish(run_pack(pack, recorder, **run_settings), recorder)


@pytest.fixture
def train() -> Callable[..., Trained]:
    """See :func:`_train`."""
    return _train


@pytest.fixture
def finish() -> Callable[..., Trained]:
    """Runs a pack's generator to its end."""
    return _finish


@pytest.fixture
def least_squares() -> type[LeastSquares]:
    """A problem whose loss, gradient and Hessian are known."""
    return LeastSquares


@pytest.fixture
def weights() -> type[Weights]:
    """The probe that records parameters and buffers."""
    return Weights


@pytest.fixture
def watched() -> type[Watched]:
    """The same problem, which notes how wide it is run."""
    return Watched
