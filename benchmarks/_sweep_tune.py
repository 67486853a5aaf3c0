"""The sweep by Ray Tune as its documentation advises for short trials.

A class Trainable with ``reset_config``, actors reused, one CPU and one configuration a trial; a result every
twenty steps; of the default loggers only the CSV one, which is where the curves are. Loading torch and
reading the results back are in the time, as they are for gradlaw.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import ray
import torch
from _sweep_plain import PlainTrial
from ray import tune
from ray.tune.logger import CSVLoggerCallback

if TYPE_CHECKING:
    from _sweep_arms import Sweep

_STEPS, _LOG_EVERY = 200, 20


class TuneTrial(tune.Trainable):
    """A trial at a time of the same plain torch as the loop's; each step is twenty of training."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._spent = 0.0
        self._trial = PlainTrial(**new_config)
        return True

    def step(self) -> dict[str, Any]:
        began = time.perf_counter()
        loss = self._trial.advance(_LOG_EVERY)
        self._spent += time.perf_counter() - began
        return {
            "loss": loss,
            "train_s": self._spent,
            "at": time.time(),
            "done": self._trial.step >= _STEPS,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: trials are too short to be resumed."""

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Nothing to load."""


def tune_sweep(sweep: Sweep, folder: Path) -> dict[str, float]:
    """Runs all trials and reads their results back."""
    if not ray.is_initialized():
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    space: dict[str, Any] = {"modulus": sweep.modulus, "width": sweep.width}
    configurations = list(sweep.configurations())
    for name in configurations[0]:
        values = sorted({configuration[name] for configuration in configurations})
        space[name] = tune.grid_search(values)
    results = tune.Tuner(
        tune.with_resources(TuneTrial, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            storage_path=str(folder.parent), name=folder.name, verbose=0, callbacks=[CSVLoggerCallback()]
        ),
    ).fit()
    last = results.get_dataframe()
    if (
        len(last) != sweep.trials
        or results.num_errors
        or not (last["training_iteration"] == _STEPS // _LOG_EVERY).all()
    ):
        msg = f"Ray Tune: {len(last)} of {sweep.trials} trials, {results.num_errors} errors"
        raise SystemExit(msg)
    return {
        "started": float((last["at"] - last["time_total_s"]).min()),
        "train_s": float(last["train_s"].sum()),
        "committed": time.time(),
    }
