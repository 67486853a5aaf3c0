"""A task and a measurement that are planned, never run, and plans of one grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlaw.hyperparameter import Scalar
from gradlaw.measurement import Measurement
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.probe import Columns
from gradlaw.random import Streams
from gradlaw.study import Grid, Preset, Study
from gradlaw.table import Table
from gradlaw.task import Batch, Buffers, LossOutput, Noise, Params, Taps, Task


class Flat(Task):
    """A task that is only planned, never run."""

    name = "flat"
    num_rows = 8

    def init(self, streams: Streams) -> tuple[Params, Buffers]:
        raise NotImplementedError

    def batch(self, indices: Any, streams: Streams) -> Batch:
        raise NotImplementedError

    def loss(self, params: Params, buffers: Buffers, batch: Batch, noise: Noise, taps: Taps) -> LossOutput:
        raise NotImplementedError


class Nothing(Measurement):
    """A measurement that is only planned, never made."""

    name = "nothing"

    @classmethod
    def tables(cls) -> tuple[Table, ...]:
        return ()

    def measure(self, hyperparameters: Mapping[str, Scalar], seed: int) -> Mapping[str, Columns]:
        raise NotImplementedError


def study_of(*grids: Grid, seeds: int = 1) -> Study:
    preset = Preset(doc="", grids=grids, seeds=seeds)
    return Study(name="flat", question="?", source="a test", presets={"demo": preset})


def plan_of(*grids: Grid, seeds: int = 1, **how: Any) -> Plan:
    return make_plan(study_of(*grids, seeds=seeds), **how)
