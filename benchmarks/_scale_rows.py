"""Workers that train nothing: rows of made-up curves, written and committed as a worker writes and commits.

A curve is exp(-step / 30) above a floor of sqrt(lr) / 2 that differs from seed to seed by 2%, with 10% of
noise in every value: float32 of full precision, which no compressor folds. The gradient's norm ends at 0.8 in
nine seeds of ten, else at 1.2. So the claims of ``scale_study`` hold.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scale_study.study import LOG_EVERY, ROWS_A_TRIAL, STEPS

from gradlaw import provenance
from gradlaw.engine.results import Execution, TrialResult
from gradlaw.launch.base import Order, Report
from gradlaw.launch.committing import open_writer, trial_rows
from gradlaw.pack import Pack
from gradlaw.store.attempts import committed_since
from gradlaw.store.leases import Leases
from gradlaw.store.store import Store
from gradlaw.store.writer import PackWriter
from gradlaw.table import Coded, Column, Table
from gradlaw.trial import State

LOSSES = ("loss", "train_loss", "test_loss")
METRICS = (*LOSSES, "gradient_norm")
TABLE = Table(
    name="metrics",
    grain="One logged step of one trial.",
    columns=(
        Column(name="step", type="int64", unit="steps"),
        *(Column(name=name, type="float32") for name in METRICS),
    ),
)
NUM_FLUSHES = 1
"""Live parts a pack."""


@cache
def _seed_effect(seed: int) -> tuple[float, float]:
    """A seed's factor of the floor, and where its gradient norm ends."""
    rng = np.random.default_rng([1, seed])
    return float(np.exp(0.02 * rng.standard_normal())), 1.2 if seed % 10 == 9 else 0.8


def rows(pack: Pack) -> Iterator[Mapping[str, NDArray[np.float32] | NDArray[np.int64] | Coded]]:
    """The rows of a pack, in ``NUM_FLUSHES`` pieces, step by step as the engine has them."""
    trials = [member.trial for member in pack.members]
    ids, width = [trial.trial_id for trial in trials], len(trials)
    effects = [_seed_effect(trial.seed) for trial in trials]
    lrs = np.array([float(member.hyperparameters["lr"]) for member in pack.members])
    floor = 0.5 * np.sqrt(lrs) * np.array([effect[0] for effect in effects])
    rng = np.random.default_rng(int(pack.pack_id[:15], 16))
    for steps in np.array_split(np.arange(ROWS_A_TRIAL) * LOG_EVERY, NUM_FLUSHES):
        shape = (len(steps), width)
        above = np.exp(-steps / 30.0)[:, None]
        columns: dict[str, NDArray[np.float32] | NDArray[np.int64] | Coded] = {
            "trial_id": Coded(np.tile(np.arange(width, dtype=np.int32), len(steps)), ids),
            "step": np.repeat(steps.astype(np.int64), width),
        }
        means = dict.fromkeys(LOSSES, floor + above)
        means["gradient_norm"] = np.array([effect[1] for effect in effects]) + above
        for name, mean in means.items():
            noise = rng.standard_normal(shape, dtype=np.float32)
            columns[name] = (mean * (1 + 0.1 * noise)).astype(np.float32).ravel()
        yield columns


@dataclass
class Times:
    """Seconds that each pack of one worker took, by phase."""

    open_s: list[float] = field(default_factory=list)
    write_s: list[float] = field(default_factory=list)
    commit_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Opened:
    order: Order
    writer: PackWriter
    stack: ExitStack


class PackingWorker:
    """Keeps up to ``window`` packs open at once, each with its lease and live parts, and commits the oldest.

    Attributes:
        times: What its packs took.
    """

    def __init__(self, window: int) -> None:
        self.times = Times()
        self._window, self._open = window, deque[_Opened]()
        self._store: Store | None = None

    def take(self, order: Order) -> Iterator[Report]:
        """Opens one pack; reports those that are committed to make room."""
        while len(self._open) >= self._window:
            yield self._commit()
        yield self._begin(order)

    def finish(self) -> Iterator[Report]:
        """Commits what is open."""
        while self._open:
            yield self._commit()

    def _begin(self, order: Order) -> Report:
        begun = time.perf_counter()
        if self._store is None:
            self._store = Store.open(order.store)
        stack, files = ExitStack(), self._store.files
        hold = Leases(files, order.tenant.driver).acquire(order.pack.pack_id, order.tenant)
        assert hold is not None, "nobody else is at this store"
        stack.enter_context(hold)
        assert not committed_since(files, order.pack.study, order.pack.pack_id, order.seen)
        writer = stack.enter_context(open_writer(self._store, order.pack))
        self.times.open_s.append(time.perf_counter() - begun)
        written = 0.0
        for columns in rows(order.pack):
            begun = time.perf_counter()
            writer.append(TABLE, columns)
            writer.flush()
            written += time.perf_counter() - begun
        self.times.write_s.append(written)
        self._open.append(_Opened(order, writer, stack))
        num_trials = len(order.pack.members)
        return Report(pack_id=order.pack.pack_id, steps_done=num_trials * STEPS // 2)

    def _commit(self) -> Report:
        opened = self._open.popleft()
        pack = opened.order.pack
        begun = time.perf_counter()
        with opened.stack:
            made = trial_rows(pack, _results(pack), attempts={}, started_at=provenance.utc_now())
            opened.writer.commit(made)
        self.times.commit_s.append(time.perf_counter() - begun)
        return done_report(pack)


def done_report(pack: Pack) -> Report:
    """A pack is committed."""
    num_trials = len(pack.members)
    return Report(
        pack_id=pack.pack_id,
        trials_done=num_trials,
        steps_done=num_trials * STEPS,
        states={str(State.DONE): num_trials},
        finished=True,
    )


def _results(pack: Pack) -> list[TrialResult]:
    width = len(pack.members)
    execution = Execution(device="cpu", mode="eager", width=width, threads=1, dtype="float32")
    return [
        TrialResult(
            trial_id=member.trial.trial_id,
            state=State.DONE,
            reason="",
            steps_done=STEPS,
            wall_s=0.0,
            execution=execution,
        )
        for member in pack.members
    ]
