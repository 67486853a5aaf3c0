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
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from gradlaw.launch.auth import require_token
from gradlaw.launch.base import Foreseen, Launcher, OnReport, Order, Report

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # an interrupt ends the run at once
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its output writes to stdout even when silent
import ray
from ray import cloudpickle, tune

from gradlaw.launch import credentials
from gradlaw.launch.cluster import joined_cluster, private_cluster
from gradlaw.launch.patience import Patience
from gradlaw.launch.resources import (
    Bundle,
    Cluster,
    Programs,
    Settled,
    joined_resources,
    private_resources,
)
from gradlaw.launch.scratch import scratch
from gradlaw.launch.trainable import PackTrainable
from gradlaw.launch.tuning import ASK, Feed, Forward, Idle, Parcel, Stage, Stopped, amended

logger = logging.getLogger("gradlaw")

FIT_PACKS, PACKS_A_WORKER = 2000, 20
"""Packs that Tune is given at a time: at least this many, and this many for each worker."""
WAITING, SPARE, MANY = "TUNE_MAX_PENDING_TRIALS_PG", 4, 200
"""Tune's limit of packs that wait for a worker: so many more than the cluster has; where it grows, many."""


def _parcel(order: Order, ask: Bundle, num_workers: int) -> Parcel:
    """An order for one of so many workers, each of which gets its share of the packs that are alike."""
    own = replace(order, alike=-(-order.alike // num_workers))
    data: bytes = cloudpickle.dumps(own)  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return Parcel(order.pack.pack_id, ask.request(), data)


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
        self._programs = Programs()

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
        settled = Settled(orders, cluster, self._programs)
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
        self.run_rounds(iter([orders]), on_report)

    def run_rounds(self, rounds: Iterator[Sequence[Order]], on_report: OnReport) -> None:
        """Runs all orders of each round; workers that one has started serve the next.

        Raises:
            ConfigurationError: A pack asks for more than a node has, or may come to have.
        """
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is reported here, in a line
        first = next(filter(None, rounds), None)
        if first is None:
            return
        with self.session():
            stopped = Stopped()
            feed = Feed(self._stages(chain([first], rounds), on_report, stopped))
            while feed.begin():
                self._fit(feed, on_report, stopped)
                if feed.error:
                    raise feed.error
                if stopped.seen:
                    feed.drop()

    def _stages(
        self, rounds: Iterable[Sequence[Order]], on_report: OnReport, stopped: Stopped
    ) -> Iterator[Stage]:
        """What may run together; after a pack that was stopped nothing more."""
        for orders in rounds:
            for stage in self._settled(orders, on_report) if orders else (Stage(iter(())),):
                if not stopped.seen:
                    yield stage

    def _settled(self, orders: Sequence[Order], on_report: OnReport) -> Iterator[Stage]:
        """The packs of one round: those that may share a machine, and then those that run alone on it."""
        cluster = joined_resources().after_losses(self._seen)
        self._seen.update(dict.fromkeys(cluster.nodes))
        settled = Settled(orders, cluster, self._programs)
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
        if len(alone) < len(orders):
            apart = frozenset(alone)
            together = (at for at in range(len(orders)) if at not in apart)
            yield Stage(_parcels(settled, together, cluster), cluster.num_workers(min(asks)), cluster.grows)
        if alone:
            yield Stage(_parcels(settled, alone, cluster), 1, cluster.grows)

    def _fit(self, feed: Feed, on_report: OnReport, stopped: Stopped) -> None:
        """One experiment of Tune, which ends with the rounds, or once it has had as many packs as it may."""
        workers = feed.stage.num_workers
        feed.limit(max(FIT_PACKS, PACKS_A_WORKER * workers))
        trainable = tune.with_parameters(
            PackTrainable,
            python_path=[str(Path(item).resolve()) for item in sys.path],
            held=credentials.held_here(),
        )
        waiting = _at_most_waiting(SPARE + workers if not feed.stage.grows else max(MANY, SPARE + workers))
        idle = Idle()
        with scratch("gradlaw-tune-") as folder, amended(idle), waiting:
            tune.Tuner(
                tune.with_resources(trainable, lambda config: tune.PlacementGroupFactory([config[ASK]])),
                tune_config=tune.TuneConfig(search_alg=feed, num_samples=-1, reuse_actors=True),
                run_config=tune.RunConfig(
                    storage_path=folder,
                    verbose=0,
                    stop=stopped,
                    callbacks=[Forward(feed, on_report, stopped, idle), Patience(on_report)],
                    failure_config=tune.FailureConfig(max_failures=0),
                ),
            ).fit()


def _parcels(settled: Settled, places: Iterable[int], cluster: Cluster) -> Iterator[Parcel]:
    for at in places:
        order, ask = settled[at]
        yield _parcel(order, ask, 1 if order.pack.exclusive else cluster.num_workers(ask))


@contextmanager
def _at_most_waiting(number: int) -> Iterator[None]:
    """Lets Tune ask for so many packs at once, unless the environment says how many.

    Each that waits is tried again and again, on the head: what no node will come for only slows the others.
    """
    if WAITING in os.environ:
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
