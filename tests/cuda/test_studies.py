"""Every kind of training of every shipped study, on an emulated device: its tasks, rules and table probes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from emulated_cuda import emulated_cuda

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.pack import Pack, Training, program_tables
from gradlaw.planning.planned import plan_study
from gradlaw.studies import find_studies

_LONG = {"sqrt_b"}


def _kinds(study: str) -> Iterator[Pack]:
    """Two trials of each combination of task, rule and probes in the smoke preset."""
    found: dict[Any, Pack] = {}
    for pack in plan_study(study, preset="smoke").plan.packs:
        if isinstance(program := pack.program, Training):
            key = (type(program.task), type(program.rule), *map(type, program.probes))
            found.setdefault(key, replace(pack, members=pack.members[:2]))
    yield from found.values()


def _run(pack: Pack, device: str) -> tuple[list[tuple[Any, int]], MemoryRecorder]:
    recorder = MemoryRecorder()
    running = run_pack(pack, recorder, device=device, compile="never", flush_s=1e9)
    while True:
        try:
            next(running)
        except StopIteration as end:
            return [(result.state, result.steps_done) for result in end.value], recorder


@pytest.mark.parametrize(
    "study", [pytest.param(name, marks=pytest.mark.slow if name in _LONG else ()) for name in find_studies()]
)
def test_a_study_trains_and_measures_as_on_the_cpu(study: str) -> None:
    for pack in _kinds(study):
        ends, here = _run(pack, "cpu")
        with emulated_cuda():
            ends_there, there = _run(pack, "cuda:0")
        assert ends_there == ends
        for name in ("metrics", *(table.name for table in program_tables(pack.program))):
            rows, rows_there = here.rows(name), there.rows(name)
            assert rows_there.keys() == rows.keys()
            for column, values in rows.items():
                np.testing.assert_array_equal(rows_there[column], values)
