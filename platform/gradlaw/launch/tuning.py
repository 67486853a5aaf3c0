"""What Ray Tune is given of a run, and what it tells: packs as its searcher suggests them, and reports.

One experiment of Tune goes over many rounds, so that workers outlive them: its searcher suggests the packs of
a round, and when all of them have ended it asks the run for the next.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ray import tune
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller
from ray.tune.search import Searcher
from ray.tune.utils.object_cache import _ObjectCache

from gradlaw.launch.base import OnReport, Report
from gradlaw.launch.trainable import PACK
from gradlaw.text import redact

ASK = "ask"
"""Where a Tune trial's configuration has what the pack asks for."""
OUT_OF_MEMORY = "due to the node running low on memory"
"""What Ray says of an actor that it ended for memory; Tune keeps no more of it than that."""
IDLE_S = 30.0
"""Seconds that workers with nothing to do are kept: a few times what it takes to start them anew."""


class Parcel(NamedTuple):
    """An order on its way: what it asks for as Ray takes it, and its bytes."""

    pack_id: str
    ask: dict[str, float]
    data: bytes


class Stage(NamedTuple):
    """Parcels that may run together, of which each is made when its turn comes.

    Attributes:
        parcels: What to run; nothing, if workers are to be let go meanwhile.
        num_workers: How many of them run at once.
        grows: Whether the cluster may grow.
    """

    parcels: Iterator[Parcel]
    num_workers: int = 1
    grows: bool = False


class Feed(Searcher):
    """Suggests parcels to Tune, stage by stage: a stage begins once all before it has ended.

    Args:
        stages: Is asked for the next in Tune's own loop, when nothing runs.

    Attributes:
        stage: The one that is under way.
        error: What the stages raised in Tune's loop, to be raised outside of it.
    """

    def __init__(self, stages: Iterator[Stage]) -> None:
        super().__init__()
        self._stages, self.stage = stages, Stage(iter(()))
        self._next: Parcel | None = None
        self._given: dict[str, bytes] = {}
        self._left = 0
        self.error: Exception | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves what it is given for a restore, and runs here are never restored by Tune."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see :meth:`__getstate__`."""

    def begin(self) -> bool:
        """Waits for the next parcel, outside of Tune; whether there is one."""
        self._given.clear()  # of an experiment that was stopped
        while not self._fetch():
            stage = next(self._stages, None)
            if stage is None:
                return False
            self.stage = stage
        return True

    def drop(self) -> None:
        """Gives nothing more of this stage."""
        self.stage, self._next = Stage(iter(())), None

    def limit(self, number: int) -> None:
        """Ends the experiment after so many parcels: Tune keeps what it knows of every trial."""
        self._left = number

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next Tune trial, None for not yet, or that there is none to come."""
        try:
            ready = self._left > 0 and self._advance()
        except Exception as error:  # noqa: BLE001 - Tune would wrap it
            self.error = error
            return Searcher.FINISHED
        if not ready:
            return None if self._left > 0 and self._given else Searcher.FINISHED
        assert self._next is not None
        parcel, self._next = self._next, None
        self._given[trial_id] = parcel.data
        self._left -= 1
        return {PACK: parcel.pack_id, ASK: parcel.ask}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """The trial has ended, however."""
        del result, error
        self._given.pop(trial_id, None)

    def data(self, trial_id: str) -> bytes:
        """The order of a trial that begins; it is not kept longer."""
        data, self._given[trial_id] = self._given[trial_id], b""
        return data

    def _advance(self) -> bool:
        """Whether there is a parcel to give now: of this stage, or, if nothing runs, of the next."""
        if self._fetch():
            return True
        if self._given:
            return False
        stage = next(self._stages, None)
        self.stage = stage or Stage(iter(()))
        return self._fetch()

    def _fetch(self) -> bool:
        self._next = self._next or next(self.stage.parcels, None)
        return self._next is not None


class Stopped(tune.Stopper):
    """Ends Tune once a pack was stopped and what ran beside it has ended: those that wait need not begin.

    Attributes:
        seen: Whether a pack was stopped.
        running: Tune's trials that began before.
    """

    def __init__(self) -> None:
        self.seen = False
        self.running: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: see :class:`Feed`."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No pack is ended by what it reports."""
        del trial_id, result
        return False

    def stop_all(self) -> bool:
        """Whether nothing that runs is to be waited for."""
        return self.seen and not self.running


class Idle(_ObjectCache):
    """Workers with nothing to do, all of which are kept for a while, as long as nothing else needs room.

    Tune's own keeps one of them: between two rounds the others would end.
    """

    def __init__(self, may_keep_one: bool = True) -> None:
        super().__init__(may_keep_one)
        self._since = 0.0
        self._may_be_dead = False

    def suspect(self) -> None:
        """Lets all of them go: a worker has died, and what ended it may have ended others.

        Tune would give a pack to each before it knows, and every one that a pack is lost with counts.
        """
        self._may_be_dead = True

    def cache_object(self, key: Any, obj: Any) -> bool:
        """Takes a worker, unless others are waited for."""
        if not super().cache_object(key, obj):
            if self._is_needed():
                return False
            self._cached_objects[key].append(obj)
            self._num_cached_objects += 1
        self._since = time.monotonic()
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Generator[Any, None, None]:
        """Workers that are to end."""
        force_all, self._may_be_dead = force_all or self._may_be_dead, False
        if force_all or self._is_needed() or time.monotonic() - self._since > IDLE_S:
            yield from super().flush_cached_objects(force_all=force_all)

    def _is_needed(self) -> bool:
        """Whether any pack waits for resources."""
        return any(self._max_num_objects.values())


class Forward(tune.Callback):
    """Sends each order to its worker, and hands each report, and each lost worker, to the run."""

    def __init__(self, feed: Feed, on_report: OnReport, stopped: Stopped, idle: Idle) -> None:
        self._feed, self._on_report, self._stopped, self._idle = feed, on_report, stopped, idle

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: see :class:`Feed`."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        """A worker's report."""
        del iteration, trials, info
        report = Report(**result["report"])
        self._stopped.seen |= report.stopped
        if report.finished:
            self._stopped.running.discard(trial.trial_id)
        self._on_report(report)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack begins, on a worker that waits for its order; after one that was stopped it ends at once."""
        del iteration, trials, info
        trial.temporary_state.ray_actor.take.remote(self._feed.data(trial.trial_id))
        if not self._stopped.seen:
            self._stopped.running.add(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker died, or its node."""
        del iteration, trials, info
        self._idle.suspect()
        self._stopped.running.discard(trial.trial_id)
        cause = _cause(trial)
        starved = OUT_OF_MEMORY in cause
        dead = Report(
            pack_id=trial.config[PACK], finished=True, error=cause, lost=True, out_of_memory=starved
        )
        self._on_report(dead)


def _cause(trial: Any) -> str:
    """What Ray says of an actor's end, in one line."""
    file = Path(trial.error_file or "")
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return " ".join(redact(text.partition("\n")[2]).split())[:300] or "the worker died"


@contextmanager
def amended(idle: Idle) -> Iterator[None]:
    """Lets Tune keep workers, and take an actor that Ray ended for memory as one that died.

    It asks for ``RayActorError``, of which ``OutOfMemoryError`` is none, and else ends with all its trials.
    """
    changes: dict[str, Any] = {
        "RayActorError": (RayActorError, OutOfMemoryError),
        "_ObjectCache": lambda **_: idle,
    }
    before = [
        (vars(module), name, vars(module)[name])
        for module in (actor_manager, tune_controller)
        for name in changes
        if hasattr(module, name)
    ]
    for names, name, _ in before:
        names[name] = changes[name]
    try:
        yield
    finally:
        for names, name, own in before:
            names[name] = own
