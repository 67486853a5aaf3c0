"""The grids around constructions: what they hold, and that networks are read as what they start at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gradlaw.engine.recorder import MemoryRecorder
from gradlaw.engine.run import run_pack
from gradlaw.planning.plan import Plan, make_plan
from gradlaw.study import Grid, Preset, Study
from gradlaw_studies.modular_addition.landscape.grids import (
    DENSE_LIMIT,
    barriers,
    from_constructions,
    landscape,
    nullities,
    paths,
)
from gradlaw_studies.modular_addition.landscape.solutions import CONSTRUCTIONS, num_nodes


def _plan(*grids: Grid) -> Plan:
    preset = Preset(doc="", grids=grids, seeds=1)
    return make_plan(Study(name="around", question="?", source="a test", presets={"demo": preset}))


def test_every_grid_plans() -> None:
    tasks = Counter(member.trial.task for member in _plan(*landscape(5, 7)).members)
    assert tasks == {
        "modular_addition_constructed@1": 2 * 5 + 1,  # two weight decays, and one without
        "modular_addition_hessian@1": 2 * (2 + 4 + 1 + 1) + 2 * (2 + 4 + 1 + 1),
        "modular_addition_path@1": 2,
        "modular_addition_barrier@1": 1,
    }
    for grid in (paths(9), barriers(modulus=5, width=20, train_steps=10)):
        assert len(list(_plan(grid).members)) == 1


def test_hessians_are_of_a_size_to_be_dense() -> None:
    found = [member.hyperparameters for member in _plan(nullities(5, 7, 11, 13)).members]
    sizes = []
    for each in found:
        modulus, padding = int(each["modulus"]), int(each["padding"])
        sizes.append(3 * modulus * (num_nodes(str(each["construction"]), modulus) + padding))
    assert max(sizes) <= DENSE_LIMIT
    names = {(each["modulus"], each["construction"]) for each in found}
    assert {(13, "order_6"), (13, "order_4_6"), (7, "memorising")} <= names
    assert (11, "memorising") not in names  # 3 * 11^3 parameters


def _read(grid: Grid) -> dict[str, dict[str, Any]]:
    """Rows of ``frequencies`` and ``networks`` before training, by construction."""
    recorder, starts = MemoryRecorder(), {}
    plan = _plan(grid)
    for pack in plan.packs:
        list(run_pack(pack, recorder))
        starts.update({member.trial.trial_id: member.hyperparameters for member in pack.members})
    tables = {name: recorder.rows(name) for name in ("frequencies", "networks")}
    return {
        f"{values['construction']} {values['weight_decay']:g}": _of(tables, trial_id)
        for trial_id, values in starts.items()
    }


def _of(tables: Mapping[str, Any], trial_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for rows in tables.values():
        here = (np.asarray(rows["trial_id"]) == trial_id) & (np.asarray(rows["step"]) == 0)
        found |= {name: np.asarray(values)[here].tolist() for name, values in rows.items()}
    return found


def test_networks_are_read_as_what_they_start_at() -> None:
    grid = from_constructions(modulus=7, weight_decays=(5e-4,), steps=1)
    found = _read(replace(grid, values={**grid.values, "start_noise": 1e-3}))
    assert set(found) == {f"{name} 0.0005" for name in (*CONSTRUCTIONS, "random")} | {"order_6 0"}
    for name, rows in found.items():
        assert rows["train_accuracy"] == [1.0] or name.startswith("random")
    assert found["order_6 0.0005"]["kind"] == ["nu*syn"] * 3
    assert found["order_4_6 0.0005"]["order_relative"] == [6, 4, 4]
    assert found["order_4_constant 0.0005"]["kind"] == ["nu_i*xi"] * 3
    for control in ("memorising 0.0005", "random 0.0005"):
        assert found[control]["factorable"] == [False] * 3
