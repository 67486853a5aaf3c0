"""Runs packs as Ray Tune trials: one Tune trial is one pack of many trials.

Curves go from the worker straight to the store; the driver gets one small report a flush. Actors are
reused, and Tune's own loggers are off. A pack whose actor dies is reported; the run, which knows what
the store holds, decides whether it is tried again. A worker that hangs past its time limit is ended.
Every pack asks for its own CPUs, share of a GPU and memory, and what waits is what an autoscaler sees.
What must run alone on its machine runs after the rest, each pack with all CPUs of a machine.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gradlaw.launch.auth import require_token
from gradlaw.launch.base import Foreseen, Launcher, OnReport, Order, Report
from gradlaw.launch.committing import commit_timed_out
from gradlaw.launch.room import bounded, confined
from gradlaw.launch.worker import work

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # an interrupt ends the run at once
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its output writes to stdout even when silent
import ray
from ray import cloudpickle, tune
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller

from gradlaw.launch import credentials
from gradlaw.launch.cluster import joined_cluster, private_cluster
from gradlaw.launch.resources import Bundle, Settled, joined_resources, own_node, private_resources
from gradlaw.text import redact

logger = logging.getLogger("gradlaw")

PACK = "pack"
FIT_PACKS, PACKS_A_WORKER = 2000, 20
"""Packs that Tune is given at a time: at least this many, and this many for each worker."""
WAITING, SPARE = "TUNE_MAX_PENDING_TRIALS_PG", 4
"""Tune's limit of packs that wait for a worker: on a cluster that does not grow, so many more than it has."""
OUT_OF_MEMORY = "due to the node running low on memory"
"""What Ray says of an actor that it ended for memory; Tune keeps no more of it than that."""
HANG_FACTOR, HANG_GRACE_S = 2.0, 5.0
"""A worker is ended after this many time limits and seconds: one long step is still waited for."""


class SentOrder(NamedTuple):
    """An order on its way: its bytes lie with Ray, and what it needs is imported only where it is decoded."""

    pack_id: str
    ask: Bundle
    data: ray.ObjectRef[bytes]


class PackTrainable(tune.Trainable):
    """Runs one order after another; each ``step`` goes on until the next report."""

    def setup(
        self,
        config: dict[str, Any],
        orders: Sequence[SentOrder] = (),
        python_path: Sequence[str] = (),
        held: Mapping[str, str] | None = None,
    ) -> None:
        """Takes the run's orders; they are decoded one at a time, when their turn comes."""
        sys.path.extend(item for item in python_path if item not in sys.path)
        credentials.take(held or {})
        self._orders = orders
        self._node = own_node()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next order in the same process, which has torch loaded already."""
        self._order = self._orders[new_config[PACK]]
        self._alarm: threading.Timer | None = None
        self._reports = self._work()
        return True

    def _work(self) -> Iterator[Report]:
        order: Order = cloudpickle.loads(ray.get(self._order.data))
        order = bounded(order, self._node.cpus, self._node.memory_bytes)
        self._alarm = _set_alarm(order)
        with confined(order):
            yield from work(order)

    def step(self) -> dict[str, Any]:
        """Works until the next report and hands it on."""
        try:
            report = next(self._reports)
        except Exception as error:  # noqa: BLE001 - the driver decides what follows
            cause = redact(f"{type(error).__name__}: {error}")
            report = Report(pack_id=self._order.pack_id, finished=True, error=cause, lost=True)
        if report.finished and self._alarm:
            self._alarm.cancel()
        return {"report": vars(report), "done": report.finished}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what a pack has done is in the store."""

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Nothing to load."""


def _set_alarm(order: Order) -> threading.Timer | None:
    """Ends this process if a step hangs: the engine looks at the clock only between steps."""
    if order.time_limit_s is None:
        return None
    wait_s = HANG_FACTOR * order.time_limit_s + HANG_GRACE_S

    def end() -> None:
        try:
            commit_timed_out(order, f"time limit passed and nothing moved for {wait_s:g} s: ended")
        finally:
            os._exit(1)

    alarm = threading.Timer(wait_s, end)
    alarm.daemon = True
    alarm.start()
    return alarm


class _Stopped(tune.Stopper):
    """Ends Tune once a pack was stopped and what ran beside it has ended: those that wait need not begin.

    Attributes:
        seen: Whether a pack was stopped.
        running: Tune's trials that began before.
    """

    def __init__(self) -> None:
        self.seen = False
        self.running: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: see :class:`_Forward`."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No pack is ended by what it reports."""
        del trial_id, result
        return False

    def stop_all(self) -> bool:
        """Whether nothing that runs is to be waited for."""
        return self.seen and not self.running


class _Forward(tune.Callback):
    """Hands each report, and each lost actor, to the run."""

    def __init__(self, orders: Sequence[SentOrder], on_report: OnReport, stopped: _Stopped) -> None:
        self._orders = orders
        self._on_report = on_report
        self._stopped = stopped

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for a restore, and runs here are never restored by Tune."""
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
        """A pack begins; after one that was stopped it ends as it begins."""
        del iteration, trials, info
        if not self._stopped.seen:
            self._stopped.running.add(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The actor died, or its node."""
        del iteration, trials, info
        self._stopped.running.discard(trial.trial_id)
        pack_id, cause = self._orders[trial.config[PACK]].pack_id, _cause(trial)
        starved = OUT_OF_MEMORY in cause
        self._on_report(Report(pack_id=pack_id, finished=True, error=cause, lost=True, out_of_memory=starved))


def _cause(trial: Any) -> str:
    """What Ray says of an actor's end, in one line."""
    file = Path(trial.error_file or "")
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return " ".join(redact(text.partition("\n")[2]).split())[:300] or "the worker died"


@contextmanager
def _starvation_ends_one() -> Iterator[None]:
    """Lets Tune take an actor that Ray ended for memory as an actor that died.

    It asks for ``RayActorError``, of which ``OutOfMemoryError`` is none, and else ends with all its trials.
    """
    deaths = (RayActorError, OutOfMemoryError)
    modules = [module for module in (actor_manager, tune_controller) if hasattr(module, "RayActorError")]
    for module in modules:
        vars(module)["RayActorError"] = deaths
    try:
        yield
    finally:
        for module in modules:
            vars(module)["RayActorError"] = RayActorError


def _send(order: Order, ask: Bundle, num_workers: int) -> SentOrder:
    """An order for one of so many workers, each of which gets its share of the packs that are alike."""
    own = replace(order, alike=-(-order.alike // num_workers))
    data: bytes = cloudpickle.dumps(own)  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return SentOrder(order.pack.pack_id, ask, ray.put(data))


class RayLauncher(Launcher):
    """Runs packs on a Ray cluster, or on this machine's cores and devices where no address is given.

    Attributes:
        address: Of a running cluster ("auto": the one found on this machine), or None: that of the
            environment's ``RAY_ADDRESS``, else a new one for this run alone. Without saying so Ray would join
            whatever cluster it finds on the machine.
    """

    name = "ray"

    def __init__(self, *, address: str | None = None) -> None:
        self._address = address
        self._seen: dict[Bundle, None] = {}

    @contextmanager
    def session(self) -> Iterator[None]:
        """Joins or starts the cluster, unless this process is in one already, and leaves it at the end."""
        if ray.is_initialized():
            yield
            return
        if warning := require_token():
            logger.warning(warning)
        before = signal.getsignal(signal.SIGTERM)
        with joined_cluster(self._joins) if self._joins else private_cluster():
            _heed(before)
            yield

    @property
    def _joins(self) -> str:
        """The address of the cluster that is there already; "": one is started."""
        address = self._address or os.environ.get("RAY_ADDRESS") or "local"
        return "" if address == "local" else address

    def foresee(self, orders: Sequence[Order]) -> Foreseen:
        """Where orders would run: a cluster that is there is asked, and none is started.

        Raises:
            ConfigurationError: A pack asks for more than a node has, or may come to have.
        """
        is_there = bool(self._joins) or ray.is_initialized()
        with self.session() if is_there else nullcontext():
            cluster = joined_resources() if is_there else private_resources()
        settled = Settled(orders, cluster)
        asks = sorted({settled[at][1] for at in range(len(orders))})
        cluster.refuse_impossible(asks)
        asked = f"resources: a pack asks for {'; or '.join(map(str, asks))}"
        notes = (asked, cluster.remark(orders[0].device), cluster.waits_for(asks))
        return Foreseen(
            device=cluster.device(orders[0].device),
            num_workers=cluster.num_workers(asks[0]),
            notes=tuple(filter(None, notes)),
        )

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        """Runs all orders.

        Raises:
            ConfigurationError: A pack asks for more than a node has, or may come to have.
        """
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is reported here, in a line
        if not orders:
            return
        with self.session():
            cluster = joined_resources().after_losses(self._seen)
            self._seen.update(dict.fromkeys(cluster.nodes))
            settled = Settled(orders, cluster)
            if remark := cluster.remark(orders[0].device):
                on_report(Report(pack_id=orders[0].pack.pack_id, note=remark))
            asks: dict[Bundle, None] = {}
            device = ""
            alone: list[int] = []
            for at in range(len(orders)):
                order, ask = settled[at]
                asks[ask] = None
                device = device or (order.device if order.trains else "")
                if order.pack.exclusive:
                    alone.append(at)
            cluster.refuse_impossible(asks)
            waits = cluster.waits_for(asks)
            if waits or device:
                on_report(Report(pack_id=orders[0].pack.pack_id, note=waits, device=device))
            apart = frozenset(alone)
            together = [at for at in range(len(orders)) if at not in apart]
            for places in (*_slices(together, cluster.num_workers(min(asks))), *_slices(alone, 1)):
                sent = []
                for at in places:
                    order, ask = settled[at]
                    sent.append(_send(order, ask, 1 if order.pack.exclusive else cluster.num_workers(ask)))
                stopped = _Stopped()
                with _at_most_waiting(None if cluster.grows else SPARE + cluster.num_workers(min(asks))):
                    self._fit(sent, on_report, stopped)
                if stopped.seen:
                    return

    def _fit(self, orders: Sequence[SentOrder], on_report: OnReport, stopped: _Stopped) -> None:
        asks = [order.ask.request() for order in orders]
        trainable = tune.with_parameters(
            PackTrainable,
            orders=orders,
            python_path=[str(Path(item).resolve()) for item in sys.path],
            held=credentials.held_here(),
        )
        with tempfile.TemporaryDirectory(prefix="gradlaw-tune-") as folder, _starvation_ends_one():
            tune.Tuner(
                tune.with_resources(
                    trainable, lambda config: tune.PlacementGroupFactory([asks[config[PACK]]])
                ),
                param_space={PACK: tune.grid_search(list(range(len(orders))))},
                tune_config=tune.TuneConfig(reuse_actors=True),
                run_config=tune.RunConfig(
                    storage_path=folder,
                    verbose=0,
                    stop=stopped,
                    callbacks=[_Forward(orders, on_report, stopped)],
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            ).fit()


@contextmanager
def _at_most_waiting(number: int | None) -> Iterator[None]:
    """Lets Tune ask for so many packs at once, unless the environment says how many; None: as it likes.

    Each that waits is tried again and again, on the head: what no node will come for only slows the others.
    """
    if number is None or WAITING in os.environ:
        yield
        return
    os.environ[WAITING] = str(number)
    try:
        yield
    finally:
        del os.environ[WAITING]


def _heed(handler: Any) -> None:
    """Sets a handler of SIGTERM again, if it is one: Ray puts its own in the place of whatever there is."""
    if callable(handler) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _slices(places: Sequence[int], num_workers: int) -> Iterator[Sequence[int]]:
    """Parts of the orders: Tune keeps what it knows of every trial, so that it is given so many at a time.

    Workers start anew with every part, and wait for its last pack, so that it holds many packs a worker.
    """
    size = max(FIT_PACKS, PACKS_A_WORKER * num_workers)
    return (places[start : start + size] for start in range(0, len(places), size))
