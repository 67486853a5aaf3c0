"""Runs packs as Ray Tune trials: one Tune trial is one pack of many trials.

Curves go from the worker straight to the store; the driver gets one small report a flush. Actors are
reused, and Tune's own loggers are off. A pack whose actor dies is reported; the run, which knows what
the store holds, decides whether it is tried again. A worker that hangs past its time limit is ended.
What must run alone on its machine runs after the rest, each pack with all CPUs of a machine.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gradlaw.launch.auth import require_token
from gradlaw.launch.base import Launcher, OnReport, Order, Report
from gradlaw.launch.worker import commit_timed_out, work

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # an interrupt ends the run at once
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its output writes to stdout even when silent

import ray
from ray import cloudpickle, tune

from gradlaw.launch.cluster import joined_cluster, private_cluster

logger = logging.getLogger("gradlaw")

PACK = "pack"
HANG_FACTOR, HANG_GRACE_S = 2.0, 5.0
"""A worker is ended after this many time limits and seconds: one long step is still waited for."""


class SentOrder(NamedTuple):
    """An order on its way: its bytes lie with Ray, and what it needs is imported only where it is decoded."""

    pack_id: str
    data: ray.ObjectRef[bytes]


class PackTrainable(tune.Trainable):
    """Runs one order after another; each ``step`` goes on until the next report."""

    def setup(
        self, config: dict[str, Any], orders: Sequence[SentOrder] = (), python_path: Sequence[str] = ()
    ) -> None:
        """Takes the run's orders; they are decoded one at a time, when their turn comes."""
        sys.path.extend(item for item in python_path if item not in sys.path)
        self._orders = orders
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next order in the same process, which has torch loaded already."""
        self._order = self._orders[new_config[PACK]]
        self._alarm: threading.Timer | None = None
        self._reports = self._work()
        return True

    def _work(self) -> Iterator[Report]:
        order: Order = cloudpickle.loads(ray.get(self._order.data))
        self._alarm = _set_alarm(order)
        yield from work(order)

    def step(self) -> dict[str, Any]:
        """Works until the next report and hands it on."""
        try:
            report = next(self._reports)
        except Exception as error:  # noqa: BLE001 - the driver decides what follows
            cause = f"{type(error).__name__}: {error}"
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


class _Forward(tune.Callback):
    """Hands each report, and each lost actor, to the run."""

    def __init__(self, orders: Sequence[SentOrder], on_report: OnReport) -> None:
        self._orders = orders
        self._on_report = on_report

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for a restore, and runs here are never restored by Tune."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any
    ) -> None:
        """A worker's report."""
        del iteration, trials, trial, info
        self._on_report(Report(**result["report"]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The actor died, or its node."""
        del iteration, trials, info
        pack_id = self._orders[trial.config[PACK]].pack_id
        self._on_report(Report(pack_id=pack_id, finished=True, error=_cause(trial), lost=True))


def _cause(trial: Any) -> str:
    """What Ray says of an actor's end, in one line."""
    file = Path(trial.error_file or "")
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return " ".join(text.partition("\n")[2].split())[:300] or "the worker died"


def _send(order: Order, num_workers: int) -> SentOrder:
    """An order for one of so many workers, each of which gets its share of the packs that are alike."""
    own = replace(order, alike=-(-order.alike // num_workers))
    data: bytes = cloudpickle.dumps(own)  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return SentOrder(order.pack.pack_id, ray.put(data))


class RayLauncher(Launcher):
    """Runs packs on a Ray cluster, or on this machine's cores and devices where no address is given.

    Attributes:
        address: Of a running cluster ("auto": the one found on this machine), or None: that of the
            environment's ``RAY_ADDRESS``, else a new one for this run alone. Without saying so Ray would join
            whatever cluster it finds on the machine.
        cpus: CPUs each pack asks for; torch uses as many threads.
        gpus: Share of a GPU each pack asks for.
    """

    name = "ray"

    def __init__(self, *, address: str | None = None, cpus: int = 1, gpus: float = 0.0) -> None:
        self._address = address
        self._resources: dict[str, float] = {"cpu": cpus, "gpu": gpus}

    @contextmanager
    def session(self) -> Iterator[None]:
        """Joins or starts the cluster, unless this process is in one already, and leaves it at the end."""
        if ray.is_initialized():
            yield
            return
        if warning := require_token():
            logger.warning(warning)
        address = self._address or os.environ.get("RAY_ADDRESS") or "local"
        with private_cluster() if address == "local" else joined_cluster(address):
            yield

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what fails is reported here, in a line
        with self.session(), tempfile.TemporaryDirectory(prefix="gradlaw-tune-") as folder:
            num_workers = self._num_workers()
            alone = [order for order in orders if order.pack.exclusive]
            sent = [_send(order, num_workers) for order in orders if not order.pack.exclusive]
            if sent:
                self._fit(sent, self._resources, on_report, folder)
            if alone:
                self._fit([_send(order, 1) for order in alone], self._whole_machine(), on_report, folder)

    def _whole_machine(self) -> dict[str, float]:
        """What a pack asks for that must have its machine to itself: all CPUs of the largest."""
        nodes = ray.nodes()  # type: ignore[no-untyped-call]  # ray leaves it untyped
        sizes = [node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]]
        return {**self._resources, "cpu": max(sizes)}

    def _num_workers(self) -> int:
        """Packs that the cluster, as it is now, runs at once."""
        held = ray.cluster_resources()  # type: ignore[no-untyped-call]  # ray leaves it untyped
        shares = [held.get(name.upper(), 0.0) / each for name, each in self._resources.items() if each]
        return max(1, int(min(shares)))

    def _fit(
        self, orders: Sequence[SentOrder], resources: Mapping[str, float], on_report: OnReport, folder: str
    ) -> None:
        trainable = tune.with_parameters(
            PackTrainable,
            orders=orders,
            python_path=[str(Path(item).resolve()) for item in sys.path],
        )
        tune.Tuner(
            tune.with_resources(trainable, dict(resources)),
            param_space={PACK: tune.grid_search(list(range(len(orders))))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                callbacks=[_Forward(orders, on_report)],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        ).fit()
