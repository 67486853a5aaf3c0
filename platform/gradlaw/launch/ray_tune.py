"""Runs packs as Ray Tune trials: one Tune trial is one pack of many trials.

Curves go from the worker straight to the store; the driver gets one small report a flush. Actors are
reused, and Tune's own loggers are off. A pack whose actor dies is reported; the run, which knows what
the store holds, decides whether it is tried again.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from gradlaw.launch.base import Launcher, OnReport, Order, Report
from gradlaw.launch.worker import work

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # an interrupt ends the run at once
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its output writes to stdout even when silent

import ray
from ray import cloudpickle, tune

PACK = "pack"


class PackTrainable(tune.Trainable):
    """Runs one order after another; each ``step`` goes on until the next report."""

    def setup(
        self, config: dict[str, Any], orders: Sequence[bytes] = (), python_path: Sequence[str] = ()
    ) -> None:
        """Takes the run's orders; they are decoded one at a time, when their turn comes."""
        sys.path.extend(item for item in python_path if item not in sys.path)
        self._orders = orders
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next order in the same process, which has torch loaded already."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        order: Order = cloudpickle.loads(self._orders[config[PACK]])
        self._pack_id = order.pack.pack_id
        self._reports: Iterator[Report] = work(order)

    def step(self) -> dict[str, Any]:
        """Works until the next report and hands it on."""
        try:
            report = next(self._reports)
        except Exception as error:  # noqa: BLE001 - it is in the store; the driver decides what follows
            report = Report(pack_id=self._pack_id, finished=True, error=f"{type(error).__name__}: {error}")
        return {"report": vars(report), "done": report.finished}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what a pack has done is in the store."""

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Nothing to load."""


class _Forward(tune.Callback):
    """Hands each report, and each lost actor, to the run."""

    def __init__(self, orders: Sequence[Order], on_report: OnReport) -> None:
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
        pack_id = self._orders[trial.config[PACK]].pack.pack_id
        self._on_report(Report(pack_id=pack_id, finished=True, error=_cause(trial), lost=True))


def _cause(trial: Any) -> str:
    text = str(trial.get_pickled_error() or trial.error_file or "the worker died")
    return text.strip().splitlines()[0]


def _encode(order: Order) -> bytes:
    encoded: bytes = cloudpickle.dumps(order)  # type: ignore[no-untyped-call]  # ray leaves it untyped
    return encoded


class RayLauncher(Launcher):
    """Runs packs on a Ray cluster, or on this machine's cores and devices where no address is given.

    Attributes:
        address: Of a running cluster ("auto": the one of this machine's environment), or None.
        cpus: CPUs each pack asks for; torch uses as many threads.
        gpus: Share of a GPU each pack asks for.
    """

    name = "ray"

    def __init__(self, *, address: str | None = None, cpus: int = 1, gpus: float = 0.0) -> None:
        self._address = address
        self._resources = {"cpu": cpus, "gpu": gpus}

    def run(self, orders: Sequence[Order], on_report: OnReport) -> None:
        started_here = not ray.is_initialized()
        if started_here:
            ray.init(
                address=self._address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        try:
            with tempfile.TemporaryDirectory(prefix="gradlaw-tune-") as folder:
                self._fit(orders, on_report, folder)
        finally:
            if started_here:
                ray.shutdown()

    def _fit(self, orders: Sequence[Order], on_report: OnReport, folder: str) -> None:
        trainable = tune.with_parameters(
            PackTrainable,
            orders=[_encode(order) for order in orders],
            python_path=[item for item in sys.path if item],
        )
        tune.Tuner(
            tune.with_resources(trainable, self._resources),
            param_space={PACK: tune.grid_search(list(range(len(orders))))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                callbacks=[_Forward(orders, on_report)],
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        ).fit()
